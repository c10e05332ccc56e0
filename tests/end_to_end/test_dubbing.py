"""The embedded model dubs a drawn video: what is kept stays, the mouth follows the new voice."""

from pathlib import Path

import drawn
import pytest
import torch
import torch.nn.functional as F

from endless_talk.audio.decoding import decode_track
from endless_talk.audio.envelope import voice_envelope
from endless_talk.audio.features import SAMPLES_PER_FRAME
from endless_talk.crop import crop_box
from endless_talk.frames import SPATIAL_STRIDE, latent_frames
from endless_talk.masks.keep import kept_latents
from endless_talk.models.networks import built_in_weights, load_networks
from endless_talk.reference.dubbing import DubSettings, DubSource, VideoReference
from endless_talk.reference.video import PicturesVideo
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.noise import chunk_noise
from endless_talk.samplers.plan import plan_shots
from endless_talk.samplers.schedule import flow_sigmas
from endless_talk.samplers.source import sampling_from_source
from endless_talk.samplers.streaming import Sampling, stream_clip
from endless_talk.standalone import WanConditioner, WanPredictor
from endless_talk.talk import voice_features
from endless_talk.training.trial import SHIFT, STEPS, FrameList
from endless_talk.video.measure import measure_clip

HERE = Path(__file__).parent
FACE, FRAMES = 1501, 297
"""Four chunks of 81 frames."""

MAX_LOSS = 1.10
"""Difference to the source in all pixels drawn white, over that of the VAE's round trip: 1.038
recorded in the worst chunk, and up to 1.062 with other faces (``docs/experiments.md``)."""

MAX_LOSS_INSIDE = 1.02
"""The same one latent away from what is made: 1.007 recorded."""

MIN_CORRELATION = 0.84


@pytest.fixture(scope="module")
def networks():
    return load_networks(built_in_weights({}), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def source():
    """A face that says something else than it will."""
    return drawn.talking(FACE, frames=FRAMES)


@pytest.fixture(scope="module")
def voice():
    return decode_track(HERE / "voice.ogg")


def keep_mask(source):
    """All but the mouth wherever it moves, white as users draw it, ``[1, H, W]``."""
    left, top, right, bottom = source.boxes[0].mouth
    keep = torch.ones(1, drawn.SIZE, drawn.SIZE)
    keep[:, top:bottom, left:right] = 0
    return keep


def reference_to(source, **settings):
    video = PicturesVideo(torch.from_numpy(source.pixels).float() / 255, 25.0)
    size = (drawn.SIZE, drawn.SIZE)
    keep = kept_latents(keep_mask(source), crop_box(size, size)) if settings.pop("kept") else None
    return VideoReference(DubSource(video, size, DubSettings(**settings)), size, keep=keep)


@torch.inference_mode()
def dub(networks, reference, voice):
    """The dubbed clip, ``[3, F, H, W]`` in 0..255, and its plan."""
    plan, sink = plan_shots(FRAMES, reference.cuts(FRAMES)), FrameList()
    side = drawn.SIZE // SPATIAL_STRIDE
    sigmas = flow_sigmas(STEPS, SHIFT)

    def base(chunk):
        shape = (networks.vae.config.latent_channels, latent_frames(chunk.frames), side, side)
        return Sampling(chunk_noise(42, chunk.index, shape), sigmas)

    sampling = sampling_from_source(
        base,
        reference.source,
        networks.vae,
        strength=reference.source_strength,
        keep=reference.keep,
    )
    conditioner = WanConditioner(
        networks.base,
        networks.adapter,
        networks.vae,
        texts={"positive": torch.zeros(0, networks.base.config.text_dim)},
        voices=[voice_features(voice, networks)],
    )
    denoiser = EulerDenoiser(WanPredictor(networks.base, networks.adapter), TalkGuidance())
    stream_clip(
        plan,
        reference=reference.source,
        conditioner=conditioner,
        denoiser=denoiser,
        codec=networks.vae,
        sink=sink,
        sampling=sampling,
    )
    return torch.cat(sink.blocks, dim=1).float(), plan


@torch.inference_mode()
def round_trip(networks, reference, plan):
    """What the VAE alone makes of the source, chunk by chunk, ``[3, F, H, W]`` in 0..255."""
    parts = []
    for chunk in plan:
        frames = reference.source.frames(chunk.start_frame, chunk.frames)
        decoded = torch.cat([*networks.vae.decode(networks.vae.encode(frames))], dim=1)
        parts.append(decoded[:, chunk.context_frames :][:, : chunk.kept_frames])
    return torch.cat(parts, dim=1).clamp(-1, 1).add(1).mul(127.5).round()


def pixels_of(latents):
    """Where latents ``[1, h, w]`` of 1 are, in pixels ``[H, W]``."""
    stride = SPATIAL_STRIDE
    return latents[0].repeat_interleave(stride, 0).repeat_interleave(stride, 1).bool()


def inside(latents):
    """Those that no latent of 0 touches."""
    return 1 - F.max_pool2d(1 - latents, 3, stride=1, padding=1)


@pytest.fixture(scope="module")
def dubbed(networks, source, voice):
    reference = reference_to(source, kept=True)
    made, plan = dub(networks, reference, voice)
    truth = torch.from_numpy(source.pixels).permute(3, 0, 1, 2).float()
    alone = round_trip(networks, reference, plan)
    return reference, plan, made, truth, alone


def losses(dubbed, where):
    """Per chunk, how far the clip is from the source, over how far the VAE alone is."""
    _, plan, made, truth, alone = dubbed
    assert where.float().mean() > 0.2
    spans = [slice(chunk.first_new_frame, chunk.stop_new_frame) for chunk in plan]
    return [
        float(
            (made - truth)[:, span][..., where].abs().mean()
            / (alone - truth)[:, span][..., where].abs().mean()
        )
        for span in spans
    ]


def test_what_is_white_loses_no_more_than_in_the_vae(dubbed, source):
    white = losses(dubbed, keep_mask(source)[0].bool())
    inner = losses(dubbed, pixels_of(inside(dubbed[0].keep)))
    print(white, inner)
    assert max(white) <= MAX_LOSS and max(inner) <= MAX_LOSS_INSIDE
    assert inner[-1] <= inner[0] + 0.02, "it drifts from chunk to chunk"


def test_what_is_not_kept_says_something_else(dubbed, voice):
    reference, _, made, truth, alone = dubbed
    where = ~pixels_of(reference.keep)
    change, by_vae = ((clip - truth)[..., where].abs().mean() for clip in (made, alone))
    assert change > 1.5 * by_vae
    clip = measure_clip(
        [made / 127.5 - 1],
        [voice_envelope(voice.samples[: FRAMES * SAMPLES_PER_FRAME])],
        boxes=list(drawn.talking(FACE, frames=FRAMES).boxes),
    )
    assert clip.mouths[0].sync.correlation >= MIN_CORRELATION


def test_source_strength_stays_nearer_to_the_source(networks, source, voice, dubbed):
    distances = []
    for strength in (0.0, 0.6):
        reference = reference_to(source, kept=False, source_strength=strength)
        made, _ = dub(networks, reference, voice)
        distances.append(float((made - dubbed[3]).square().mean()))
    print(distances)
    assert distances[1] < 0.9 * distances[0]
