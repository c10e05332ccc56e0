"""The plan of a clip that is denoised as a whole: its windows, its pieces, and what is refused.

Adds windows to what ``preflight`` finds; nothing big is loaded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from ..frames import (
    FPS,
    SPATIAL_STRIDE,
    TEMPORAL_STRIDE,
    clip_frames,
    is_chunk_length,
    pixel_frames,
)
from ..masks.gates import RememberedGates
from ..models.configs import WAN, Family
from ..reference.dubbing import VideoReference
from ..reference.motion import MovingReference
from ..samplers.blend import Blend
from ..samplers.guidance import blind_branches
from ..samplers.pieces import LEAD_FRAMES, PIECE_FRAMES
from ..samplers.plan import Chunk, plan_chunks
from ..samplers.sliding import (
    PREVIOUS_BELOW,
    FirstFrame,
    needs_anchor,
)
from ..samplers.timeline import ChunkChange
from ..samplers.windows import LastWindow, WindowPlan, default_overlap, plan_windows
from .checks import UNKNOWN, Weights
from .clip_plan import ClipInputs, ClipPlan, StreamSettings
from .clip_warnings import UNUSED_FACE
from .preflight import plan_clip

NO_NOISE = 0.05
"""Below this noise level a step changes next to nothing."""

LATENT_CHANNELS = 16
"""Of both families' VAEs, for what fits on the disk."""

AUTO, FACE, ROUTING, EVERYWHERE = "auto", "face", "routing", "whole picture"
AUDIO_REGIONS = (AUTO, FACE, ROUTING, EVERYWHERE)
"""Where the voices are heard."""


@dataclass(frozen=True)
class SlideSettings:
    """The widgets that only this sampler has.

    Attributes:
        window_frames: Pixel frames of a window; 0 is what the model was trained with.
        overlap: Pixel frames that windows share, a multiple of 4; 0 is a quarter of a window.
        blend: A ``Blend``.
        first_frame: A ``FirstFrame``.
        last_window: A ``LastWindow``.
        audio_region: Where the voices are heard.
    """

    window_frames: int = 0
    overlap: int = 0
    blend: str = Blend.PAPER.value
    first_frame: str = FirstFrame.EVERY.value
    last_window: str = LastWindow.PAD.value
    audio_region: str = AUTO


@dataclass(frozen=True, eq=False)
class SlidePlan:
    """What will be rendered.

    Attributes:
        clip: The clip with its windows as chunks, as conditions and the timeline know it.
        pieces: The same clip in the pieces in which it is decoded and kept.
        windows: The windows.
        settings: The widgets of this sampler.
        family: What the model is, or is taken for until it is loaded.
        gates: From a window to where each speaker is heard, ``[1, S, T or 1, N]``; None is no gate.
        first_frame: What the first slot of later windows holds.
        size: ``(height, width)`` of the clip.
    """

    clip: ClipPlan
    pieces: ClipPlan
    windows: WindowPlan
    settings: SlideSettings
    family: Family
    gates: Callable[[Chunk], Tensor] | None
    first_frame: FirstFrame
    size: tuple[int, int]

    @property
    def states_bytes(self) -> int:
        """What is kept between steps: latents as float32, twice while they are replaced."""
        height, width = self.size
        places = height * width // SPATIAL_STRIDE**2
        several = self.first_frame is FirstFrame.PREVIOUS and len(self.windows.windows) > 1
        kept = 2 if several else 1  # where the sampler stands, and the estimate of the clip
        return 2 * 4 * kept * LATENT_CHANNELS * self.windows.latents * places

    @property
    def kept(self) -> list[Chunk]:
        """The pieces as they are kept; no frame is handed from one to the next."""
        return [replace(piece, context_frames=0) for piece in self.pieces.plan]

    @property
    def blend(self) -> Blend:
        """How windows are joined."""
        return Blend(self.settings.blend)


