"""Which tokens hear which speaker, for a stretch of the clip: regions and tracks become gates.

A gate multiplies what a voice adds to a token, 0 to 1. Where gates overlap, whoever adds the voices
shares them out. Knows regions, tracks and crops; it knows no networks and no sound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..crop import CropBox, size_text
from ..errors import InputError
from ..frames import FPS, TEMPORAL_STRIDE, is_chunk_length, latent_frames
from .faces import dilated
from .pooling import TOKEN_SIDE, Lines, check_rule, fit_region, pool_tokens, source_lines
from .tracks import MOVING, FaceTrack

LOOKED_AT = 64
"""Frames of a video among which a face is looked for at once."""


class Placed(Protocol):
    """Somebody who speaks, as far as gates are concerned."""

    @property
    def region(self) -> Tensor | None:
        """Where in the picture, ``[H, W]``; None is everywhere."""
        ...

    @property
    def track(self) -> FaceTrack | None:
        """Where in a video, instead of ``region``."""
        ...

    @property
    def rule(self) -> str:
        """How pixels become tokens, one of ``pooling.RULES``."""
        ...


def speaker_gates(
    speakers: Sequence[Placed],
    box: CropBox,
    start_frame: int,
    frames: int,
    *,
    rule: str | None = None,
    dilate: int = 0,
    source_frame: Callable[[int], int] | None = None,
) -> Tensor:
    """Gates of all speakers for the frames that are made at once.

    Args:
        speakers: At least one. A single one without a place has every token.
        box: How the picture or video becomes the clip; regions go the same way.
        start_frame: First frame of the clip.
        frames: How many, 4n + 1. The first latent frame stands for the first frame alone, every
            other one for four.
        rule: How pixels become tokens; None is each speaker's own rule.
        dilate: Pixels of the clip by which every region grows on all sides.
        source_frame: Frame of the video under a frame of the clip; None holds the video's last.

    Returns:
        ``[S, T, N]`` in 0..1, T latent frames and N tokens of each, row after row; ``[S, 1, N]``
        when nobody moves. Who is not in the picture in these frames has zeros.

    Raises:
        InputError: Several speakers of whom one has no place, a picture's region without a token,
            or a region of another picture.

    Source: MagicInfinite 3.3, ``M_face``: the union over all frames, at latent resolution.
    Differs: the union is over the frames that the network sees at once, as in training, not over a
    clip of any length; moving faces may have one mask per latent frame instead.
    """
    if not is_chunk_length(frames):
        raise ValueError(f"frames is {frames}; expected 4n + 1, as many as a VAE encodes")
    _check_places(speakers)
    gates = []
    for number, speaker in enumerate(speakers, 1):
        own = speaker.rule if rule is None else rule
        check_rule(own)
        if speaker.track is not None:
            _check_video(number, speaker.track, box)
            spans = _spans(speaker.track, start_frame, frames, source_frame)
            gates.append(_track_gates(speaker.track, box, spans, own, dilate))
        elif speaker.region is not None:
            gates.append(_region_gate(number, speaker.region, box, own, dilate))
        else:
            gates.append(torch.ones(1, _tokens(box)))
    latents = max(len(gate) for gate in gates)
    return torch.stack([gate.expand(latents, -1) for gate in gates])


class RememberedGates:
    """Gates of speakers for every stretch of a clip, each made once: steps come back to windows.

    What is kept is a few hundredths of the latents of the same frames.

    Args:
        speakers: As for ``speaker_gates``.
        box: As there.
        options: As there.
    """

    def __init__(self, speakers: Sequence[Placed], box: CropBox, **options: Any) -> None:
        self._make = partial(speaker_gates, speakers, box, **options)
        self._known: dict[tuple[int, int], Tensor] = {}

    def __call__(self, start_frame: int, frames: int) -> Tensor:
        """Gates ``[S, T or 1, N]`` float32; see ``speaker_gates``."""
        key = start_frame, frames
        if key not in self._known:
            # Half precision is exact: shares are of 256 pixels.
            self._known[key] = self._make(start_frame, frames).half()
        return self._known[key].float()


def check_gates(
    speakers: Sequence[Placed],
    box: CropBox,
    *,
    rule: str | None = None,
    dilate: int = 0,
    source_frames: int | None = None,
) -> None:
    """Refuse, before anything is made, speakers who could never be heard in the picture.

    Args:
        speakers: As for ``speaker_gates``.
        box: As there.
        rule: As there.
        dilate: As there.
        source_frames: Frames of the video that is dubbed; None does not compare them.

    Raises:
        InputError: As ``speaker_gates``; also a face of another video, or one that has no token in
            any frame.
    """
    speaker_gates(speakers, box, 0, 1, rule=rule, dilate=dilate)
    for number, speaker in enumerate(speakers, 1):
        if speaker.track is None:
            continue
        video = speaker.track.tracks
        if source_frames is not None and source_frames != video.frames:
            raise InputError(
                f"speaker {number}: the faces are of a video of {video.frames} frames "
                f"({video.frames / FPS:.2f} s), the reference has {source_frames} "
                f"({source_frames / FPS:.2f} s); connect the same video, trimmed in the same way, "
                "to Face Masks and Reference Video."
            )
        own = speaker.rule if rule is None else rule
        if not any(
            _track_gates(
                speaker.track, box, [range(first, video.frames)[:LOOKED_AT]], own, dilate
            ).any()
            for first in range(0, video.frames, LOOKED_AT)
        ):
            raise InputError(
                f"speaker {number}: face {speaker.track.index + 1} is never in the part of the "
                f"video that is kept at {size_text(box.size)}, or too small for the rule {own!r}; "
                "choose a size in the video's shape, rule 'any', or another face."
            )


def _region_gate(number: int, region: Tensor, box: CropBox, rule: str, dilate: int) -> Tensor:
    """The gate of a place in a picture, ``[1, N]``."""
    fitted = fit_region(region.cpu(), box, rule)
    tokens = pool_tokens(dilated(fitted, dilate) if dilate else fitted, rule)
    if tokens.any():
        return tokens[None]
    drawn = int((region > 0).sum())
    if not drawn:
        raise InputError(f"speaker {number}: the mask is empty; draw one or give a box.")
    if not fitted.any():
        raise InputError(
            f"speaker {number}: the mask has {drawn} pixels in the picture, all of them outside "
            f"the part that is kept at {size_text(box.size)}; choose a size in the picture's "
            "shape, or cut the picture around the faces."
        )
    raise InputError(
        f"speaker {number}: the mask has {int(fitted.sum())} pixels at {size_text(box.size)}, too "
        f"few for a token of {TOKEN_SIDE}x{TOKEN_SIDE} by the rule {rule!r}; choose rule 'any', "
        "or make the mask larger."
    )


def _spans(
    track: FaceTrack, start_frame: int, frames: int, source_frame: Callable[[int], int] | None
) -> list[list[int]]:
    """Frames of the video that share a gate: those of a latent frame, or all of them."""
    last = track.tracks.frames - 1
    wanted = range(start_frame, start_frame + frames)
    shown = [min(frame, last) if source_frame is None else source_frame(frame) for frame in wanted]
    if track.tracks.motion != MOVING:
        return [shown]
    later = range(1, TEMPORAL_STRIDE * (latent_frames(frames) - 1), TEMPORAL_STRIDE)
    return [shown[:1], *(shown[first : first + TEMPORAL_STRIDE] for first in later)]


def _track_gates(
    track: FaceTrack, box: CropBox, spans: Sequence[Sequence[int]], rule: str, dilate: int
) -> Tensor:
    """The gate of a face of a video over each span of its frames, ``[T, N]``."""
    rows, columns = source_lines(box, rule)
    gates = []
    for span in spans:
        union = np.zeros(box.size, bool)
        # Frames in which all faces are where they were have the same masks.
        for boxes in np.unique(track.tracks.pixels[:, sorted(set(span))], axis=1).swapaxes(0, 1):
            union |= _face_mask(boxes, track.index, rows, columns)
        mask = torch.from_numpy(union).to(torch.float32)
        gates.append(pool_tokens(dilated(mask, dilate) if dilate else mask, rule))
    return torch.stack(gates)


def _face_mask(boxes: np.ndarray, index: int, rows: Lines, columns: Lines) -> np.ndarray:
    """One face in one frame at the size of the clip; where two meet, the nearer middle has it."""
    mask = _box_mask(boxes[index], rows, columns)
    if not mask.any():
        return mask
    own = _distance(boxes[index], rows, columns)
    for other, theirs in enumerate(boxes):
        shared = None if other == index else mask & _box_mask(theirs, rows, columns)
        if shared is not None and shared.any():
            away = _distance(theirs, rows, columns)
            mask &= ~(shared & ((away <= own) if other < index else (away < own)))
    return mask


def _box_mask(box: np.ndarray, rows: Lines, columns: Lines) -> np.ndarray:
    left, top, right, bottom = box
    if left >= right:  # away
        return np.zeros((len(rows.first), len(columns.first)), bool)
    return rows.within(top, bottom)[:, None] & columns.within(left, right)[None]


def _distance(box: np.ndarray, rows: Lines, columns: Lines) -> np.ndarray:
    """Squared distance of every pixel from the middle of a box."""
    left, top, right, bottom = box
    down, across = rows.middle - (top + bottom) / 2, columns.middle - (left + right) / 2
    return down[:, None] ** 2 + across[None] ** 2


def _tokens(box: CropBox) -> int:
    height, width = box.size
    return (height // TOKEN_SIDE) * (width // TOKEN_SIDE)


def _check_places(speakers: Sequence[Placed]) -> None:
    if len(speakers) < 2:
        return
    lost = [
        str(number)
        for number, speaker in enumerate(speakers, 1)
        if speaker.region is None and speaker.track is None
    ]
    if lost:
        raise InputError(
            f"Nobody knows where {'speaker' if len(lost) == 1 else 'speakers'} "
            f"{' and '.join(lost)} of {len(speakers)} {'is' if len(lost) == 1 else 'are'}: give "
            "every speaker a face of Face Masks, or a mask."
        )


def _check_video(number: int, track: FaceTrack, box: CropBox) -> None:
    if track.tracks.size != box.source_size:
        raise InputError(
            f"speaker {number}: the faces are of a video of {size_text(track.tracks.size)} pixels "
            f"and the picture is {size_text(box.source_size)}; connect the same video to Face "
            "Masks and Reference Video."
        )
