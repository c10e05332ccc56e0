"""The inputs of the samplers: sockets, widgets everybody sees, and widgets for those who look.

Their order is permanent; new ones are appended, optional, with a default.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..samplers.streaming import HandOn
from ..video.journal import Keep
from ..video.robust_color import COLOR_ANCHORS
from . import sockets


def model_inputs() -> list[Any]:
    """MODEL, VAE, and what is said and seen."""
    return [
        io.Model.Input(
            "model",
            lazy=True,
            tooltip="A Wan 2.1 image-to-video model with an audio adapter: from Load Talking "
            "Model, or any loader followed by Apply Audio Adapter. Loaded only when all else is in "
            "order.",
        ),
        io.Vae.Input(
            "vae", lazy=True, tooltip="The Wan 2.1 VAE, from Load Talking VAE or the host's loader."
        ),
        sockets.Speech.Input(
            "speech", tooltip="The speakers, from Encode Speaker. Their sound decides the length."
        ),
        sockets.Reference.Input(
            "reference",
            tooltip="The picture that talks and the size of the clip, from Reference Image.",
        ),
    ]


def content_inputs() -> list[Any]:
    """Optional sockets."""
    return [
        io.Conditioning.Input(
            "positive",
            optional=True,
            lazy=True,
            tooltip="What the picture shows and how the speaker behaves. Without it: no text, as "
            "the built-in demo wants it.",
        ),
        io.Conditioning.Input(
            "negative",
            optional=True,
            lazy=True,
            tooltip="What to avoid. Only read when Talk Guidance guides along the text.",
        ),
        sockets.Guidance.Input(
            "guidance",
            optional=True,
            tooltip="From Talk Guidance. Without it one evaluation per step, as step LoRAs want.",
        ),
        io.Sampler.Input(
            "sampler",
            optional=True,
            tooltip="Any sampler with fixed steps; Euler without it, as published. The context "
            "frames "
            "stay clean with all of them.",
        ),
        io.Sigmas.Input(
            "sigmas",
            optional=True,
            tooltip="Noise levels per chunk, from Talk Sigmas. Overrides steps and shift.",
        ),
        io.Audio.Input(
            "soundtrack",
            optional=True,
            tooltip="Sound of the clip instead of the voices, such as a mix with music. It does "
            "not move the mouth; what is longer than the clip is cut.",
        ),
        sockets.Timeline.Input(
            "timeline",
            optional=True,
            tooltip="Changes in the course of the clip - prompt, picture, seed, strength of the "
            "voice - from Timeline.",
        ),
    ]


def sampling_widgets() -> list[Any]:
    """Widgets everybody sees; their order is permanent."""
    return [
        io.Int.Input(
            "seed",
            default=42,
            optional=True,
            min=0,
            max=2**63 - 1,
            control_after_generate=io.ControlAfterGenerate.fixed,
            tooltip="Noise of every chunk comes from this and the chunk's number alone.",
        ),
        io.Int.Input(
            "steps",
            default=6,
            optional=True,
            min=1,
            max=200,
            tooltip=(
                "Denoising steps per chunk: 4 to 8 with a step LoRA, 40 without, 4 with the "
                "built-in demo. Time grows with it."
            ),
        ),
        io.Float.Input(
            "shift",
            default=0.0,
            optional=True,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Shift of the noise schedule. 0 chooses: 7 up to 0.5 megapixels, 11 above, the "
            "built-in demo's own with it.",
        ),
        io.Float.Input(
            "stop_at",
            default=0.0,
            optional=True,
            min=0.0,
            max=86400.0,
            step=0.1,
            tooltip=(
                "Seconds after which the clip ends; 0 renders all of it. 3 is a good first try."
            ),
        ),
        io.String.Input(
            "job_name",
            default="talk",
            optional=True,
            tooltip="Folder and name of the clip below output/endless_talk. Every finished chunk "
            "is kept there: run again after a stop, a crash or a change, and only what is missing "
            "or changed is made. Clips are numbered, never overwritten.",
        ),
        io.Combo.Input(
            "action",
            options=["render", "plan only", "collect finished part"],
            default="render",
            optional=True,
            tooltip="'plan only' loads nothing and reports chunks, evaluations and problems. "
            "'collect finished part' makes a clip of the chunks that are there.",
        ),
    ]


def advanced_widgets() -> list[Any]:
    """Widgets for those who look for them."""
    return [
        io.Int.Input(
            "chunk_frames",
            default=81,
            min=5,
            max=401,
            step=4,
            optional=True,
            advanced=True,
            tooltip="Frames sampled at once, 4n+1. The published weights were trained on 81.",
        ),
        io.Int.Input(
            "context_frames",
            default=9,
            min=1,
            max=101,
            step=4,
            optional=True,
            advanced=True,
            tooltip=(
                "Frames handed from chunk to chunk, 4n+1. 9 as trained; each chunk adds the rest."
            ),
        ),
        io.Combo.Input(
            "color_anchor",
            options=[*COLOR_ANCHORS],
            default="reference",
            optional=True,
            advanced=True,
            tooltip="Match every frame's colours to the picture, against drift over minutes: "
            "'reference' as published, 'robust' ignores mouth and blinks.",
        ),
        io.Float.Input(
            "color_strength",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How strongly colours are matched: 0 not at all, 1 fully, as published.",
        ),
        io.Combo.Input(
            "quality",
            options=["high", "lossless"],
            default="high",
            optional=True,
            advanced=True,
            tooltip="H.264 at crf 12, or lossless (large, and not every browser plays it).",
        ),
    ]


def job_widgets() -> list[Any]:
    """What long clips want; behind the advanced ones."""
    return [
        io.Float.Input(
            "time_budget",
            default=0.0,
            min=0.0,
            max=10080.0,
            step=1.0,
            optional=True,
            advanced=True,
            tooltip="Minutes after which no further chunk is begun; 0 is no limit. What is done is "
            "returned as a clip with sound, and the next run goes on.",
        ),
        io.Combo.Input(
            "keep",
            options=[keep.value for keep in Keep],
            default=Keep.CHUNKS.value,
            optional=True,
            advanced=True,
            tooltip="What stays when the clip is finished: 'all chunks', so that a change re-makes "
            "only what it touches (about as large as the clip again), or 'clip only'.",
        ),
        io.Combo.Input(
            "hand_on",
            options=[way.value for way in HandOn],
            default=HandOn.FRAMES.value,
            optional=True,
            advanced=True,
            tooltip="As what the context goes from chunk to chunk: 'frames' decoded and encoded "
            "again, as published, or 'latents' as they were sampled.",
        ),
    ]