def plan_slide(
    settings: StreamSettings,
    slide: SlideSettings,
    inputs: ClipInputs,
    *,
    folder: Path,
    weights: Weights = UNKNOWN,
    family: Family = WAN,
    checks: Sequence[Callable[[], Any]] = (),
) -> SlidePlan:
    """Check and plan a clip.

    Args:
        settings: The widgets that all samplers have.
        slide: Those of this one.
        inputs: What came in.
        folder: Where the clip will be written.
        weights: What is known of MODEL and VAE.
        family: What the model is.
        checks: What else may be refused; each raises InputError.

    Raises:
        InputError: Every problem found, one line each.
    """
    own = slide_checks(settings, slide, inputs, family)
    pieced = replace(settings, chunk_frames=PIECE_FRAMES, context_frames=LEAD_FRAMES)
    clip = plan_clip(
        pieced,
        replace(inputs, timeline=None),
        folder=folder,
        weights=weights,
        checks=[*checks, *own],
    )
    total = clip.frames
    windows = windows_of(slide, family, total)
    gates = gates_of(slide, inputs, family)
    spans = windows.spans
    pieces = plan_chunks(total, PIECE_FRAMES, LEAD_FRAMES, shorten_last=settings.shorten_last)
    unchanged = [ChunkChange()] * len(pieces)
    described = [] if inputs.timeline is None else inputs.timeline.timeline.describe(spans)
    notes = [*window_notes(slide, windows), *described]
    if not family.holds_first_frame and blind_branches(inputs.guidance) & set(clip.branches):
        notes.append("the unconditional prediction sees no reference picture")
    warnings = [each for each in clip.warnings if gates is None or each != UNUSED_FACE]
    warnings += slide_warnings(slide, inputs, clip.sigmas, len(spans))
    return SlidePlan(
        clip=replace(
            clip,
            plan=spans,
            whole=spans,
            changes=changes_of(inputs, spans),
            timeline=inputs.timeline,
            masks=clip.masks if gates is None and slide.audio_region != EVERYWHERE else None,
            warnings=warnings,
            notes=notes,
        ),
        pieces=replace(clip, plan=pieces, whole=pieces, changes=unchanged),
        windows=windows,
        settings=slide,
        family=family,
        gates=gates,
        first_frame=FirstFrame(slide.first_frame),
        size=inputs.reference.size,
    )


def slide_warnings(
    slide: SlideSettings, inputs: ClipInputs, sigmas: Tensor, windows: int
) -> Iterator[str]:
    """What is allowed and probably not meant, in this sampler alone."""
    if isinstance(inputs.reference.source, MovingReference):
        yield "the picture's motion is not used: all windows see it as it is"
    previous = FirstFrame(slide.first_frame) is FirstFrame.PREVIOUS and windows > 1
    if previous and not any(NO_NOISE < s < PREVIOUS_BELOW for s in sigmas[:-1].tolist()):
        yield (
            f"'previous estimate' is taken from noise level {PREVIOUS_BELOW:g} down, and no step "
            "there has noise left to remove: windows find the reference throughout"
        )


def slide_checks(
    settings: StreamSettings, slide: SlideSettings, inputs: ClipInputs, family: Family
) -> Iterator[Callable[[], Any]]:
    """What only this sampler refuses."""
    yield partial(check_reference, inputs.reference)
    yield partial(check_first_frame, slide, family)
    yield partial(gates_of, slide, inputs, family)
    if settings.stop_at >= 0:

        def windows_and_lines() -> None:
            total = inputs.reference.clip_frames(clip_frames(inputs.speech.seconds))
            if settings.stop_at:
                total = min(total, clip_frames(settings.stop_at))
            changes_of(inputs, windows_of(slide, family, total).spans)

        yield windows_and_lines


def windows_of(slide: SlideSettings, family: Family, total: int) -> WindowPlan:
    """The windows of a clip of ``total`` frames.

    Raises:
        InputError: They do not fit.
    """
    frames = slide.window_frames or family.window_frames
    if slide.overlap % TEMPORAL_STRIDE:
        raise InputError(
            f"overlap is {slide.overlap}, not a multiple of {TEMPORAL_STRIDE}; use "
            f"{slide.overlap // TEMPORAL_STRIDE * TEMPORAL_STRIDE + TEMPORAL_STRIDE}, or 0 for a "
            "quarter of a window."
        )
    overlap = slide.overlap // TEMPORAL_STRIDE or default_overlap(frames)
    hidden = needs_anchor(FirstFrame(slide.first_frame), overlap, Blend(slide.blend))
    if not is_chunk_length(frames):
        hidden = False  # refused in plan_windows
    last = LastWindow(slide.last_window)
    return plan_windows(total, frames, overlap, last=last, anchored=hidden)


