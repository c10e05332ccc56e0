"""Files of both systems in ComfyUI's folders: which belong together, and what `auto` takes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
pytest.importorskip("comfy_on_path")

import folder_paths
import host_models as hm
import hybrid_twins as ht
import tiny
from safetensors.torch import save_file

from endless_talk.errors import InputError
from endless_talk.model_loaders.adapter import attach_adapter, load_adapter
from endless_talk.model_loaders.base import check_model, find_adapter, find_pair, load_base
from endless_talk.model_loaders.choice import AUTO
from endless_talk.model_loaders.family import HUNYUAN_CONCAT, talking_family
from endless_talk.model_loaders.family import WAN as WAN_FAMILY
from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.hybrid_detect import describe_adapter
from endless_talk.models.wan import WanModel
from endless_talk.nodes.sliding_inputs import family_ahead, family_of
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.schedule import flow_sigmas

BASE, WAN = "hunyuan_video_image_to_video.safetensors", "wan2.1_i2v_480p.safetensors"
MERGED, SMALL = "talking_hunyuan.safetensors", "hunyuan_of_another_size.safetensors"
HYBRID, INFINITE = "magicinfinite_tiny.safetensors", "Wan2_1-InfiniteTalk-Single.safetensors"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two bases and two adapters where the host looks for them."""
    places = {"diffusion_models": tmp_path / "diffusion", "model_patches": tmp_path / "patches"}
    for place in places.values():
        place.mkdir()
    known = {key: ([str(place)], {".safetensors"}) for key, place in places.items()}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    base, adapter = hm.copied(tiny.hybrid()), hm.copied(tiny.hybrid_adapter())
    small = hm.copied(tiny.hybrid(replace(tiny.HYBRID, single_blocks=1)))
    wan = hm.copied(tiny.randomized(WanModel(hm.WAN), 0))
    infinite = hm.copied(tiny.randomized(AudioAdapter(hm.ADAPTER), 1))
    save_file(base, places["diffusion_models"] / BASE)
    save_file({**base, **adapter}, places["diffusion_models"] / MERGED)
    save_file(small, places["diffusion_models"] / SMALL)
    save_file(wan, places["diffusion_models"] / WAN, hm.METADATA)
    save_file(adapter, places["model_patches"] / HYBRID)
    save_file(infinite, places["model_patches"] / INFINITE)
    return places


def names(pair):
    return tuple(path.name for path in pair)


@pytest.mark.usefixtures("folders")
def test_auto_takes_the_adapter_of_the_bases_system():
    assert names(find_pair(BASE, AUTO)) == (BASE, HYBRID)
    assert names(find_pair(WAN, AUTO)) == (WAN, INFINITE)
    assert names(find_pair(MERGED, AUTO)) == (MERGED, MERGED)
    assert names(find_pair(BASE, HYBRID)) == (BASE, HYBRID)
    hunyuan, wan = ht.host_model(ht.CONCAT), hm.host_model()
    assert find_adapter(AUTO, hunyuan).name == HYBRID
    assert find_adapter(AUTO, wan).name == INFINITE
    assert find_adapter(AUTO).name == INFINITE


def test_auto_is_content_with_one_system_while_the_model_is_unknown(folders):
    (folders["model_patches"] / INFINITE).unlink()
    assert find_adapter(AUTO).name == HYBRID
    (folders["model_patches"] / HYBRID).unlink()
    with pytest.raises(InputError, match="InfiniteTalk audio adapter"):
        find_adapter(AUTO)
    with pytest.raises(InputError, match="MagicInfinite audio adapter"):
        find_pair(BASE, AUTO)


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("base", "adapter", "message"),
    [
        (BASE, INFINITE, "is HunyuanVideo.*InfiniteTalk adapter"),
        (WAN, HYBRID, "is Wan.*MagicInfinite adapter"),
        (SMALL, HYBRID, "choose the base"),
        (BASE, WAN, "missing audio_proj"),
        (HYBRID, AUTO, "There is no file"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(base, adapter, message):
    with pytest.raises((InputError, FileNotFoundError), match=message):
        find_pair(base, adapter)


def test_a_loaded_model_refuses_the_adapter_of_the_other_system(folders):
    hunyuan, wan = ht.host_model(ht.CONCAT), hm.host_model()
    hybrid, infinite = (folders["model_patches"] / name for name in (HYBRID, INFINITE))
    check_model(hunyuan, hybrid)
    check_model(wan, infinite)
    with pytest.raises(InputError, match="InfiniteTalk adapter"):
        check_model(hunyuan, infinite)
    with pytest.raises(InputError, match="MagicInfinite adapter"):
        check_model(wan, hybrid)


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("name", [BASE, MERGED])
def test_a_pair_from_files_talks_like_the_networks_it_was_made_of(name):
    base, adapter = find_pair(name, AUTO)
    model = load_base(base)
    assert talking_family(model) is HUNYUAN_CONCAT
    loaded = attach_adapter(model, load_adapter(str(adapter)))
    twins = ht.Twins(ht.CONCAT, guidance=TalkGuidance())
    own, sigmas = twins.host_talking(), flow_sigmas(2, 7.0)
    with torch.inference_mode():
        expected = twins.run(twins.host(own), own, ht.WINDOWS[1], sigmas)
        got = twins.run(twins.host(loaded), loaded, ht.WINDOWS[1], sigmas)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("latents", [None, 5])
def test_the_window_is_what_the_adapter_was_trained_on(folders, latents):
    """Before anything is loaded, by whichever node, and after."""
    said = describe_adapter(tiny.HYBRID_ADAPTER, **({} if latents is None else {"window": latents}))
    save_file(hm.copied(tiny.hybrid_adapter()), folders["model_patches"] / HYBRID, said)
    expected = 129 if latents is None else 17
    loaded = planned("EndlessTalkLoadModel", base_model=BASE)
    applied = planned("UNETLoader", unet_name=BASE)
    applied["apply"] = node("EndlessTalkApplyAdapter", model=["model", 0], adapter=AUTO)
    applied["sampler"] = node("EndlessTalkSlidingSampler", model=["apply", 0])
    named = planned("EndlessTalkLoadModel", base_model=BASE, adapter=HYBRID)
    for prompt in (loaded, applied, named):
        hidden = SimpleNamespace(prompt=prompt, unique_id="sampler")
        assert family_ahead(hidden) == replace(HUNYUAN_CONCAT, window_frames=expected)
    model = attach_adapter(
        ht.host_model(ht.CONCAT), load_adapter(str(folders["model_patches"] / HYBRID))
    )
    assert family_of({"model": model}, None).window_frames == expected
    wan = planned("EndlessTalkLoadModel", base_model=WAN)
    assert family_ahead(SimpleNamespace(prompt=wan, unique_id="sampler")) is WAN_FAMILY


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def planned(loader, **inputs):
    """A graph whose model comes from a loader."""
    sampler = node("EndlessTalkSlidingSampler", model=["model", 0])
    return {"model": node(loader, **inputs), "sampler": sampler}
