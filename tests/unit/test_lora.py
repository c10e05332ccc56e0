import pytest
import torch
from safetensors.torch import save_file

from endless_talk.errors import InputError
from endless_talk.models.lora import apply_loras, read_lora
from endless_talk.models.weights import open_weights

RANK = 2
Q = "blocks.0.self_attn.q"
K_IMG = "blocks.11.cross_attn.k_img"
DOWN, UP = torch.randn(RANK, 6), torch.randn(8, RANK)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return {
        f"{Q}.weight": torch.randn(8, 6),
        f"{Q}.bias": torch.randn(8),
        f"{K_IMG}.weight": torch.randn(8, 6),
        "blocks.0.modulation": torch.randn(1, 6, 8),
        "patch_embedding.weight": torch.randn(8, 4, 1, 2, 2),
        "time_projection.1.weight": torch.randn(8, 8),
    }


@pytest.fixture
def lora(tmp_path):
    def write(tensors, name="style.safetensors"):
        save_file({key: t.clone() for key, t in tensors.items()}, tmp_path / name)
        return read_lora(open_weights(tmp_path / name))

    return write


def pair(module, down="lora_down", up="lora_up"):
    return {f"{module}.{down}.weight": DOWN, f"{module}.{up}.weight": UP}


def changed(before, after):
    assert set(before) == set(after)
    return {key for key in before if not torch.equal(before[key], after[key])}


STYLES = [("lora_down", "lora_up"), ("lora_A", "lora_B"), ("lora_A.default", "lora_B.default")]
PREFIXES = ["", "diffusion_model.", "model.diffusion_model.", "transformer.", "base_model.model."]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("module", [Q, K_IMG])
def test_both_namings_and_every_prefix_reach_the_same_weight(model, lora, style, prefix, module):
    merged = apply_loras(model, [(lora(pair(prefix + module, *style)), 0.5)])
    assert changed(model, merged) == {f"{module}.weight"}
    expected = model[f"{module}.weight"] + 0.5 * UP @ DOWN
    torch.testing.assert_close(merged[f"{module}.weight"], expected)


