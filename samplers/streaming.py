"""The streaming loop: chunk after chunk, each continuing from the last frames of the one before.

Knows a plan and protocols. New features go into the plan, a denoiser, a guidance rule, a colour
match or a sink, not in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

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


def stream_clip(
    plan: Sequence[Chunk],
    *,
    reference: Reference,
    conditioner: Conditioner,
    denoiser: Denoiser,
    codec: VideoCodec,
    sink: FrameSink,
    noise: Callable[[int], Tensor],
    sigmas: Tensor,
    color: ColorMatch | None = None,
    callback: ChunkCallback | None = None,
) -> None:
    """Render every chunk of the plan into the sink.

    Args:
        plan: Chunks in order, each starting where its context starts in the one before.
        reference: Gives the reference frame of a chunk.
        conditioner: Builds what the denoiser reads.
        denoiser: Makes latents.
        codec: The VAE.
        sink: Takes the new frames of each chunk, then a commit with the next chunk's context.
        noise: Noise ``[C, T, H, W]`` of a chunk by index.
        sigmas: ``[steps + 1]``.
        color: Applied to decoded frames before the context is cut from them.
        callback: Called after every step with the chunk; may raise to stop.

    Source: InfiniteTalk, ``generate_infinitetalk``.
    """
    context: Tensor | None = None
    for chunk, following in zip(plan, [*plan[1:], None], strict=True):
        frame = reference.frame(chunk.start_frame)
        conditions = conditioner.conditions(chunk, frame)
        held = codec.encode(frame[:, None] if context is None else context)
        report = None if callback is None else step_reporter(callback, chunk)
        latents = denoiser.denoise(
            noise(chunk.index), conditions, sigmas, held=held, callback=report
        )
        match = None if color is None else color.apply
        context = stitch(codec.decode(latents), chunk, following, sink, match)
        sink.commit({} if context is None else {"context_frames": context})


def stitch(
    blocks: Iterable[Tensor],
    chunk: Chunk,
    following: Chunk | None,
    sink: FrameSink,
    match: Callable[[Tensor], Tensor] | None = None,
) -> Tensor | None:
    """Append a chunk's new frames to the clip; return the frames the next chunk starts from.

    Args:
        blocks: The chunk's frames in order, ``[3, f, H, W]`` each; only as many are drawn as
            needed, so that a cut chunk is not decoded to its end.
        chunk: The chunk.
        following: The next chunk, or None after the last.
        sink: Takes the new frames.
        match: Applied to frames that are used, and to no others.

    Returns:
        ``[3, context_frames, H, W]``, or None after the last chunk.
    """
    first, stop = chunk.context_frames, chunk.context_frames + chunk.kept_frames
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
        new = used[:, max(0, first - begin) : max(0, stop - begin)]
        if new.shape[1]:
            sink.append(new)
        if end > context_first:
            context.append(used[:, max(0, context_first - begin) :])
        if end >= used_stop:
            break
    return torch.cat(context, dim=1) if context else None


def step_reporter(callback: ChunkCallback, chunk: Chunk) -> Callable[[int, int, Tensor], None]:
    """Bind a chunk to the callback."""
    return lambda step, steps, denoised: callback(chunk, step, steps, denoised)
