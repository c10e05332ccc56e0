"""Made-up speech: the mouth follows the voice, closes for p, b and m, and stays shut in noise."""

import ctypes

import av
import numpy as np
import pytest

from endless_talk.audio.envelope import FRAME_SAMPLES, voice_envelope
from endless_talk.errors import InputError
from endless_talk.training.speech import espeak
from endless_talk.training.speech.demo import DEMO_VOICE, demo_voice
from endless_talk.training.speech.espeak import Voice, say
from endless_talk.training.speech.mix import draw_utterance
from endless_talk.training.speech.mouth import mouth_curves
from endless_talk.training.speech.noise import noise_utterance, silence_utterance, under_noise
from endless_talk.training.speech.spoken import VARIANTS, VOICES, espeak_utterance
from endless_talk.training.speech.synthetic import synthetic_utterance
from endless_talk.training.speech.texts import TEXTS
from endless_talk.training.speech.utterance import Phoneme

try:
    ctypes.CDLL(espeak.LIBRARY)
    MISSING = False
except OSError:
    MISSING = True

needs_espeak = pytest.mark.skipif(
    MISSING, reason=f"{espeak.LIBRARY} is not installed; `{espeak.INSTALL}`"
)

MAKERS = {
    "espeak": pytest.param(espeak_utterance, marks=needs_espeak),
    "draw": pytest.param(draw_utterance, marks=needs_espeak),
    "synthetic": synthetic_utterance,
    "noise": noise_utterance,
}


def rng(seed=0):
    return np.random.default_rng(seed)


def tone(seconds, hz=150.0, level=0.3):
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (level * np.sign(np.sin(2 * np.pi * hz * time))).astype(np.float32)


def spoken(text):
    """Opening and width of one sentence at a slow, even pace, and its phonemes."""
    samples, phonemes = say([text], [0.4], Voice("en-us", rate_wpm=140))
    return *mouth_curves(samples, phonemes), phonemes


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("frames", [1, 33, 81])
def test_sound_and_mouth_last_exactly_the_frames_asked_for(make, frames):
    for seed in range(3):
        utterance = make(rng(seed), frames)
        assert utterance.samples.shape == (frames * FRAME_SAMPLES,)
        assert utterance.mouth_open.shape == utterance.mouth_width.shape == (frames,)
        for curve in (utterance.samples, utterance.mouth_open, utterance.mouth_width):
            assert curve.dtype == np.float32
            assert np.isfinite(curve).all()
        assert 0 <= utterance.mouth_open.min() <= utterance.mouth_open.max() <= 1
        assert np.abs(utterance.mouth_width).max() <= 1


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_generator_gives_the_same_utterance_whatever_came_before(make):
    first = make(rng(7), 50)
    make(rng(8), 50)
    again = make(rng(7), 50)
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.mouth_open, again.mouth_open)
    np.testing.assert_array_equal(first.mouth_width, again.mouth_width)
    assert not np.array_equal(first.samples, make(rng(8), 50).samples)


@needs_espeak
@pytest.mark.parametrize("split", ["train", "eval"])
def test_the_mouth_follows_the_loudness_of_espeak(split):
    drawn = [espeak_utterance(rng(seed), 400, split) for seed in range(6)]
    correlations = [
        np.corrcoef(voice_envelope(each.samples), each.mouth_open)[0, 1] for each in drawn
    ]
    assert np.mean(correlations) > 0.95
    assert min(correlations) > 0.91


@needs_espeak
def test_every_p_b_and_m_closes_the_lips():
    opening, _, phonemes = spoken("Papa, mama, bobby and a happy number.")
    closures = [each for each in phonemes if each.name[:1] in ("p", "b", "m")]
    assert len(closures) == 9
    for each in closures:
        around = slice(max(0, int(each.start * 25) - 1), int(each.end * 25) + 1)
        assert opening[around].min() == 0.0, each
    assert opening.max() > 0.8


@needs_espeak
def test_lips_round_for_u_and_widen_for_i():
    opening, width, _ = spoken("Who do two?")
    assert width[opening > 0.4].mean() < -0.9
    opening, width, _ = spoken("See these.")
    assert width[opening > 0.4].mean() > 0.8


def test_an_open_vowel_opens_further_than_a_close_one():
    sound = np.concatenate([tone(1.0), np.zeros(8_000, np.float32), tone(1.0)])
    opening, width = mouth_curves(sound, [Phoneme("ɑː", 0, 1), Phoneme("iː", 1.5, 2.5)])  # noqa: RUF001
    assert opening[5:20].mean() > 1.1 * opening[43:57].mean()
    assert opening[28:34].max() == 0
    assert abs(width[10]) < 0.2
    assert width[50] == pytest.approx(1.0)