@pytest.mark.parametrize("prefix", ["lora_unet_", "lora_unet__"])
@pytest.mark.parametrize("module", [Q, K_IMG, "time_projection.1"])
def test_names_with_underscores_are_mapped_by_the_models_own_keys(model, lora, prefix, module):
    flat = prefix + module.replace(".", "_")
    down = torch.randn(RANK, model[f"{module}.weight"].shape[1])
    style = lora({f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": UP})
    assert changed(model, apply_loras(model, [(style, 1.0)])) == {f"{module}.weight"}


def test_alpha_over_rank_scales_and_its_absence_is_one(model, lora):
    with_alpha = lora({**pair(Q), f"{Q}.alpha": torch.tensor(8.0)})
    plain = lora(pair(Q), "plain.safetensors")
    scaled = apply_loras(model, [(with_alpha, 1.0)])[f"{Q}.weight"]
    same = apply_loras(model, [(plain, 8.0 / RANK)])[f"{Q}.weight"]
    torch.testing.assert_close(scaled, same)


def test_strength_zero_changes_nothing_and_opposite_strengths_cancel(model, lora):
    style = lora(pair(Q))
    assert changed(model, apply_loras(model, [(style, 0.0)])) == set()
    there_and_back = apply_loras(apply_loras(model, [(style, 1.0)]), [(style, -1.0)])
    torch.testing.assert_close(there_and_back, model)


def test_several_loras_add_up_each_with_its_strength_in_any_order(model, lora):
    first = lora(pair(Q), "first.safetensors")
    second = lora({f"{Q}.diff": torch.randn(8, 6), **pair(K_IMG)}, "second.safetensors")
    both = apply_loras(model, [(first, 0.7), (second, -0.3)])
    torch.testing.assert_close(both, apply_loras(model, [(second, -0.3), (first, 0.7)]))
    expected = model[f"{Q}.weight"] + 0.7 * UP @ DOWN - 0.3 * second.layers[Q]["diff"]
    torch.testing.assert_close(both[f"{Q}.weight"], expected)
    torch.testing.assert_close(both[f"{K_IMG}.weight"], model[f"{K_IMG}.weight"] - 0.3 * UP @ DOWN)


def test_differences_are_added_to_weights_biases_and_bare_parameters(model, lora):
    style = lora(
        {
            f"diffusion_model.{Q}.diff": torch.ones(8, 6),
            f"diffusion_model.{Q}.diff_b": torch.full((8,), 2.0),
            "diffusion_model.blocks.0.modulation.diff": torch.full((1, 6, 8), 3.0),
        }
    )
    merged = apply_loras(model, [(style, 2.0)])
    for key, added in ((f"{Q}.weight", 2), (f"{Q}.bias", 4), ("blocks.0.modulation", 6)):
        torch.testing.assert_close(merged[key], model[key] + added)


def test_convolutions_are_flattened_and_shaped_back(model, lora):
    down, up = torch.randn(RANK, 4, 1, 2, 2), torch.randn(8, RANK, 1, 1, 1)
    name = "patch_embedding"
    style = lora({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up})
    expected = torch.einsum("or,rcthw->octhw", up.flatten(1), down)
    merged = apply_loras(model, [(style, 1.0)])
    torch.testing.assert_close(merged[f"{name}.weight"], model[f"{name}.weight"] + expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_sums_are_float32_and_rounded_once_to_the_weights_type(model, lora, dtype):
    model = {key: tensor.to(dtype) for key, tensor in model.items()}
    style = lora({key: tensor.bfloat16() for key, tensor in pair(Q).items()})
    merged = apply_loras(model, [(style, 1.0), (style, 1.0)])[f"{Q}.weight"]
    delta = UP.bfloat16().float() @ DOWN.bfloat16().float()
    exact = model[f"{Q}.weight"].float() + delta + delta
    assert merged.dtype == dtype
    assert torch.equal(merged.float(), exact.to(dtype).float())


def test_the_given_weights_are_not_written_to_and_untouched_ones_are_shared(model, lora):
    before = {key: tensor.clone() for key, tensor in model.items()}
    merged = apply_loras(model, [(lora(pair(Q)), 1.0)])
    assert changed(before, model) == set()
    assert merged["blocks.0.modulation"] is model["blocks.0.modulation"]


def test_unmatched_layers_are_named(model, lora):
    others = {k: t for i in range(7) for k, t in pair(f"blocks.{90 + i}.ffn.0").items()}
    style = lora({**pair(Q), **others})
    with pytest.raises(InputError) as caught:
        apply_loras(model, [(style, 1.0)])
    message = str(caught.value)
    assert message.startswith("7 of 8 layers of style.safetensors do not fit this model")
    assert message.count("ffn.0") == 5


def test_a_lora_of_another_model_is_refused_as_a_whole(model, lora):
    style = lora(pair("lora_unet_double_blocks_0_img_attn"))
    with pytest.raises(InputError, match=r"No key of style.safetensors fits this model"):
        apply_loras(model, [(style, 1.0)])


def test_a_lora_of_another_width_is_refused_with_both_shapes(model, lora):
    style = lora({f"{Q}.lora_down.weight": torch.zeros(RANK, 5), f"{Q}.lora_up.weight": UP})
    message = r"\[8, 2\] and \[2, 5\], which does not fit .*q.weight with \[8, 6\]"
    with pytest.raises(InputError, match=message):
        apply_loras(model, [(style, 1.0)])
    with pytest.raises(InputError, match=r"the shape \[8, 5\]"):
        apply_loras(model, [(lora({f"{Q}.diff": torch.zeros(8, 5)}), 1.0)])


@pytest.mark.parametrize(
    "extra", [f"{Q}.dora_scale", f"{K_IMG}.lokr_w1", f"{K_IMG}.hada_w1_a", f"{Q}.weight"]
)
def test_tensors_of_other_methods_are_refused(lora, extra):
    with pytest.raises(InputError, match="1 of 3 tensors are not of a plain LoRA"):
        lora({**pair(Q), extra: torch.zeros(8)})


@pytest.mark.parametrize("lost", ["lora_down", "lora_up"])
def test_a_factor_without_its_partner_is_refused(lora, lost):
    tensors = {key: tensor for key, tensor in pair(Q).items() if lost not in key}
    with pytest.raises(InputError, match="lacks a factor in 1 of 2 layers"):
        lora({**tensors, **pair(K_IMG)})


def test_a_base_model_is_not_a_lora(tmp_path):
    path = tmp_path / "base.safetensors"
    save_file({"patch_embedding.weight": torch.zeros(1), "head.modulation": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"base.safetensors is missing .*a Wan base model"):
        read_lora(open_weights(path))
