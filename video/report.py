"""The measurements of a clip in words: sentences first, then a table with a control beside figures.

Knows what was measured. It does not measure, and gives no marks: whether 0.8 is enough depends on
the clip, and the control says what chance or an untouched picture would give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..crop import size_text
from ..frames import FPS
from .measurement import ClipMeasurement, MouthMeasurement
from .motion import Frozen
from .stability import Drift
from .sync import Sync

LATE_FRAMES = 1.5
"""Lag from which a sentence is spent on it: people notice sound late by about 60 ms."""

LEAST = 0.25
"""Motion of a stretch, relative to the median one, below which a sentence is spent on it."""


def report_text(clip: ClipMeasurement, controls: Mapping[str, ClipMeasurement]) -> str:
    """Sentences, the table with a column per control, and who follows whom."""
    return "\n".join([*sentences(clip), "", *table(clip, controls), *matrix(clip)])


def sentences(clip: ClipMeasurement) -> list[str]:
    """What a reader wants to know first."""
    chunks = len(clip.seam_frames) + clip.shots
    planned = f"{chunks} {'chunk' if chunks == 1 else 'chunks'}" if clip.planned else "no plan"
    if clip.shots > 1:
        planned += f" in {clip.shots} shots"
    lines = [
        f"{clip.frames} frames, {clip.frames / FPS:.1f} s, {size_text(clip.size)} pixels, "
        f"{planned}; compared with {clip.reference}."
    ]
    for number, mouth in enumerate(clip.mouths, 1):
        lines.append(f"Face {number}: {_place(mouth)}. {_follows(mouth.sync)}")
        if mouth.face.tracked < 0.9:
            lines.append(
                f"Face {number} was followed in only {mouth.face.tracked:.0%} of the frames; it "
                "turns away, is covered, or is too small, and its figures are rough."
            )
    lines += [_rest(frozen) for frozen in clip.frozen]
    unit = "chunk" if clip.planned else "stretch"
    for name, least in (("mouth", clip.least_mouth), ("rest of the picture", clip.least_outside)):
        if least < LEAST:
            lines.append(f"In one {unit} the {name} moves at {least:.0%} of what is usual.")
    return [*lines, *clip.notes]


def table(clip: ClipMeasurement, controls: Mapping[str, ClipMeasurement]) -> list[str]:
    """Rows of equal columns: the figure, this clip, other clips, and what to hold it against."""
    others = [figures(control) for control in controls.values()]
    against = held_against(clip)
    cells = [["", "this clip", *controls, "to hold it against"]]
    for name, value in figures(clip).items():
        cells.append([name, value, *(other.get(name, "-") for other in others), against[name]])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def figures(clip: ClipMeasurement) -> dict[str, str]:
    """The figures of a clip by name, in the order of the table."""
    rows = {}
    for number, mouth in enumerate(clip.mouths, 1):
        if mouth.sync is not None:
            rows[f"face {number}: mouth with voice, r"] = _number(mouth.sync.correlation)
            rows[f"face {number}: best lag in frames"] = _number(mouth.sync.lag_frames, "+.1f")
            rows[f"face {number}: r there"] = _number(mouth.sync.best_correlation)
    if clip.seams is not None:
        rows["seams / latent groups"] = _number(clip.seams.ratio)
        rows["worst seam / latent groups"] = _number(clip.seams.worst)
        rows["step at seams, at groups"] = f"{clip.seams.seam:.4f}, {clip.seams.group:.4f}"
    for name, drift in (("background", clip.background), ("skin", clip.skin)):
        if drift is not None:
            rows[f"{name}: error first, last"] = f"{drift.first:.4f}, {drift.last:.4f}"
            rows[f"{name}: moved, per minute"] = _moved(drift)
    rows["identity: error first, last"] = f"{clip.identity_first:.4f}, {clip.identity_last:.4f}"
    rows["sharpness last / first: eyes"] = _number(clip.eyes)
    rows["sharpness last / first: outline"] = _number(clip.outline)
    rows["least moving / usual: mouth"] = _number(clip.least_mouth)
    rows["least moving / usual: the rest"] = _number(clip.least_outside)
    return rows


def held_against(clip: ClipMeasurement) -> dict[str, str]:
    """What each figure is to be held against: its control, its ideal, its unit."""
    texts = {
        "seams / latent groups": "1 is a seam that nobody sees",
        "step at seams, at groups": "fractions of full scale",
        "background: error first, last": "0; fractions of full scale",
        "background: moved, per minute": "0; 0.01 is 2.5 levels of 255",
        "skin: error first, last": "0; fractions of full scale",
        "skin: moved, per minute": "0; 0.01 is 2.5 levels of 255",
        "identity: error first, last": "0; blinks and turning give some",
        "sharpness last / first: eyes": "1; gradient energy",
        "sharpness last / first: outline": "1",
        "least moving / usual: mouth": "0 is frozen; stretches with voice",
        "least moving / usual: the rest": "0 is frozen",
    }
    if clip.seams is not None:
        seconds = clip.seams.worst_frame / FPS
        texts["worst seam / latent groups"] = (
            f"before frame {clip.seams.worst_frame}, {seconds:.2f} s"
        )
    for number, mouth in enumerate(clip.mouths, 1):
        if mouth.sync is not None:
            texts[f"face {number}: mouth with voice, r"] = _shuffled(mouth.sync)
            texts[f"face {number}: best lag in frames"] = "0; + is mouth after voice, 40 ms each"
            texts[f"face {number}: r there"] = ""
    return texts


def matrix(clip: ClipMeasurement) -> list[str]:
    """Which mouth follows which voice, when there are several of either."""
    voices, faces = clip.matrix.shape
    if max(voices, faces) < 2:
        return []
    head = "".join(f"{f'face {face + 1}':>9}" for face in range(faces))
    lines = ["", f"r of voice and mouth{head}"]
    for voice, row in enumerate(clip.matrix, 1):
        lines.append(f"{f'voice {voice}':<20}" + "".join(f"{_number(value):>9}" for value in row))
    return lines


def _place(mouth: MouthMeasurement) -> str:
    left, top, right, bottom = (round(value) for value in mouth.boxes.mouth)
    return f"mouth in the box {left}, {top}, {right}, {bottom} ({mouth.boxes.source})"


def _follows(sync: Sync | None) -> str:
    if sync is None:
        return "It has no voice of its own."
    if math.isnan(sync.correlation):
        return "The mouth or the voice never changes, so nothing can be said of lip sync."
    chance = 0.0 if math.isnan(sync.shuffled_max_abs) else sync.shuffled_max_abs
    best = f"r = {sync.correlation:.2f}"
    if sync.best_correlation <= chance:
        return f"The mouth does not follow the voice ({best}; chance reaches {chance:.2f})."
    if abs(sync.lag_frames) < LATE_FRAMES:
        return f"The mouth follows the voice ({best}; chance reaches {chance:.2f})."
    side = "after" if sync.lag_frames > 0 else "before"
    return (
        f"The mouth moves {abs(sync.lag_frames):.1f} frames ({abs(sync.lag_frames) * 40:.0f} ms) "
        f"{side} the voice ({best}, and {sync.best_correlation:.2f} there)."
    )


def _rest(frozen: Frozen) -> str:
    what = f"The mouth of face {frozen.face}" if frozen.what == "mouth" else "All but the mouth"
    span = f"frames {frozen.start} to {frozen.stop - 1}"
    return f"{what} stands still for {frozen.stop - frozen.start} frames of speech, {span}."


def _shuffled(sync: Sync) -> str:
    if math.isnan(sync.shuffled_mean_abs):
        return "the clip is too short to shuffle the voice"
    return (
        f"voice shuffled: mean {sync.shuffled_mean:.2f}, mean |r| {sync.shuffled_mean_abs:.2f}, "
        f"largest {sync.shuffled_max_abs:.2f}"
    )


def _moved(drift: Drift) -> str:
    return f"{drift.moved:.4f}, {drift.slope_per_minute:+.4f}"


def _number(value: float, form: str = ".2f") -> str:
    return "-" if math.isnan(value) else format(value, form)
