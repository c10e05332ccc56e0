"""The streaming loop: chunk after chunk, each continuing from the last frames of the one before.

Knows a plan and protocols. New features go into the plan, a denoiser, a guidance rule, a colour
match or a sink, not in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..frames import latent_frames
from .plan import Chunk
from .protocols import (
    ChunkCallback,
    ColorMatch,
    Conditioner,
    Denoiser,
    FrameSink,
    Reference,
    VideoCodec,
)

CONTEXT, CONTEXT_LATENTS = "context_frames", "context_latents"
"""Names in a chunk's state: the frames ``[3, F, H, W]`` the next chunk starts from and, if they are
handed on, their latents."""


class HandOn(Enum):
    """As what the context goes to the next chunk."""

    FRAMES = "frames"
    """Decoded and encoded again, as published: what the clip shows is what the next chunk sees."""

    LATENTS = "latents"
    """As they were sampled. Their first is one of four frames, where the network knows a single
    frame; colour matching does not reach them."""


@dataclass(frozen=True, eq=False)
class Sampling:
    """What a chunk is sampled from.

    Attributes:
        noise: ``[C, T, H, W]``.
        sigmas: ``[steps + 1]``, descending to 0.
        start: Clean latents of a source that are noised to ``sigmas[0]``; None is noise alone.
        pinned: Latents ``[C, T, H, W]`` and mask ``[1, T, H, W]``; where it is 1 they are kept.
        ending: State of the take before, for a chunk that has to end in it because the next one is
            kept; see ``retake``.
    """

    noise: Tensor
    sigmas: Tensor
    start: Tensor | None = None
    pinned: tuple[Tensor, Tensor] | None = None
    ending: Mapping[str, Tensor] | None = None


def stream_clip(
    plan: Sequence[Chunk],
    *,
    then: Chunk | None = None,
    reference: Reference,
    conditioner: Conditioner,
    denoiser: Denoiser,
    codec: VideoCodec,
    sink: FrameSink,
    sampling: Callable[[Chunk], Sampling],
    color: Callable[[Tensor], ColorMatch] | None = None,
    hand_on: HandOn = HandOn.FRAMES,
    callback: ChunkCallback | None = None,
    stop: Callable[[Chunk], bool] | None = None,
) -> bool:
    """Render every chunk of the plan that the sink does not hold yet.

    Args:
        plan: Chunks in order, each starting where its context starts in the one before, or without
            context from its reference frame.
        then: The chunk that will follow the plan's last, which leaves it its context.
        reference: Gives the reference frame of a chunk.
        conditioner: Builds what the denoiser reads.
        denoiser: Makes latents.
        codec: The VAE.
        sink: Takes the new frames of each chunk, then a commit with the next chunk's context.
        sampling: Noise, schedule and source of a chunk.
        color: From a chunk's reference frame to what is applied to its decoded frames before the
            context is cut from them.
        hand_on: As what the context goes to the next chunk.
        callback: Called after every step with the chunk; may raise to stop.
        stop: Asked before every chunk that is to be made; True ends here.

    Returns:
        Whether the clip is complete.

    Source: InfiniteTalk, ``generate_infinitetalk``.
    """
    state: Mapping[str, Tensor] = {}
    for chunk, following in zip(plan, [*plan[1:], then], strict=True):
        known = sink.recall(chunk)
        if known is not None:
            state = known
            continue
        if stop is not None and stop(chunk):
            return False
        frame = reference.frame(chunk.start_frame)
        conditions = conditioner.conditions(chunk, frame)
        begin = sampling(chunk)
        held = with_pinned(held_latents(chunk, frame, state, codec), begin.pinned)
        report = None if callback is None else step_reporter(callback, chunk)
        latents = denoiser.denoise(
            begin.noise,
            conditions,
            begin.sigmas,
            held=held,
            start=begin.start,
            pinned=begin.pinned,
            callback=report,
        )
        match = None if color is None else color(frame).apply
        ending = None if begin.ending is None else begin.ending[CONTEXT]
        context = stitch(codec.decode(latents), chunk, following, sink, match, ending)
        state = begin.ending or handed_on(context, latents, hand_on)
        sink.commit(state)
    return True


def held_latents(
    chunk: Chunk, frame: Tensor, state: Mapping[str, Tensor], codec: VideoCodec
) -> Tensor:
    """What a chunk starts from: the context of the one before, or its reference frame alone."""
    if not chunk.context_frames:
        return codec.encode(frame[:, None])
    if CONTEXT_LATENTS in state:
        return state[CONTEXT_LATENTS]
    return codec.encode(state[CONTEXT])


def with_pinned(held: Tensor, pinned: tuple[Tensor, Tensor] | None) -> Tensor:
    """The context with what is pinned in it, so that nothing kept drifts from chunk to chunk.

    Args:
        held: ``[C, Th, H, W]``.
        pinned: Latents ``[C, T, H, W]`` and mask ``[1, T, H, W]``, or None.
    """
    if pinned is None:
        return held
    kept, mask = (part[:, : held.shape[1]].to(held) for part in pinned)
    return held.lerp(kept, mask)


def handed_on(context: Tensor | None, latents: Tensor, hand_on: HandOn) -> dict[str, Tensor]:
    """The state of a chunk: the frames the next one starts from, and latents if they go on."""
    if context is None:
        return {}
    if hand_on is HandOn.FRAMES:
        return {CONTEXT: context}
    ending = latents[:, -latent_frames(context.shape[1]) :].clone()
    return {CONTEXT: context, CONTEXT_LATENTS: ending}


def stitch(
    blocks: Iterable[Tensor],
    chunk: Chunk,
    following: Chunk | None,
    sink: FrameSink,
    match: Callable[[Tensor], Tensor] | None = None,
    ending: Tensor | None = None,
) -> Tensor | None:
    """Append a chunk's new frames to the clip; return the frames the next chunk starts from.

    Args:
        blocks: The chunk's frames in order, ``[3, f, H, W]`` each; only as many are drawn as
            needed, so that a cut chunk is not decoded to its end.
        chunk: The chunk.
        following: The next chunk, or None after the last.
        sink: Takes the new frames.
        match: Applied to frames that are used, and to no others.
        ending: What the next chunk, which is kept, started from, ``[3, context_frames, H, W]``;
            the last frames fade into it.

    Returns:
        ``[3, context_frames, H, W]``, or None where the next chunk has no context.
    """
    first, stop = chunk.context_frames, chunk.context_frames + chunk.kept_frames
    if following is not None and not following.context_frames:
        following = None
    context_first = chunk.frames if following is None else following.start_frame - chunk.start_frame
    used_first = min(first, context_first)
    used_stop = stop if following is None else chunk.frames
    context: list[Tensor] = []
    end = 0
    for block in blocks:
        start, end = end, end + block.shape[1]
        if end <= used_first:
            continue
        begin = max(start, used_first)
        used = block[:, begin - start :]
        used = used if match is None else match(used)
        used = used if ending is None else fade_into(used, ending, begin - context_first)
        new = used[:, max(0, first - begin) : max(0, stop - begin)]
        if new.shape[1]:
            sink.append(new)
        if end > context_first:
            context.append(used[:, max(0, context_first - begin) :])
        if end >= used_stop:
            break
    return torch.cat(context, dim=1) if context else None


def fade_into(frames: Tensor, ending: Tensor, first: int) -> Tensor:
    """Frames that have become those of an ending when it is over.

    Args:
        frames: Consecutive frames ``[3, f, H, W]``.
        ending: ``[3, E, H, W]``; its last frame is reached exactly.
        first: Where the first of ``frames`` lies in the ending; negative before it.
    """
    before, length = max(0, -first), ending.shape[1]
    if before >= frames.shape[1]:
        return frames
    span = range(first + before, first + frames.shape[1])
    weights = torch.tensor([(index + 1) / length for index in span]).to(frames).view(-1, 1, 1)
    faded = frames[:, before:].lerp(ending[:, span.start : span.stop].to(frames), weights)
    return torch.cat([frames[:, :before], faded], dim=1)


def step_reporter(callback: ChunkCallback, chunk: Chunk) -> Callable[[int, int, Tensor], None]:
    """Bind a chunk to the callback."""
    return lambda step, steps, denoised: callback(chunk, step, steps, denoised)
