"""A sound is digested once for as long as it is there, and anew when it has changed."""

import gc

import numpy as np
import pytest
import torch

from endless_talk.video import job_keys
from endless_talk.video.job_keys import sound_digest, sound_digests
from endless_talk.video.known_digests import KnownDigests

RATE = 1000
SPANS = [range(start, start + 90) for start in range(0, 700, 70)]


@pytest.fixture
def digested(monkeypatch):
    """Bytes of arrays that went into digests."""
    sizes, raw = [], job_keys._raw

    def counted(array):
        sizes.append(array.nbytes)
        return raw(array)

    monkeypatch.setattr(job_keys, "_raw", counted)
    return sizes


def voice(seconds=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, seconds * RATE, generator=generator)


def ask(sound):
    """What a sampler asks for: every chunk's span, and the whole, twice over."""
    first = [sound_digests(sound, SPANS, RATE / 25), sound_digest(sound, RATE / 25)]
    assert [sound_digests(sound, SPANS, RATE / 25), sound_digest(sound, RATE / 25)] == first
    return first


@pytest.mark.parametrize("inference", [False, True])
def test_a_sound_is_digested_once_whoever_asks(digested, inference):
    with torch.inference_mode(inference):
        sound = voice()
        ask(sound)
    assert sum(digested) == sound.nbytes


def test_equal_sounds_have_equal_digests_in_tensors_and_arrays():
    assert ask(voice()) == ask(voice())
    array = voice().numpy()
    assert sound_digests(array, SPANS, RATE / 25) == sound_digests(voice(), SPANS, RATE / 25)
    assert ask(voice()) != ask(voice(seed=1))


def test_a_sound_that_was_written_to_is_another(digested):
    sound = voice()
    before = ask(sound)
    sound[0, 25 * RATE] = 7
    after = ask(sound)
    assert before[1] != after[1] and after == ask(sound.clone())
    assert sum(digested) == 3 * sound.nbytes


def test_arrays_are_looked_at_every_time():
    array = voice().numpy()
    before = sound_digest(array, RATE / 25)
    array[0, 5] = 7
    assert sound_digest(array, RATE / 25) != before


def test_every_sample_counts_in_the_whole():
    sound = voice(25)
    whole = sound_digest(sound, RATE / 25)
    for place in (0, 10 * RATE, 25 * RATE - 1):
        other = sound.clone()
        other[0, place] += 0.5
        assert sound_digest(other, RATE / 25) != whole
    assert sound_digest(sound[:, :-1], RATE / 25) != whole
    assert sound_digest(torch.cat([sound, torch.zeros(1, 1)], dim=1), RATE / 25) != whole
    assert sound_digest(np.zeros((1, 10)), 1.5) != sound_digest(np.zeros((1, 10)), 2.5)


def test_no_sound_is_kept_alive_or_taken_for_a_later_one():
    known = KnownDigests()
    for count in range(200):
        tensor = torch.full((4,), float(count))
        assert known.get(tensor, "all", lambda count=count: str(count)) == str(count)
    del tensor
    gc.collect()
    assert known._tensors == {}
