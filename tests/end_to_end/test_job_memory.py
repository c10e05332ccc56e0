"""What a long clip costs in memory: nothing per chunk, measured in the command line's own path.

Networks are stubs; features, frames, encoding and the journal are of full size.
"""

import json
from types import SimpleNamespace

import files
import job_stubs as stubs
import numpy as np
import torch
from memory import anonymous_bytes, needs_proc, share_per_chunk

from endless_talk import cli_talk
from endless_talk.cli import main
from endless_talk.frames import latent_frames
from endless_talk.models.networks import Networks
from endless_talk.video.h264 import pixel_levels
from endless_talk.video.journal import JobSink

pytestmark = needs_proc

SIZE = 256
CHUNK_BYTES = 81 * SIZE * SIZE * 3
"""One chunk's frames as uint8."""

LAYERS, CHANNELS = 12, 768
"""Of the published audio encoder."""


class Transformer:
    config = SimpleNamespace(text_dim=4, heads=1)

    def parameters(self):
        return iter([torch.zeros(1)])

    def embed_contexts(self, text, image):
        return text

    def __call__(self, latents, timestep, contexts, *, concat, audio, cache):
        return torch.zeros_like(latents)


class Adapter:
    audio_proj = SimpleNamespace(proj1=SimpleNamespace(weight=torch.zeros(1)))

    def project(self, windows):
        assert windows.shape[2:] == (5, LAYERS, CHANNELS)
        return windows.mean(dim=(2, 3, 4))


class VAE:
    config = SimpleNamespace(latent_channels=16)

    def encode(self, frames):
        return torch.zeros(16, latent_frames(frames.shape[1]), SIZE // 8, SIZE // 8)

    def decode(self, latents):
        for index in range(latents.shape[1]):
            level = float(latents[0, index].mean()) % 1.0
            yield torch.full((3, 4 if index else 1, SIZE, SIZE), level)


class Wav2Vec:
    hop_samples, field_samples = 320, 400

    def prepare(self, waveform):
        return waveform

    def measure(self, waveform):
        return None

    def convolve(self, waveform, statistics):
        count = (waveform.shape[1] - self.field_samples) // self.hop_samples + 1
        return torch.zeros(1, count, 512)

    def encode(self, features):
        return torch.zeros(1, features.shape[1], LAYERS, CHANNELS)


def memory_after_chunks(folder, chunks, keep_frames=False):
    """Anonymous memory after each chunk of a job, rendered in a process of its own."""
    seconds = (81 + 72 * (chunks - 1)) / 25
    picture = files.picture(folder / "portrait.png", (SIZE, SIZE))
    voice = files.voice(folder / "voice.wav", seconds)
    out = folder / "memory.json"
    kept, seen = [], []
    append, commit = JobSink.append, JobSink.commit

    def hoarding(sink, frames):
        kept.append(pixel_levels(frames))
        append(sink, frames)

    def measured(sink, state):
        index = sink._index
        commit(sink, state)
        seen.append(anonymous_bytes())
        if index:  # 7 MB each that nobody asks for again, and tests share a disk
            sink._segments.state_file(sink.plan.keys[index - 1]).unlink()

    def work():
        networks = Networks(Transformer(), Adapter(), VAE(), Wav2Vec())
        cli_talk.open_networks = lambda *_: networks
        JobSink.append = hoarding if keep_frames else append
        JobSink.commit = measured
        given = {"image": picture, "audio": voice, "job": "long", "folder": folder, "steps": 1}
        given |= {"size": f"{SIZE}x{SIZE}", "color-strength": 0}
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        code = main(["talk", "--random-weights", "--keep", "clip only", *flags])
        out.write_text(json.dumps(seen))
        return code

    assert stubs.forked(work) == 0
    memory = json.loads(out.read_text())
    assert len(memory) == chunks
    return np.array(memory)


def test_memory_does_not_grow_with_the_clip(tmp_path):
    memory = memory_after_chunks(tmp_path, 200)
    share = share_per_chunk(memory[50:], CHUNK_BYTES)
    print(f"{share:+.4f} of a chunk's frames per chunk, {memory[-1] / 1e6:.0f} MB at the end")
    assert share <= 0.05


def test_keeping_frames_would_be_noticed(tmp_path):
    memory = memory_after_chunks(tmp_path, 30, keep_frames=True)
    assert share_per_chunk(memory[10:], CHUNK_BYTES) > 0.5
