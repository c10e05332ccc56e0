"""The hybrid demonstration model through the sliding window sampler: mouths follow their voices in
every window, and what should break it does.

Training never used the seeds of the faces nor the speaker of the voice. Limits come from recorded
runs (``assets/README.md``), with room for other processors' rounding.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from endless_talk.audio.decoding import decode_track
from endless_talk.audio.envelope import voice_envelope
from endless_talk.training.evaluate import UNSEEN, boxes_of
from endless_talk.training.faces.identity import draw_identity
from endless_talk.training.hybrid.evaluate import FOLDS, PRINTED, length
from endless_talk.training.hybrid.export import load_hybrid
from endless_talk.training.hybrid.sizes import WINDOW_LATENTS
from endless_talk.training.hybrid.trial import HybridSetting, render_hybrid
from endless_talk.video.measure import measure_clip

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "assets"
FPS, RATE_HZ = 25, 16_000
WINDOWS = 5

MIN_CORRELATION, MIN_OF_ONE_WINDOW, MIN_OF_TWO = 0.86, 0.8, 0.8
"""0.893, 0.872 and 0.866 recorded."""

MAX_SEAM, MAX_MOVED = 1.25, 0.01
"""1.09 and 0.002 recorded."""

SETTING = HybridSetting(seed=5)


@pytest.fixture(scope="module")
def networks():
    torch.set_num_threads(1)
    return load_hybrid(ASSETS / "demo-hybrid")


@pytest.fixture(scope="module")
def voice():
    return decode_track(HERE / "voice.ogg").samples


@pytest.fixture(scope="module")
def other_voice():
    return decode_track(ASSETS / "speech.flac").samples


def face(seed):
    return draw_identity(np.random.default_rng(UNSEEN + seed))


def stretch(samples, frames):
    return samples[: frames * RATE_HZ // FPS]


def measure(trial, faces, voices, **options):
    return measure_clip(
        trial.blocks(),
        [voice_envelope(voice) for voice in voices],
        boxes=[boxes_of(face, tile) for tile, face in enumerate(faces)],
        plan=trial.plan,
        reference=torch.from_numpy(trial.portrait).permute(2, 0, 1).float() / 127.5 - 1,
        **options,
    )


@pytest.fixture(scope="module")
def say(networks, voice):
    """Makes a face say the voice in five windows, and measures it."""

    def clip(setting, samples=None, **options):
        frames, who = length(WINDOWS), face(500)
        heard = stretch(voice, frames) if samples is None else samples
        trial = render_hybrid(networks, [who], [heard], frames, setting)
        return measure(trial, [who], [stretch(voice, frames)], **options)

    return clip


@pytest.fixture(scope="module")
def usual(say):
    return say(SETTING)


def correlation(clip):
    return clip.mouths[0].sync.correlation


def test_the_mouth_follows_the_voice_in_every_window(usual):
    assert len(usual.stretches) == WINDOWS
    assert correlation(usual) >= MIN_CORRELATION
    assert abs(usual.mouths[0].sync.lag_frames) <= 1
    assert usual.mouths[0].sync.shuffled_mean_abs <= 0.2  # 0.13; short clips are alike by chance
    opening, envelope = usual.mouths[0].curve.opening, usual.envelopes[0]
    for part in usual.stretches:
        here = slice(part.start, part.stop)
        assert np.corrcoef(opening[here], envelope[here])[0, 1] >= MIN_OF_ONE_WINDOW


def test_nobody_sees_where_windows_meet(usual, say):
    assert usual.seams.ratio <= MAX_SEAM
    assert say(replace(SETTING, overlap=0)).seams.ratio > usual.seams.ratio + 0.4


def test_nothing_drifts_from_the_first_window_to_the_last(usual):
    for drift in (usual.skin, usual.background):
        assert drift.moved <= MAX_MOVED
    assert not usual.frozen


def test_sound_of_another_window_is_found_out(say):
    assert abs(correlation(say(replace(SETTING, audio_offset=WINDOW_LATENTS - 5)))) < 0.35


def test_silence_does_not_move_the_mouth(say, usual):
    silence = np.zeros(length(WINDOWS) * RATE_HZ // FPS, np.float32)
    clip = say(SETTING, silence, scales=[usual.mouths[0].curve.scale])
    assert abs(correlation(clip)) < 0.25
    assert clip.mouths[0].curve.opening.std() < 0.3 * usual.mouths[0].curve.opening.std()


def test_folds_hold_and_the_printed_formula_does_not(say):
    """Equation 7 as printed goes twice as far where it has three folds, here in the last step."""
    folded, printed = (say(replace(SETTING, guidance=each)) for each in (FOLDS, PRINTED))
    assert correlation(folded) >= MIN_CORRELATION - 0.02
    assert printed.background.last > 3 * folded.background.last
    assert printed.identity_last > 2 * folded.identity_last


@pytest.mark.parametrize("speakers", [(0, 1), (1, 0)])
def test_each_mouth_follows_its_own_voice(networks, voice, other_voice, speakers):
    """With the speakers' face masks exchanged, the mouths are exchanged."""
    frames, faces = length(WINDOWS), [face(500), face(501)]
    voices = [stretch(voice, frames), stretch(other_voice, frames)]
    trial = render_hybrid(networks, faces, voices, frames, SETTING, speakers)
    owners = [speakers.index(tile) for tile in range(2)]
    matrix = measure(trial, faces, voices, voice_of_face=owners).matrix
    for tile, owner in enumerate(owners):
        assert matrix[owner, tile] >= MIN_OF_TWO
        assert abs(matrix[1 - owner, tile]) <= 0.3