def check_reference(reference: Any) -> None:
    """Refuse what is no single picture."""
    if isinstance(reference, VideoReference):
        raise InputError(
            "the sliding window begins from one picture, and Reference Video is connected: connect "
            "Reference Image, or dub with Talk Sampler (Streaming)."
        )


def check_first_frame(slide: SlideSettings, family: Family) -> None:
    """Refuse windows without a picture where the model always takes their first frame for one."""
    if FirstFrame(slide.first_frame) is FirstFrame.FIRST_ONLY and family.holds_first_frame:
        raise InputError(
            "first_frame is 'first window only', and this model takes the first frame of every "
            "window for a clean picture: choose 'reference in every window' or 'anchor slot'."
        )


def changes_of(inputs: ClipInputs, spans: list[Chunk]) -> list[ChunkChange]:
    """What the timeline changes, one per window.

    Raises:
        InputError: A line that is about one chunk, or does not fit the windows.
    """
    if inputs.timeline is None:
        return [ChunkChange()] * len(spans)
    changes = inputs.timeline.timeline.resolve(spans)
    kinds = {
        "seed": any(change.seed is not None for change in changes),
        "image": any(change.image is not None for change in changes),
        "keep rest": any(change.keep_rest for change in changes),
    }
    refused = [f"'{kind}'" for kind, there in kinds.items() if there]
    if refused:
        raise InputError(
            f"the timeline has lines with {' and '.join(refused)}: all windows have one noise and "
            "one picture, so here it changes prompt and voice only. Use Talk Sampler (Streaming) "
            "for the others."
        )
    return changes


def gates_of(
    slide: SlideSettings, inputs: ClipInputs, family: Family
) -> Callable[[Chunk], Tensor] | None:
    """Where each speaker is heard, or None where no gate says so.

    Raises:
        InputError: The region that was chosen cannot be had.
    """
    speakers, region = inputs.speech.speakers, slide.audio_region
    placed = [has_place(each) for each in speakers]
    hybrid = family is not WAN
    if region == ROUTING and hybrid:
        raise InputError(
            "audio_region is 'routing', which looks for the speakers in Wan's attention; this "
            "model is HunyuanVideo: choose 'face' or 'auto'."
        )
    if region == FACE and not all(placed):
        raise InputError(
            "audio_region is 'face', and "
            f"{'no speaker has' if not any(placed) else 'not every speaker has'} a face: connect "
            "Face Masks to Encode Speaker and choose one, or set audio_region to 'auto'."
        )
    if region == FACE or (region == AUTO and hybrid and all(placed)):
        gates = RememberedGates(speakers, inputs.reference.box)
        return lambda chunk: gates(chunk.start_frame, chunk.frames)[None]
    return None


def has_place(speaker: Any) -> bool:
    """Whether a speaker has a face or a mask."""
    return speaker.region is not None or getattr(speaker, "track", None) is not None


def window_notes(slide: SlideSettings, plan: WindowPlan) -> list[str]:
    """How the windows lie, for the report."""
    first, *others = plan.windows
    if not others:
        return ["one window: the clip is denoised as one chunk would be"]
    shared = min(window.covered for window in others) - plan.anchored
    frames = pixel_frames(first.latents)
    notes = [
        f"{len(plan.windows)} windows of {frames} frames ({frames / FPS:.2f} s), neighbours share "
        f"{TEMPORAL_STRIDE * shared}"
    ]
    if plan.anchored and FirstFrame(slide.first_frame) is not FirstFrame.ANCHOR:
        notes.append(
            f"the picture has an anchor slot in every window: with the blend '{slide.blend}' and "
            f"{TEMPORAL_STRIDE * shared} shared frames it would be seen"
        )
    return notes
