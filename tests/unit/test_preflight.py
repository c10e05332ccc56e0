"""What the sampler refuses before a model is loaded, and what it warns of."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from endless_talk.audio.speech import Speaker, Speech
from endless_talk.audio.track import Track
from endless_talk.errors import InputError
from endless_talk.models.recipes import Recipe
from endless_talk.nodes.checks import Weights, check_disk
from endless_talk.nodes.clip_plan import ClipInputs, StreamSettings
from endless_talk.nodes.clip_warnings import embedded_warnings, reference_warnings
from endless_talk.nodes.preflight import plan_clip
from endless_talk.reference.sources import PictureReference, reference_of
from endless_talk.samplers.folds import Folds
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import PRESETS, even_sigmas, flow_sigmas

SOURCE = (96, 128)


def settings(**changes):
    return StreamSettings(**changes)


def speaker(seconds=5.0, start=0.0, region=None):
    return Speaker(
        features=None,
        voice=Track(np.zeros(1, np.float32), seconds),
        encoder=None,
        seconds=seconds,
        start_seconds=start,
        strength=1.0,
        region=region,
        waveform=torch.zeros(1, 1),
        rate_hz=16000,
    )


def half(left):
    region = torch.zeros(SOURCE)
    middle = SOURCE[1] // 2
    region[:, :middle] = float(left)
    region[:, middle:] = float(not left)
    return region


def plan(tmp_path, speakers=None, guidance=None, **given):
    speech = Speech(tuple(speakers or [speaker()]))
    reference = reference_of(np.zeros((*SOURCE, 3), np.uint8), SOURCE)
    reference = replace(reference, image_tokens=given.pop("image_tokens", None))
    inputs = ClipInputs(
        speech,
        reference,
        guidance or TalkGuidance(),
        connected=frozenset(given.pop("connected", ())),
        sampler=given.pop("sampler", None),
        sigmas=given.pop("sigmas", None),
    )
    return plan_clip(
        settings(**given.pop("settings", {})),
        inputs,
        folder=given.pop("folder", Path(tmp_path)),
        weights=given.pop("weights", Weights()),
    )


def test_a_clip_is_as_long_as_its_speech(tmp_path):
    clip = plan(tmp_path)
    assert clip.frames == 125 and len(clip.plan) == 2
    assert clip.branches == ["full"] and clip.evaluations == 2 * 6
    assert clip.masks is None and clip.warnings == []


def test_stop_at_shortens_and_never_lengthens(tmp_path):
    assert plan(tmp_path, settings={"stop_at": 2.0}).frames == 50
    assert plan(tmp_path, settings={"stop_at": 60.0}).frames == 125


def test_stop_at_samples_the_chunks_of_the_whole_clip(tmp_path):
    whole = plan(tmp_path, [speaker(seconds=9.0)])
    early = plan(tmp_path, [speaker(seconds=9.0)], settings={"stop_at": 4.0})
    assert early.whole == whole.whole == whole.plan and whole.then is None
    assert early.sampled == whole.plan[:2] and early.then == whole.plan[2]
    assert [chunk.kept_frames for chunk in early.plan] == [81, 19]
    assert early.notes == ["ends early, at 4.00 of 9.00 s; the chunks are the whole clip's"]
    assert whole.notes == []
    assert len(early.changes) == len(early.whole) and early.evaluations == 2 * 6


def test_two_speakers_get_masks_on_the_token_grid(tmp_path):
    clip = plan(tmp_path, [speaker(region=half(True)), speaker(region=half(False))])
    assert clip.masks.shape == (3, (SOURCE[0] // 16) * (SOURCE[1] // 16))
    assert clip.masks[0].sum() == clip.masks[1].sum() > 0 == clip.masks[2].sum()


def test_given_sigmas_are_used_as_they_are(tmp_path):
    given = flow_sigmas(4, 5.0)
    assert torch.equal(plan(tmp_path, sigmas=given).sigmas, given)


def dpm_adaptive():
    def dpm_adaptive_function():
        pass

    return SimpleNamespace(sampler_function=dpm_adaptive_function)


REFUSED = {
    "steps": ({"settings": {"steps": 0}}, "at least 1"),
    "shift": ({"settings": {"shift": -1.0}}, "above 0"),
    "stop": ({"settings": {"stop_at": float("nan")}}, "stop_at"),
    "chunk": ({"settings": {"chunk_frames": 80}}, "81"),
    "context": ({"settings": {"context_frames": 81}}, "context_frames"),
    "job with a path": ({"settings": {"job_name": "../../etc"}}, "job_name"),
    "empty job": ({"settings": {"job_name": ""}}, "job_name"),
    "sigmas that stop early": ({"sigmas": torch.tensor([1.0, 0.5])}, "SIGMAS"),
    "a name for devices": ({"settings": {"job_name": "CON"}}, "job_name"),
    "a name ending in a dot": ({"settings": {"job_name": "a."}}, "job_name"),
    "rising sigmas": ({"sigmas": torch.tensor([0.0, 1.0])}, "SIGMAS"),
    "foreign sigmas": ({"sigmas": torch.tensor([14.6, 5.0, 0.0])}, "SIGMAS"),
    "no placed speakers": ({"speakers": [speaker(), speaker()]}, "speakers 1 and 2 have no place"),
    "one placed speaker": (
        {"speakers": [speaker(region=half(True)), speaker()]},
        "speaker 2 has no place",
    ),
    "mask of another size": (
        {"speakers": [speaker(region=torch.ones(10, 20)), speaker(region=half(True))]},
        "20x10",
    ),
    "empty mask": (
        {"speakers": [speaker(region=torch.zeros(SOURCE)), speaker(region=half(True))]},
        "speaker 1",
    ),
    "too many speakers": ({"speakers": [speaker(region=half(True))] * 7}, "7 speakers"),
    "no negative": ({"guidance": TalkGuidance(5, 4)}, "negative"),
    "adaptive sampler": ({"sampler": dpm_adaptive()}, "dpm_adaptive"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_work_is_refused(kind, tmp_path):
    given, says = REFUSED[kind]
    with pytest.raises(InputError, match=says) as refused:
        plan(tmp_path, **given)
    assert "\n" not in str(refused.value)


def test_all_problems_are_said_at_once(tmp_path):
    with pytest.raises(InputError) as refused:
        plan(
            tmp_path,
            [speaker(), speaker()],
            TalkGuidance(5, 4),
            settings={"job_name": "a/b", "context_frames": 81},
        )
    lines = str(refused.value).split("\n")
    assert len(lines) == 4
    for words in ("no place", "negative", "job_name", "context_frames"):
        assert any(words in line for line in lines)


def test_a_disk_has_to_hold_the_clip_and_what_is_missing_of_its_chunks(tmp_path, monkeypatch):
    import shutil

    chunks, size = plan_chunks(2500), (480, 832)
    missing, folder = list(range(len(chunks))), tmp_path / "not" / "made" / "yet"
    clip_bytes = 2500 * 480 * 832 * 0.25
    context_bytes = (len(chunks) - 1) * 9 * 480 * 832 * 12
    needed = 2 * clip_bytes + context_bytes + 200e6

    def free(bytes_):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=bytes_))

    free(needed + 1)
    check_disk(chunks, missing, size, folder)
    free(needed - 1e6)
    with pytest.raises(InputError, match=r"2\.2 GB and .* GB free: make room"):
        check_disk(chunks, missing, size, folder)
    check_disk(chunks, missing[20:], size, folder)  # a job that has begun needs less


def test_a_connected_negative_satisfies_text_guidance(tmp_path):
    clip = plan(tmp_path, guidance=TalkGuidance(5, 4), connected={"negative"})
    assert clip.branches == ["full", "audio_only", "unconditional"]


def folded(tmp_path, *settings, **given):
    given = {"connected": {"negative"}, "sigmas": even_sigmas(4, 5.0), **given}
    return plan(tmp_path, guidance=TalkGuidance(*settings), **given)


def test_evaluations_are_counted_step_by_step(tmp_path):
    clip = folded(tmp_path, 5, 4, Folds.BY_NOISE)
    assert clip.calls == [2, 2, 2, 3] and clip.evaluations == 2 * 9
    fifty = folded(tmp_path, 5, 4, Folds.BY_NOISE, sigmas=even_sigmas(50, 7.0))
    assert fifty.evaluations == 2 * 114
    part = replace(clip, source_strength=0.3)
    assert part.calls == [3, 3] and part.steps == 2, "0.7 and 0.625, below the switch"


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ((5, 4, Folds.BY_NOISE), True),
        ((1, 4, Folds.BY_NOISE), True),
        ((1, 2, Folds.TWO), True),
        ((5, 4, Folds.THREE), True),
        ((1, 4, Folds.THREE), False),
        ((5, 4, Folds.AUDIO), False),
        ((1, 4, Folds.ONE_RULE), False),
    ],
)
def test_a_negative_prompt_is_asked_for_when_any_step_reads_it(tmp_path, settings, needed):
    if not needed:
        assert folded(tmp_path, *settings, connected=set()).branches == ["full", "text_only"]
        return
    with pytest.raises(InputError, match="folds to 'audio only'"):
        folded(tmp_path, *settings, connected=set())


def test_steps_that_a_source_leaves_out_ask_for_nothing(tmp_path, monkeypatch):
    """Beginning below the switch, no step guides along text and voice together."""
    monkeypatch.setattr(PictureReference, "source_strength", 0.3)
    clip = folded(tmp_path, 1, 4, Folds.BY_NOISE, connected=set())
    assert clip.branches == ["full", "text_only"] and clip.calls == [2, 2]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ((5, 4, Folds.BY_NOISE), "9 network calls per chunk instead of 4"),
        ((5, 4), "12 network calls per chunk instead of 4"),
        ((5, 4, Folds.AUDIO), "audio scale of 4: with a step LoRA 2"),
        ((1, 2), None),
        ((), None),
    ],
)
def test_guidance_that_few_steps_do_not_want_is_a_warning(tmp_path, settings, says):
    warnings = folded(tmp_path, *settings).warnings
    assert len(warnings) == (says is not None)
    assert all(says in warning for warning in warnings)


def test_text_guidance_on_a_base_that_has_its_own_is_a_warning():
    for settings in ((5, 4), (5, 4, Folds.BY_NOISE), (1, 3, Folds.TWO)):
        (warning,) = embedded_warnings(TalkGuidance(*settings), embedded=True)
        assert "'audio only'" in warning and "at 6" in warning
        assert embedded_warnings(TalkGuidance(*settings), embedded=False) == []
    assert embedded_warnings(TalkGuidance(5, 3, Folds.AUDIO), embedded=True) == []


def test_a_base_that_cannot_do_without_the_reference_says_so():
    blind = TalkGuidance(5, 4, drop_reference=True)
    (warning,) = reference_warnings(blind, holds_first_frame=True)
    assert "'reference' of Talk Guidance is not used" in warning
    assert reference_warnings(blind, holds_first_frame=False) == []
    for other in (TalkGuidance(5, 4), TalkGuidance(1, 3, drop_reference=True)):
        assert reference_warnings(other, holds_first_frame=True) == []


def test_guidance_on_a_set_that_was_distilled_without_is_a_warning(tmp_path):
    given = {"weights": DEMO, "settings": {"steps": 4}, "guidance": TalkGuidance(1, 2)}
    (warning,) = plan(tmp_path, [demo_speaker()], **given).warnings
    assert "8 network calls instead of 4" in warning


def test_a_voice_after_the_end_is_a_warning(tmp_path):
    late = speaker(seconds=9.0, start=7.0, region=half(True))
    clip = plan(tmp_path, [speaker(region=half(False)), late], settings={"stop_at": 3.0})
    assert any("speaker 2 starts at 7 s" in warning for warning in clip.warnings)


def test_names_of_any_script_are_taken(tmp_path):
    for name in ("中文", "jürgen", "a b-c_1.2"):
        assert plan(tmp_path, settings={"job_name": name}).settings.job_name == name


def test_what_is_ignored_or_doubled_is_a_warning(tmp_path):
    assert "face is not used" in plan(tmp_path, [speaker(region=half(True))]).warnings[0]
    same = [speaker(region=half(True)), speaker(region=half(True))]
    assert "same face" in plan(tmp_path, same).warnings[0]
    low = plan(tmp_path, sigmas=torch.tensor([0.4, 0.2, 0.0]))
    assert "0.40" in low.warnings[0]


def test_step_warnings_go_by_the_schedule_and_not_by_the_widget(tmp_path):
    published = flow_sigmas(40, 7.0)
    guided = TalkGuidance(5, 4)
    assert plan(tmp_path, sigmas=published).warnings
    assert not plan(tmp_path, guidance=guided, connected={"negative"}, sigmas=published).warnings


def test_a_file_in_the_place_of_the_folder_is_noticed(tmp_path):
    (tmp_path / "talk").write_bytes(b"")
    with pytest.raises(InputError, match="is a file"):
        plan(tmp_path)


def test_steps_that_do_not_fit_the_guidance_are_a_warning(tmp_path):
    assert plan(tmp_path, settings={"steps": 40}).warnings
    quick = plan(tmp_path, guidance=TalkGuidance(5, 4), connected={"negative"})
    assert quick.warnings


RECIPE = Recipe("built-in demo", SOURCE, 4, 5.0)
DEMO = Weights(RECIPE, base_known=True, vae_set="built-in demo")
PUBLISHED = Weights(None, base_known=True, vae_set="")


def demo_speaker(**given):
    return replace(speaker(**given), encoder=SimpleNamespace(set_name="built-in demo"))


def test_a_recipe_decides_the_schedule(tmp_path):
    clip = plan(tmp_path, [demo_speaker()], weights=DEMO, settings={"steps": 4})
    assert torch.equal(clip.sigmas, flow_sigmas(4, 5.0))
    assert clip.warnings == []
    even = replace(DEMO, recipe=replace(RECIPE, even=True))
    clip = plan(tmp_path, [demo_speaker()], weights=even, settings={"steps": 4})
    assert torch.equal(clip.sigmas, PRESETS["MagicInfinite, 4 steps"].sigmas())
    assert clip.warnings == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"settings": {"steps": 6}}, "set steps to 4"),
        ({"settings": {"steps": 4, "shift": 7.0}}, "shift to 0"),
        ({"sigmas": flow_sigmas(4, 2.0)}, "distilled for 4 steps with shift 5"),
    ],
)
def test_another_schedule_than_the_recipe_s_is_a_warning(tmp_path, given, says):
    (warning,) = plan(tmp_path, [demo_speaker()], weights=DEMO, **given).warnings
    assert says in warning


def test_another_size_than_the_recipe_s_is_a_warning(tmp_path):
    pair = [demo_speaker(region=half(True)), demo_speaker(region=half(False))]
    (warning,) = plan(tmp_path, pair, weights=DEMO, settings={"steps": 4}).warnings
    assert "2 speakers" in warning and "choose 256x96" in warning


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"connected": {"positive"}}, "the positive prompt is connected"),
        ({"connected": {"negative"}}, "the negative prompt is connected"),
        ({"image_tokens": torch.zeros(1, 257, 1280)}, r"CLIP vision \(on Reference Image\)"),
        ({"guidance": TalkGuidance(5, 4)}, "text scale to 1"),
        ({"weights": replace(DEMO, vae_set="")}, "Choose built-in demo for the VAE"),
        ({"speakers": [speaker()]}, "Choose built-in demo for the wav2vec2 of speaker 1"),
    ],
)
def test_what_a_set_was_not_trained_with_is_refused(tmp_path, given, says):
    given = {"speakers": [demo_speaker()], "weights": DEMO, **given}
    with pytest.raises(InputError, match=says) as refused:
        plan(tmp_path, given.pop("speakers"), **given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"weights": replace(PUBLISHED, vae_set="built-in demo")}, "the published VAE"),
        ({"weights": PUBLISHED, "speakers": [demo_speaker()]}, "the published wav2vec2"),
    ],
)
def test_parts_of_a_set_are_refused_with_a_published_base(tmp_path, given, says):
    with pytest.raises(InputError, match=says):
        plan(tmp_path, given.pop("speakers", None), **given)


def test_what_is_not_known_yet_is_not_refused(tmp_path):
    plan(tmp_path, [demo_speaker()], weights=Weights(vae_set="built-in demo"))
    plan(tmp_path, [demo_speaker()], weights=replace(DEMO, vae_set=None))
