"""Which weights belong together, and how a set of them wants to be sampled."""

import json
from dataclasses import replace

import files
import pytest
import torch
from safetensors.torch import save_file

from endless_talk.errors import InputError
from endless_talk.models import recipes
from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.configs import HUNYUAN_CONCAT
from endless_talk.models.hybrid_networks import weights_family
from endless_talk.models.networks import (
    RANDOM_ADAPTER,
    RANDOM_WAV2VEC,
    WeightPaths,
    built_in_weights,
    find_weights,
    load_networks,
    random_networks,
)
from endless_talk.models.recipes import (
    BUILT_IN,
    HYBRID_BUILT_IN,
    Recipe,
    built_in_file,
    check_same_set,
    recipe_of,
    set_of,
)
from endless_talk.models.weights import Header, open_weights

RECIPE = Recipe(BUILT_IN, (64, 48), 4, 5.0)
METADATA = {
    recipes.SET: BUILT_IN,
    recipes.SIZE: "48x64",
    recipes.STEPS: "4",
    recipes.SHIFT: "5.0",
}


def header(**metadata):
    return Header("base.safetensors", {}, metadata)


def test_the_metadata_of_a_base_are_its_recipe():
    assert recipe_of(Header("base.safetensors", {}, METADATA)) == RECIPE
    assert set_of(Header("vae.safetensors", {}, METADATA)) == BUILT_IN


def test_published_files_have_no_recipe_and_no_set():
    assert recipe_of(header(config=json.dumps({"transformer": {}}))) is None
    assert set_of(header()) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (recipes.SIZE, "64"),
        (recipes.SIZE, None),
        (recipes.STEPS, "four"),
        (recipes.STEPS, None),
        (recipes.SHIFT, "-5"),
        (recipes.SHIFT, "nan"),
    ],
)
def test_a_set_that_does_not_say_how_to_sample_is_refused(name, value):
    metadata = {**METADATA, name: value}
    metadata = {key: text for key, text in metadata.items() if text is not None}
    with pytest.raises(InputError, match=r"base\.safetensors belongs to the set") as refused:
        recipe_of(Header("base.safetensors", {}, metadata))
    assert name in str(refused.value)


def test_a_clip_of_another_size_is_warned_of_with_the_right_one():
    assert RECIPE.size_warning((64, 48)) is None
    assert RECIPE.size_warning((64, 96), speakers=2) is None
    assert "choose 48x64" in RECIPE.size_warning((480, 832))
    assert "choose 144x64" in RECIPE.size_warning((64, 48), speakers=3)


def test_the_summary_is_one_line():
    assert RECIPE.summary == "built-in demo: 48x64 per speaker, 4 steps, shift 5"


@pytest.mark.parametrize(
    ("base", "other", "says"),
    [
        (BUILT_IN, "", "Choose built-in demo for the VAE as well"),
        ("", BUILT_IN, "Choose the published VAE, or built-in demo for everything"),
        (BUILT_IN, "another", "Choose built-in demo for the VAE"),
    ],
)
def test_what_was_not_trained_together_is_refused(base, other, says):
    with pytest.raises(InputError, match=says):
        check_same_set(base, other, "VAE")
    check_same_set(base, base, "VAE")


@pytest.fixture
def built_in(tmp_path, monkeypatch):
    """A built-in set of random weights; the real one is not looked at."""
    folder = files.weights_folder(tmp_path / "demo", set_name=BUILT_IN)
    monkeypatch.setattr(recipes, "BUILT_IN_FOLDER", folder)
    return folder


def test_the_built_in_files_are_found_by_their_roles(built_in):
    paths = built_in_weights({"vae": None, "base": built_in / "other.safetensors"})
    assert paths.vae == built_in / "vae.safetensors"
    assert paths.base == built_in / "other.safetensors"
    (built_in / "adapter.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no built-in demo"):
        built_in_file("adapter")


def test_the_other_base_of_the_set_has_an_adapter_of_its_own(built_in, tmp_path, monkeypatch):
    """Base and adapter; VAE and audio encoder are those of the set."""
    base, adapter, vae = (
        built_in_file(role, HYBRID_BUILT_IN) for role in ("base", "adapter", "vae")
    )
    assert vae == built_in / "vae.safetensors"
    assert base.parent == adapter.parent and base.parent.name == "demo-hybrid"
    assert set_of(open_weights(base)) == set_of(open_weights(adapter)) == BUILT_IN
    assert recipe_of(open_weights(base)) == Recipe(BUILT_IN, (64, 64), 4, 5.0, even=True)
    family = weights_family(WeightPaths(base, adapter, vae, vae))
    assert family == replace(HUNYUAN_CONCAT, window_frames=81)
    monkeypatch.setattr(recipes, "HYBRID_FOLDER", tmp_path / "assets" / "demo-hybrid")
    with pytest.raises(FileNotFoundError, match=r"demo-hybrid.*no built-in demo \(MagicInf"):
        built_in_file("base", HYBRID_BUILT_IN)


def test_a_set_loads_as_a_whole(built_in):
    networks = load_networks(built_in_weights({}), torch.device("cpu"), torch.float32)
    expected = random_networks(42).base.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in networks.base.state_dict().items())


def test_an_adapter_that_reads_the_encoders_input_gets_it(tmp_path):
    folder = files.weights_folder(tmp_path / "weights")
    wide = replace(RANDOM_ADAPTER, feature_size=(RANDOM_WAV2VEC.layers + 1) * RANDOM_WAV2VEC.hidden)
    plain = load_networks(find_weights(folder, {}), torch.device("cpu"), torch.float32)
    save_file(AudioAdapter(wide).state_dict(), folder / "adapter.safetensors")
    networks = load_networks(find_weights(folder, {}), torch.device("cpu"), torch.float32)
    waveform = torch.zeros(1, 16000)
    states, outputs = (each.wav2vec(waveform, 25) for each in (networks, plain))
    assert states.shape[2] * states.shape[3] == wide.feature_size
    assert torch.equal(states[:, :, 1:], outputs)
    two_more = replace(RANDOM_ADAPTER, feature_size=wide.feature_size + RANDOM_WAV2VEC.hidden)
    save_file(AudioAdapter(two_more).state_dict(), folder / "adapter.safetensors")
    with pytest.raises(InputError, match="expects 240 audio features per frame"):
        load_networks(find_weights(folder, {}), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("role", ["adapter", "vae", "wav2vec"])
@pytest.mark.parametrize("published", ["base", "companion"])
def test_files_of_a_set_and_others_do_not_load_together(built_in, tmp_path, role, published):
    other = files.weights_folder(tmp_path / "published")
    chosen = {role: other / f"{role}.safetensors"}
    folder = built_in
    if published == "base":
        folder, chosen = other, {role: built_in / f"{role}.safetensors"}
    with pytest.raises(InputError, match="built-in demo"):
        load_networks(find_weights(folder, chosen), torch.device("cpu"), torch.float32)
