"""The reference networks behind the samplers' protocols: how often each of them is asked."""

from dataclasses import replace

import pytest
import tiny
import torch

from endless_talk.audio.windows import TensorFeatures
from endless_talk.frames import latent_frames
from endless_talk.models import routing
from endless_talk.models.configs import VAEConfig
from endless_talk.models.routing import SpeakerRouting
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.noise import chunk_noise
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import flow_sigmas
from endless_talk.samplers.streaming import Sampling, stream_clip
from endless_talk.samplers.teacache import TeaCache
from endless_talk.standalone import WanConditioner, WanPredictor

STEPS, SIDE = 3, 32
PLAN = plan_chunks(20, 9, 5)


class CountingCodec:
    def __init__(self):
        self.vae = tiny.vae(VAEConfig(width=4))
        self.encoded, self.decoded = 0, 0

    def encode(self, frames):
        self.encoded += frames.shape[1]
        return self.vae.encode(frames)

    def decode(self, latents):
        self.decoded += latents.shape[1]
        return self.vae.decode(latents)


class Nowhere:
    def __init__(self):
        self.frames = 0

    def append(self, frames):
        assert frames.isfinite().all()
        self.frames += frames.shape[1]

    def commit(self, state):
        pass

    def recall(self, chunk):
        return None


class Still:
    picture = tiny.normal(3, SIDE, SIDE).clamp(-1, 1)

    def frame(self, start_frame):
        return self.picture


@torch.no_grad()
def run(speakers=1, guidance=None, cache=None, steps=STEPS, plan=PLAN):
    """Render a short clip; how often the transformer and the attention map were computed."""
    guidance, sink = guidance or TalkGuidance(), Nowhere()
    model, adapter, codec = tiny.wan(), tiny.adapter(), CountingCodec()
    calls, maps = [], []
    model.register_forward_hook(lambda *_: calls.append(1))
    masks = torch.zeros(3, (SIDE // 16) ** 2)
    masks[0, ::2], masks[1, 1::2] = 1, 1
    place = SpeakerRouting(masks) if speakers > 1 else None
    original = routing.reference_attention_map
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            routing, "reference_attention_map", lambda *a: (maps.append(1), original(*a))[1]
        )
        stream_clip(
            plan,
            reference=Still(),
            conditioner=WanConditioner(
                model,
                adapter,
                codec,
                texts={"positive": tiny.normal(4, 16), "negative": tiny.normal(4, 16, seed=1)},
                voices=[
                    TensorFeatures(tiny.normal(20, tiny.LAYERS, tiny.CHANNELS, seed=s))
                    for s in range(speakers)
                ],
            ),
            denoiser=EulerDenoiser(
                WanPredictor(model, adapter, routing=place, cache=cache), guidance
            ),
            codec=codec,
            sink=sink,
            sampling=lambda chunk: Sampling(
                chunk_noise(
                    1, chunk.index, (16, latent_frames(chunk.frames), SIDE // 8, SIDE // 8)
                ),
                flow_sigmas(steps, 7.0),
            ),
        )
    assert sink.frames == sum(chunk.kept_frames for chunk in plan)
    return len(calls), len(maps), codec


@pytest.mark.parametrize(
    ("guidance", "branches", "published"),
    [
        (TalkGuidance(5, 4), 3, 3),
        (TalkGuidance(5, 1), 2, 3),
        (TalkGuidance(1, 2), 2, 2),
        (TalkGuidance(), 1, 2),
    ],
)
def test_the_transformer_is_never_called_more_often_than_published(guidance, branches, published):
    calls, _, _ = run(guidance=guidance)
    assert calls == len(PLAN) * STEPS * branches <= len(PLAN) * STEPS * published


def test_the_vae_encodes_a_still_reference_once():
    _, _, codec = run()
    contexts = sum(chunk.context_frames or 1 for chunk in PLAN)
    assert codec.encoded == PLAN[0].frames + contexts
    published = sum(chunk.frames + (chunk.context_frames or 1) for chunk in PLAN)
    assert codec.encoded < published


def test_the_attention_map_is_computed_for_voiced_branches_of_several_speakers_only():
    layers = tiny.WAN.layers
    assert run(speakers=1, guidance=TalkGuidance(5, 4))[1] == 0
    _, maps, _ = run(speakers=2, guidance=TalkGuidance(5, 4))
    assert maps == len(PLAN) * STEPS * layers * 2, "full and audio_only hear; unconditional not"


def test_cached_steps_compute_no_attention_map():
    steps = 8
    always = TeaCache((0.0,), threshold=1.0)
    calls, maps, _ = run(speakers=2, cache=always, steps=steps)
    assert calls == len(PLAN) * steps
    assert maps == len(PLAN) * 5 * tiny.WAN.layers, "five warm-up steps per chunk, then reuse"


def test_a_shorter_last_chunk_runs_with_everything_at_its_own_length():
    *same, last = plan_chunks(20, 17, 5)
    plan = [*same, replace(last, frames=9)]
    calls, maps, codec = run(speakers=2, guidance=TalkGuidance(5, 4), plan=plan)
    assert calls == len(plan) * STEPS * 3 and maps == len(plan) * STEPS * tiny.WAN.layers * 2
    assert codec.encoded == 17 + 1 + 9 + 5, "the reference is looked at for either length"
    assert codec.decoded == 5 + 3


def test_gates_go_to_where_the_networks_run():
    """Made on the CPU; the networks are on a device without memory here."""

    class Codec:
        def encode(self, frames):
            return torch.zeros(16, latent_frames(frames.shape[1]), 4, 4, device=frames.device)

    conditioner = WanConditioner(
        tiny.wan().to("meta"),
        tiny.adapter().to("meta"),
        Codec(),
        texts={"positive": torch.zeros(0, 16, device="meta")},
        voices=[TensorFeatures(tiny.normal(20, tiny.LAYERS, tiny.CHANNELS))],
        gates=lambda chunk: torch.ones(1, 1, 1, 4),
    )
    conditions = conditioner.conditions(PLAN[0], torch.zeros(3, SIDE, SIDE, device="meta"))
    assert conditions.gates.device.type == conditions.voice.device.type == "meta"
