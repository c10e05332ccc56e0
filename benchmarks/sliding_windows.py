"""Sliding windows and streaming chunks on the same clips with the embedded model.

Run: ``OMP_NUM_THREADS=1 python benchmarks/sliding_windows.py [seconds] [clips] [setting ...]``
(12 s, two clips and every setting by default; some 20 s a clip and setting on one core). Faces,
voices and noise that training never saw come from fixed seeds. Seams are measured where a window,
or a chunk, takes over from the one before, and where pieces that were decoded apart meet.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import conftest  # noqa: F401  (registers the package)
import numpy as np
import torch

from endless_talk.audio.features import FeatureTrack, pad_for_clip
from endless_talk.audio.loudness import normalize_loudness
from endless_talk.frames import SPATIAL_STRIDE
from endless_talk.models.networks import built_in_weights, load_networks
from endless_talk.samplers.blend import Blend
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.noise import chunk_noise
from endless_talk.samplers.pieces import LEAD_FRAMES, PIECE_FRAMES, slide_clip
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import flow_sigmas
from endless_talk.samplers.sliding import (
    FirstFrame,
    Sweeper,
    needs_anchor,
    sample_windows,
)
from endless_talk.samplers.window_denoise import WindowEuler
from endless_talk.samplers.windows import LastWindow, plan_windows
from endless_talk.standalone import WanConditioner, WanPredictor
from endless_talk.training.evaluate import cast, figures_of, measure_trial
from endless_talk.training.sizes import SHIFT, SIZE, STEPS
from endless_talk.training.trial import (
    FrameList,
    Setting,
    Trial,
    portrait_of,
    render_trial,
)
from endless_talk.video.robust_color import color_anchor

FIRST_CAST = 700

SETTINGS = {
    "streaming": None,
    "streaming, no colour": {"color": "none"},
    "windows": {},
    "windows, no colour": {"color": "none"},
    "overlap 2": {"overlap": 2},
    "overlap 10": {"overlap": 10},
    "linear": {"blend": Blend.LINEAR},
    "cosine": {"blend": Blend.COSINE},
    "anchor slot": {"first_frame": FirstFrame.ANCHOR},
    "anchor slot, average": {"first_frame": FirstFrame.ANCHOR, "blend": Blend.AVERAGE},
    "anchor slot, overlap 0": {"first_frame": FirstFrame.ANCHOR, "overlap": 0},
    "previous estimate": {"first_frame": FirstFrame.PREVIOUS},
    "shift": {"last": LastWindow.SHIFT},
    "even": {"last": LastWindow.EVEN},
    "one window": {"window": 4001},
    "lead 1": {"lead": 1},
    "lead 33": {"lead": 33},
}

COLUMNS = {
    "correlation": "r",
    "lag_frames": "lag",
    "seam_to_group": "seam",
    "pieces": "pieces",
    "skin_first": "skin 1st",
    "skin_last": "last",
    "eyes_last_to_first": "eyes",
    "outline_last_to_first": "outline",
    "identity_first": "id 1st",
    "identity_last": "last",
    "seconds": "s",
}


@torch.inference_mode()
def slide_trial(
    networks,
    face,
    voice,
    frames,
    seed,
    *,
    window=81,
    overlap=None,
    blend=Blend.PAPER,
    first_frame=FirstFrame.EVERY,
    last=LastWindow.PAD,
    lead=LEAD_FRAMES,
    color="reference",
):
    """Make a clip through windows; returns it with its windows, then with its pieces as plan."""
    portrait = portrait_of([face])
    picture = torch.from_numpy(portrait).permute(2, 0, 1).float() / 127.5 - 1
    shared = 5 if overlap is None else overlap
    plan = plan_windows(
        frames, window, shared, last=last, anchored=needs_anchor(first_frame, shared, blend)
    )
    conditioner = WanConditioner(
        networks.base,
        networks.adapter,
        networks.vae,
        texts={"positive": torch.zeros(0, networks.base.config.text_dim)},
        voices=[FeatureTrack(networks.wav2vec, pad_for_clip(normalize_loudness(voice), frames))],
    )
    sweeper = Sweeper(
        plan,
        lambda chunk: conditioner.conditions(chunk, picture),
        networks.vae.encode(picture[:, None]),
        blend=blend,
        first_frame=first_frame,
    )
    denoiser = WindowEuler(WanPredictor(networks.base, networks.adapter), TalkGuidance())
    side = SIZE // SPATIAL_STRIDE
    shape = (networks.vae.config.latent_channels, plan.latents, side, side)
    sink, pieces = FrameList(), plan_chunks(frames, lead + PIECE_FRAMES - LEAD_FRAMES, lead)
    slide_clip(
        pieces,
        latents=lambda: sample_windows(
            sweeper, denoiser, lambda: chunk_noise(seed, 0, shape), flow_sigmas(STEPS, SHIFT)
        ),
        codec=networks.vae,
        sink=sink,
        color=color_anchor(color, picture, 1.0),
    )
    clip = torch.cat(sink.blocks, dim=1).permute(1, 2, 3, 0).numpy()
    return Trial(portrait, clip, plan.spans), pieces


def line(name: str, rows: list[dict[str, float]]) -> str:
    """The means of a setting over its clips."""
    cells = [f"{np.mean([row.get(key, np.nan) for row in rows]):.3f}" for key in COLUMNS]
    return f"{name:<24}" + " ".join(f"{cell:>8}" for cell in cells)


def main(seconds: float = 12.0, clips: int = 2, settings: tuple[str, ...] = ()) -> None:
    """Print a line per setting and clip, then their means."""
    chosen = {name: SETTINGS[name] for name in settings or SETTINGS}
    networks = load_networks(built_in_weights({}), torch.device("cpu"), torch.float32)
    frames = round(25 * seconds)
    header = f"{'':<24}" + " ".join(f"{title:>8}" for title in COLUMNS.values())
    print(f"{frames} frames, {frames / 25:.0f} s\n{header}", flush=True)
    rows: dict[str, list[dict[str, float]]] = {}
    for index in range(FIRST_CAST, FIRST_CAST + clips):
        face, voice = cast(index, frames)
        for name, options in chosen.items():
            started = time.perf_counter()
            pieces = None
            if name.startswith("streaming"):
                setting = Setting(
                    seed=index, color_anchor=(options or {}).get("color", "reference")
                )
                trial = render_trial(networks, [face], [voice.samples], frames, setting)
            else:
                trial, pieces = slide_trial(networks, face, voice.samples, frames, index, **options)
            spent = time.perf_counter() - started
            figures = figures_of(measure_trial(trial, [face], [voice]))
            if pieces is not None:
                apart = figures_of(measure_trial(replace(trial, plan=pieces), [face], [voice]))
                figures["pieces"] = apart["seam_to_group"]
            rows.setdefault(name, []).append({**figures, "seconds": spent})
            print(line(name, rows[name][-1:]), flush=True)
    print(f"\nmeans of {clips}\n{header}")
    for name, found in rows.items():
        print(line(name, found))


if __name__ == "__main__":
    first, second = sys.argv[1:2] or ["12"], sys.argv[2:3] or ["2"]
    main(float(first[0]), int(second[0]), tuple(sys.argv[3:]))
