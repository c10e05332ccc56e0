"""A clip of the command line through sliding windows, with small random networks."""

from dataclasses import replace
from pathlib import Path

import files
import pytest
import tiny
import torch

from endless_talk import talk_sliding
from endless_talk.errors import InputError
from endless_talk.models.configs import HUNYUAN_CONCAT
from endless_talk.models.hybrid_codec import HybridCodec
from endless_talk.models.hybrid_networks import HybridNetworks
from endless_talk.models.networks import RANDOM_WAV2VEC, random_networks
from endless_talk.samplers.blend import Blend
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.noise import chunk_noise
from endless_talk.samplers.sliding import ESTIMATE, LATENTS, FirstFrame
from endless_talk.standalone_hybrid import HybridConditioner, HybridPredictor, HybridPrompt
from endless_talk.talk import TalkSettings, latent_shape, plan_talk, stream_talk, voice_features
from endless_talk.talk_keys import window_journal_plan
from endless_talk.talk_sliding import WindowSettings, slide_talk, window_pieces, window_plan
from endless_talk.talk_sources import VideoFile
from endless_talk.video.sink import VideoSink

SETTINGS = TalkSettings(steps=2, size="custom", custom_size=(64, 64))
WINDOWS = WindowSettings(window_frames=17, overlap=2)


@pytest.fixture(scope="module")
def networks():
    return random_networks(0, torch.device("cpu"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    files.picture(folder / "face.png", (64, 64))
    files.voice(folder / "voice.wav", 1.24)
    return folder


def planned(inputs: Path, **settings):
    return plan_talk(inputs / "face.png", inputs / "voice.wav", replace(SETTINGS, **settings))


class Frames:
    """A sink that keeps frames, for comparison only."""

    def __init__(self):
        self.frames = []

    def recall(self, chunk):
        return None

    def append(self, frames):
        self.frames.append(frames.clone())

    def commit(self, state):
        pass


def slid(job, networks, settings=WINDOWS, **more):
    sink = Frames()
    assert slide_talk(job, networks, sink, settings, **more)
    return torch.cat(sink.frames, dim=1)


def test_a_clip_of_three_windows_is_written(inputs, networks, tmp_path):
    job = planned(inputs)
    assert len(window_plan(job, WINDOWS).windows) == 3 and len(window_pieces(job)) == 1
    out = tmp_path / "clip.mp4"
    with VideoSink(out, job.size) as sink:
        assert slide_talk(job, networks, sink, WINDOWS)
        sink.finish(job.sound)
    assert files.frames_of(out).shape == (31, 64, 64, 3)


def test_one_window_is_what_streaming_makes_of_one_chunk(inputs, networks):
    job, streamed = planned(inputs), Frames()
    stream_talk(job, networks, streamed)
    expected = torch.cat(streamed.frames, dim=1)
    assert torch.equal(slid(job, networks, WindowSettings()), expected)
    assert not torch.equal(slid(job, networks), expected)


@torch.inference_mode()
def test_a_window_of_hunyuanvideo_holds_no_frame_and_has_its_own_latents(inputs, networks):
    features = RANDOM_WAV2VEC.layers * RANDOM_WAV2VEC.hidden
    adapter = tiny.hybrid_adapter(replace(tiny.HYBRID_ADAPTER, feature_size=features))
    hybrid = HybridNetworks(tiny.hybrid(), adapter, networks.vae, networks.wav2vec)
    job, settings = planned(inputs, color_anchor="none"), WindowSettings(family=HUNYUAN_CONCAT)
    (window,) = window_plan(job, settings).windows
    codec = HybridCodec(hybrid.vae)
    prompt = HybridPrompt(torch.zeros(1, tiny.HYBRID.text_dim), torch.zeros(tiny.HYBRID.pooled_dim))
    conditioner = HybridConditioner(
        hybrid.base,
        hybrid.adapter,
        codec,
        texts={"positive": prompt},
        voices=[voice_features(job.voice, hybrid)],
    )
    noise = chunk_noise(42, 0, latent_shape(job, hybrid, window.chunk))
    denoiser = EulerDenoiser(HybridPredictor(hybrid.base, hybrid.adapter), TalkGuidance())
    conditions = conditioner.conditions(window.chunk, job.reference.source.frame(0))
    latents = denoiser.denoise(noise, conditions, job.sigmas, held=noise[:, :0])
    expected = torch.cat(list(codec.decode(latents)), dim=1)[:, :31]
    torch.testing.assert_close(slid(job, hybrid, settings), expected, atol=1e-5, rtol=1e-5)


def test_the_seed_and_the_blend_are_heeded(inputs, networks):
    frames = slid(planned(inputs), networks)
    assert not torch.equal(slid(planned(inputs, seed=1), networks), frames)
    linear = replace(WINDOWS, blend=Blend.AVERAGE)
    assert window_plan(planned(inputs), linear).anchored
    assert not torch.equal(slid(planned(inputs), networks, linear), frames)


def test_another_seed_is_another_clip_of_a_job(inputs):
    kept, same, other = (
        window_journal_plan(planned(inputs, seed=seed), WINDOWS, "networks") for seed in (1, 1, 2)
    )
    assert kept == same
    assert not set(kept.states) & set(other.states) and not set(kept.keys) & set(other.keys)


def test_the_voice_is_encoded_once_whatever_the_steps_and_windows(inputs, networks, monkeypatch):
    made = talk_sliding.voice_features
    asked = []

    def counted(voice, networks):
        track = made(voice, networks)
        features = track.features
        track.features = lambda *span: (asked.append(span), features(*span))[1]
        return track

    monkeypatch.setattr(talk_sliding, "voice_features", counted)
    slid(planned(inputs), networks)
    assert len(asked) == 1


class Kept:
    """A clip whose steps so far were read from the disk."""

    def __init__(self, step, latents):
        shape = (16, latents, 8, 8)
        state = {LATENTS: torch.zeros(shape), ESTIMATE: torch.zeros(shape)}
        self.found = (step, state) if step else None

    def latest(self):
        return self.found

    def save(self, step, state):
        assert {tensor.device.type for tensor in state.values()} == {"meta"}


@pytest.mark.parametrize("step", [0, 1, 3], ids=["anew", "between steps", "to be decoded"])
def test_a_clip_goes_on_where_the_networks_are(step, inputs):
    """They are on a device without memory, which takes nothing from another one."""
    there = random_networks(0, torch.device("cpu"))
    for network in (there.base, there.adapter, there.vae):
        network.to("meta")
    job = planned(inputs, steps=3, shift=0.5, audio_scale=2.0, color_anchor="none")
    windows = replace(WINDOWS, first_frame=FirstFrame.PREVIOUS)
    sink = Frames()
    states = Kept(step, window_plan(job, windows).latents)
    assert slide_talk(job, there, sink, windows, states=states)
    assert {frames.device.type for frames in sink.frames} == {"meta"}


def test_what_cannot_be_had_is_refused(inputs, tmp_path):
    with pytest.raises(InputError, match="clean picture"):
        window_plan(planned(inputs), replace(WINDOWS, first_frame=FirstFrame.FIRST_ONLY))
    files.silent_video(tmp_path / "film.mp4", frames=31)
    film = plan_talk(VideoFile(tmp_path / "film.mp4"), inputs / "voice.wav", SETTINGS)
    with pytest.raises(InputError, match="one picture"):
        window_plan(film, WINDOWS)
    film.reference.close()
