"""What a timeline changes from chunk to chunk, around parts that know nothing of time."""

import pytest
import tiny
import torch

from endless_talk.audio.windows import TensorFeatures
from endless_talk.models.configs import VAEConfig
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.timed import TimedConditioner, TimedReference
from endless_talk.samplers.timeline import ChunkChange
from endless_talk.standalone import WanConditioner, WanPredictor
from endless_talk.talk_device import CodecOnDevice, FramesOnDevice

PLAN = plan_chunks(20, 9, 5)
SIDE = 32
PICTURES = [tiny.normal(3, SIDE, SIDE, seed=20), tiny.normal(3, SIDE, SIDE, seed=21)]


FRAMES = {chunk.start_frame: torch.full((3, 1, 1), chunk.index) for chunk in PLAN}


class Numbered:
    """A reference whose frame is another one for every chunk."""

    def frame(self, start_frame):
        return FRAMES[start_frame]


def changes(**special):
    """One change per chunk; ``_2`` is that of the third."""
    return [special.get(f"_{chunk.index}", ChunkChange()) for chunk in PLAN]


def test_a_reference_frame_is_replaced_where_a_line_says_so():
    timed = TimedReference(Numbered(), PLAN, changes(_1=ChunkChange(image=1)), PICTURES)
    seen = [timed.frame(chunk.start_frame) for chunk in PLAN]
    assert seen[1] is PICTURES[1]
    assert all(seen[k] is FRAMES[PLAN[k].start_frame] for k in (0, 2, 3))


def test_frames_on_a_device_are_the_same_object_while_they_are_the_same_frame():
    class Still:
        def frame(self, start_frame):
            return PICTURES[0]

    moved = FramesOnDevice(Still(), torch.device("meta"))
    first = moved.frame(0)
    assert first.device.type == "meta" and moved.frame(4) is first
    other = FramesOnDevice(Numbered(), torch.device("meta"))
    assert other.frame(PLAN[0].start_frame) is not other.frame(PLAN[1].start_frame)


def test_a_codec_takes_frames_and_latents_from_anywhere():
    class Codec:
        def encode(self, frames):
            return frames

        def decode(self, latents):
            yield latents

    codec = CodecOnDevice(Codec(), torch.device("meta"))
    assert codec.encode(PICTURES[0][:, None]).device.type == "meta"
    assert [block.device.type for block in codec.decode(PICTURES[0])] == ["meta"]


class Recording:
    """A conditioner that hands out what it was told to read."""

    def __init__(self):
        self.prompts, self.strength = {"positive": "hi", "negative": "no"}, torch.tensor([1.0, 0.5])

    def conditions(self, chunk, reference):
        return dict(self.prompts), self.strength.tolist()


def test_prompts_and_strengths_change_and_come_back():
    special = changes(_1=ChunkChange(prompt=0, audio=0.5), _2=ChunkChange(audio=2.0))
    timed = TimedConditioner(Recording(), special, ["she laughs"])
    seen = [timed.conditions(chunk, None) for chunk in PLAN]
    assert seen[1] == ({"positive": "she laughs", "negative": "no"}, [0.5, 0.25])
    assert seen[2] == ({"positive": "hi", "negative": "no"}, [2.0, 1.0])
    assert seen[0] == seen[3] == ({"positive": "hi", "negative": "no"}, [1.0, 0.5])


@pytest.fixture(scope="module")
def networks():
    return tiny.wan(), tiny.adapter(), tiny.vae(VAEConfig(width=4))


@torch.no_grad()
def predicted(networks, special, prompts=()):
    """The velocity of every chunk from the same latents, with the real reference networks."""
    model, adapter, vae = networks
    conditioner = WanConditioner(
        model,
        adapter,
        vae,
        texts={"positive": tiny.normal(4, 16)},
        voices=[TensorFeatures(tiny.normal(20, tiny.LAYERS, tiny.CHANNELS))],
    )
    timed, predictor = TimedConditioner(conditioner, special, prompts), WanPredictor(model, adapter)
    latents = tiny.normal(16, 3, SIDE // 8, SIDE // 8, seed=5)
    return [
        predictor.predict(latents, 0.5, "full", timed.conditions(chunk, PICTURES[0]))
        for chunk in PLAN[:3]
    ]


def test_a_factor_reaches_the_reference_network_in_its_chunks_alone(networks):
    plain = predicted(networks, changes())
    weak = predicted(networks, changes(_1=ChunkChange(audio=0.0)))
    assert torch.equal(plain[0], weak[0]) and torch.equal(plain[2], weak[2])
    assert (plain[1] - weak[1]).abs().max() > 1e-4


def test_a_prompt_reaches_the_reference_network_in_its_chunks_alone(networks):
    plain = predicted(networks, changes())
    other = predicted(networks, changes(_1=ChunkChange(prompt=0)), [tiny.normal(4, 16, seed=9)])
    assert torch.equal(plain[0], other[0]) and torch.equal(plain[2], other[2])
    assert (plain[1] - other[1]).abs().max() > 1e-4


@torch.no_grad()
def test_a_prompt_that_stays_is_embedded_once(networks):
    model = networks[0]
    calls, embed = [], model.embed_contexts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "embed_contexts", lambda *a: (calls.append(1), embed(*a))[1])
        predicted(networks, changes())
    assert len(calls) == 1
