"""The frames of a clip from its latents, piece by piece; VAEs that look back, and also ahead."""

import pytest
import tiny
import torch

from endless_talk.frames import latent_frames
from endless_talk.samplers.pieces import slide_clip
from endless_talk.samplers.plan import plan_chunks


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


class Sink:
    def __init__(self, held=()):
        self.frames, self.held, self.commits = [], set(held), 0

    def recall(self, chunk):
        return {} if chunk.index in self.held else None

    def append(self, frames):
        self.frames.append(frames.clone())

    def commit(self, state):
        assert state == {}
        self.commits += 1


class Numbers:
    """A codec that decodes a latent frame to the numbers of its pixel frames."""

    def __init__(self):
        self.decoded = []

    def decode(self, latents):
        self.decoded.append(latents.shape[1])
        first = round(float(latents[0, 0, 0, 0]))
        yield torch.full((3, 1, 2, 2), 4.0 * first)
        for index in range(first + 1, first + latents.shape[1]):
            frames = torch.arange(4 * index - 3, 4 * index + 1).float()
            yield frames.view(1, 4, 1, 1).expand(3, 4, 2, 2)


def pieces_of(total):
    return plan_chunks(total, 33, 9)


@pytest.mark.parametrize("total", [1, 20, 33, 34, 57, 58, 100])
def test_pieces_are_the_clip_frame_by_frame(total):
    latents = torch.arange(latent_frames(total + 3)).float().view(1, -1, 1, 1).expand(2, -1, 2, 2)
    sink, codec = Sink(), Numbers()
    assert slide_clip(pieces_of(total), latents=lambda: latents, codec=codec, sink=sink)
    got = torch.cat(sink.frames, dim=1)[0, :, 0, 0]
    assert torch.equal(got, torch.arange(total).float())
    assert sink.commits == len(pieces_of(total)) and max(codec.decoded) <= 9


def test_only_pieces_that_are_missing_are_decoded():
    asked = []

    def latents():
        asked.append(True)
        return torch.arange(30).float().view(1, -1, 1, 1).expand(2, -1, 2, 2)

    sink = Sink(held=[0, 2])
    assert slide_clip(pieces_of(100), latents=latents, codec=Numbers(), sink=sink)
    got = torch.cat(sink.frames, dim=1)[0, :, 0, 0].tolist()
    assert got == [*range(33, 57), *range(81, 100)] and len(asked) == 1
    everything = Sink(held=range(4))
    assert slide_clip(pieces_of(100), latents=latents, codec=Numbers(), sink=everything)
    assert len(asked) == 1, "a clip that is whole needs no latents"


def test_a_clip_whose_sampling_was_stopped_is_not_complete():
    sink = Sink()
    assert not slide_clip(pieces_of(100), latents=lambda: None, codec=Numbers(), sink=sink)
    assert not sink.frames


def test_lead_latents_make_pieces_join():
    """With the causal VAE's real field the pieces are the whole clip's frames, nearly."""
    vae = tiny.vae()
    latents = tiny.normal(16, 25, 2, 2, seed=40)
    whole = torch.cat(list(vae.decode(latents)), dim=1)

    def joined(lead):
        sink = Sink()
        plan = plan_chunks(97, 4 * lead + 33, 4 * lead + 1)
        slide_clip(plan, latents=lambda: latents, codec=vae, sink=sink)
        return (torch.cat(sink.frames, dim=1) - whole).abs().mean().item()

    assert joined(4) < 0.5 * joined(0)


class Tinted(Numbers):
    """Adds to all frames what depends on all that are decoded together: 0.1 per frame's number."""

    def decode(self, latents):
        frames = torch.cat(list(super().decode(latents)), dim=1)
        yield from (frames + 0.1 * frames.mean()).split(3, dim=1)


def faded(total, held=(), fade_frames=8):
    latents = torch.arange(latent_frames(total + 3)).float().view(1, -1, 1, 1).expand(2, -1, 2, 2)
    sink, codec = Sink(held), Tinted()
    slide_clip(
        pieces_of(total), latents=lambda: latents, codec=codec, sink=sink, fade_frames=fade_frames
    )
    return torch.cat(sink.frames, dim=1)[0, :, 0, 0], codec


@pytest.mark.parametrize("total", [1, 33, 34, 57, 60, 100])
def test_a_vae_that_looks_ahead_is_faded_from_piece_to_piece(total):
    """The step where pieces meet is spread over the frames that fade, and no other is touched."""
    (got, _), (plain, _) = faded(total), faded(total, fade_frames=0)
    assert len(got) == len(plain) == total
    steps, plain_steps = got.diff() - 1, plain.diff() - 1
    meet = torch.zeros(max(0, total - 1))
    for first in range(33, total, 24):
        meet[first - 1 : first + 8] = 1
        assert plain_steps[first - 1] > 0.9
    assert not (steps * (1 - meet)).abs().gt(1e-4).any()
    assert total <= 33 or steps.abs().max() < 0.4


def test_a_piece_that_is_made_later_fades_alike():
    """What the piece before would have gone on to show is decoded once more."""
    whole, codec = faded(100)
    later, again = faded(100, held=(0, 1))
    assert torch.equal(later, whole[57:])
    assert len(codec.decoded) == 4 and len(again.decoded) == 3


def test_fading_is_even():
    """In the 8 frames the shares are 1 to 8 ninths."""
    got, _ = faded(57)
    old, new = 0.1 * torch.arange(41).float().mean(), 0.1 * torch.arange(24, 57).float().mean()
    shares = torch.arange(1, 9) / 9
    expected = torch.arange(33, 41) + old * (1 - shares) + new * shares
    torch.testing.assert_close(got[33:41], expected, atol=1e-4, rtol=0)