def test_the_mouth_does_not_depend_on_the_gain():
    utterance = synthetic_utterance(rng(3), 120)
    for gain in (0.3, 4.0):
        scaled = voice_envelope(gain * utterance.samples)
        np.testing.assert_allclose(scaled, voice_envelope(utterance.samples), atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1e-4, 4e-4])
def test_sound_below_the_floor_opens_no_mouth(level):
    assert voice_envelope(tone(1.0, level=level)).max() == 0.0


def test_the_envelope_looks_at_the_time_of_its_frame():
    sound = np.zeros(50 * FRAME_SAMPLES, np.float32)
    sound[20 * FRAME_SAMPLES : 30 * FRAME_SAMPLES] = tone(0.4)
    envelope = voice_envelope(sound)
    assert envelope[21:29] == pytest.approx(1.0, abs=1e-3)
    assert envelope[[19, 20, 29, 30]] == pytest.approx([0.25, 0.75, 0.75, 0.25], abs=1e-3)
    assert not envelope[:19].any()
    assert not envelope[31:].any()


def test_noise_and_silence_keep_the_mouth_closed():
    for seed in range(10):
        noise = noise_utterance(rng(seed), 40)
        assert np.sqrt(np.square(noise.samples).mean()) > 1e-4
        assert np.abs(noise.samples).max() <= 1.0
        assert not noise.mouth_open.any()
        assert not noise.mouth_width.any()
    silence = silence_utterance(40)
    assert not silence.samples.any()
    assert not silence.mouth_open.any()


@needs_espeak
def test_a_tenth_of_the_mix_is_noise_and_most_of_it_speech():
    kinds = [draw_utterance(rng(seed), 9).kind for seed in range(120)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert shares.keys() == {"espeak", "synthetic", "noise", "silence"}
    assert 0.45 < shares["espeak"] < 0.75
    assert 0.04 < shares["noise"] < 0.22


@needs_espeak
def test_noise_under_speech_leaves_the_mouth_to_the_speech():
    clean = espeak_utterance(rng(2), 60)
    noisy = under_noise(rng(0), clean)
    assert not np.array_equal(noisy.samples, clean.samples)
    np.testing.assert_array_equal(noisy.mouth_open, clean.mouth_open)


def test_evaluation_shares_no_voice_throat_or_text_with_training():
    def voices(split):
        return {name for names in VOICES[split].values() for name in names}

    def texts(split):
        return {text for texts in TEXTS[split].values() for text in texts}

    assert not voices("train") & voices("eval")
    assert not set(VARIANTS["train"]) & set(VARIANTS["eval"])
    assert not texts("train") & texts("eval")
    assert len(TEXTS["train"]["en"]) >= 60
    assert len(TEXTS["eval"]["en"]) >= 25
    for split in ("train", "eval"):
        assert TEXTS[split].keys() >= VOICES[split].keys()


@needs_espeak
@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_voice_speaks(split):
    for name in (name for names in VOICES[split].values() for name in names):
        for variant in VARIANTS[split][:1]:
            samples, phonemes = say(["Mama."], [0.0], Voice(f"{name}+{variant}"))
            assert np.abs(samples).max() > 0.05
            assert "m" in {phoneme.name for phoneme in phonemes}


@needs_espeak
def test_an_unknown_voice_is_named():
    with pytest.raises(InputError, match="no voice xx-nobody"):
        say(["Hello."], [0.0], Voice("xx-nobody"))


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr(espeak, "LIBRARY", "libespeak-nowhere.so.9")
    espeak.load_library.cache_clear()
    with pytest.raises(InputError, match="apt-get install espeak-ng-data libespeak-ng1"):
        say(["Hello."], [0.0], Voice("en-us"))


@needs_espeak
def test_the_demo_voice_is_a_short_flac_of_an_evaluation_voice(tmp_path):
    path = tmp_path / "speech.flac"
    demo_voice(path)
    assert path.stat().st_size < 500_000
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.channels, stream.codec.name) == (16_000, 1, "flac")
        samples = np.concatenate([each.to_ndarray()[0] for each in container.decode(audio=0)])
    assert samples.size == 21.6 * 16_000
    name, variant = DEMO_VOICE.name.split("+")
    assert name in VOICES["eval"]["en"]
    assert variant in VARIANTS["eval"]
