"""What the chunks of a clip on the command line are made from, as keys.

Knows a planned clip and what identifies the networks. Device and float type are left out, so that
another machine may go on.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from .audio.features import SAMPLES_PER_FRAME, TAIL_FRAMES
from .audio.spans import heard_frames
from .audio.track import Track
from .frames import clip_frames, pixel_frames
from .samplers.timeline import ChunkChange
from .talk import CRF, TalkJob
from .talk_sliding import WindowSettings, window_pieces, window_plan
from .talk_timeline import identities
from .video.job_folder import JobPlan
from .video.job_keys import (
    KEY_SCHEMA,
    chunk_keys,
    chunk_places,
    content_identity,
    digest,
    sound_digests,
)
from .video.job_states import step_keys


def journal_plan(job: TalkJob, models: Any) -> JobPlan:
    """What a job's chunks are made from, as keys.

    Args:
        job: From ``plan_talk``.
        models: What identifies the networks; anything that ``digest`` takes.
    """
    assert job.sound.path is not None
    parts = links = chunk_parts(job, job.changes)
    if any(change.keep_rest for change in job.changes):
        links = chunk_parts(job, taken_before(job))
    return JobPlan(
        keys=tuple(chunk_keys(parts, links, common=common_parts(job, models))),
        kept_frames=tuple(chunk.kept_frames for chunk in job.whole),
        size=job.size,
        crf=CRF,
        sound_key=digest(content_identity(job.sound.path)),
        stop_frame=job.frames,
    )


def window_journal_plan(job: TalkJob, settings: WindowSettings, models: Any) -> JobPlan:
    """The same for a clip in sliding windows: one key for its latents, one for every piece.

    Pieces hang on nothing but the latents and how they are shown, so that other colours decode
    again and sample nothing.

    Args:
        job: From ``plan_talk``.
        settings: The windows.
        models: What identifies the networks.
    """
    assert job.sound.path is not None
    windows, pieces = window_plan(job, settings), window_pieces(job)
    frames, chosen = pixel_frames(windows.latents), job.settings
    heard = heard_frames(0, frames, track_frames(job.voice))
    latents = digest(
        KEY_SCHEMA,
        {
            "models": models,
            "size": job.size,
            "seed": chosen.seed,
            "sampler": "euler",
            "sigmas": job.sigmas,
            "audio_scale": chosen.audio_scale,
            "windows": [astuple(window) for window in windows.windows],
            "blend": settings.blend.value,
            "first_frame": settings.first_frame.value,
            "voice": sound_digests(job.voice.samples, [heard], SAMPLES_PER_FRAME),
            "reference": job.reference.chunk_content(0, frames, own=True),
        },
    )
    shown = {
        "latents": latents,
        "size": job.size,
        "crf": CRF,
        "color": [chosen.color_anchor, chosen.color_strength],
    }
    return JobPlan(
        keys=tuple(digest(shown, place) for place in chunk_places(pieces)),
        kept_frames=tuple(piece.kept_frames for piece in pieces),
        size=job.size,
        crf=CRF,
        sound_key=digest(content_identity(job.sound.path)),
        states=step_keys(latents, job.steps),
    )


def keys_before(job: TalkJob, models: Any) -> dict[int, str]:
    """Keys of the takes that chunks have to end in, by index.

    Where no chunk continues from the one that is made again, there is nothing to meet.
    """
    following = [*job.whole[1:], None]
    ends = [
        chunk.index
        for chunk, after, change in zip(job.whole, following, job.changes, strict=True)
        if change.keep_rest and after is not None and after.context_frames
    ]
    if not ends:
        return {}
    taken = chunk_keys(chunk_parts(job, taken_before(job)), common=common_parts(job, models))
    return {index: taken[index] for index in ends}


def taken_before(job: TalkJob) -> list[ChunkChange]:
    """What chunks were made with in the clip that retakes keep."""
    return [change.retakes or change for change in job.changes]


def common_parts(job: TalkJob, models: Any) -> dict[str, Any]:
    """What all chunks are made from."""
    settings = job.settings
    return {
        "size": job.size,
        "crf": CRF,
        "sampler": "euler",
        "sigmas": job.sigmas,
        "audio_scale": settings.audio_scale,
        "color": [settings.color_anchor, settings.color_strength],
        "hand_on": settings.hand_on,
        "models": models,
    }


def chunk_parts(job: TalkJob, changes: list[ChunkChange]) -> list[dict[str, Any]]:
    """What each chunk is made from, with these changes."""
    track = track_frames(job.voice)
    spans = [heard_frames(chunk.start_frame, chunk.frames, track) for chunk in job.whole]
    sounds = sound_digests(job.voice.samples, spans, SAMPLES_PER_FRAME)
    seen = [
        job.reference.chunk_content(chunk.start_frame, chunk.frames, own=change.image is None)
        for chunk, change in zip(job.whole, changes, strict=True)
    ]
    brought = identities(changes, job.timeline, job.settings.seed)
    return [
        {"place": place, "voice": sound, "reference": reference, **each}
        for place, sound, reference, each in zip(
            chunk_places(job.whole), sounds, seen, brought, strict=True
        )
    ]


def track_frames(voice: Track) -> int:
    """Frames of a voice with the silence that is encoded behind it."""
    padded = (clip_frames(voice.seconds) + TAIL_FRAMES) * SAMPLES_PER_FRAME
    return max(voice.samples.size, padded) // SAMPLES_PER_FRAME
