import json
import math
import pickle
import re
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from endless_talk.errors import InputError
from endless_talk.models.weights import check_shapes, load_strict, open_weights, strip_prefix

FP8 = torch.float8_e4m3fn


@pytest.fixture
def save(tmp_path):
    def write(tensors, name="weights.safetensors", **metadata):
        save_file(tensors, tmp_path / name, metadata=metadata or None)
        return tmp_path / name

    return write


@pytest.fixture
def raw(tmp_path):
    def write(content, name="weights.safetensors"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.LayerNorm(2)


def tiny_weights():
    return {key: torch.randn_like(tensor) for key, tensor in Tiny().state_dict().items()}


# Headers


def test_a_header_gives_shapes_types_and_metadata(save):
    path = save({"a": torch.zeros(2, 3).half(), "b": torch.zeros(())}, config="{}")
    file = open_weights(path)
    assert file.shapes == {"a": (2, 3), "b": ()}
    assert file.dtypes == {"a": "F16", "b": "F32"}
    assert (file.name, file.metadata, file.parameters) == (
        "weights.safetensors",
        {"config": "{}"},
        7,
    )


def test_the_suffix_does_not_matter(save):
    assert open_weights(save({"a": torch.zeros(1)}, name="adapter.ckpt")).shapes == {"a": (1,)}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "model."])
def test_repack_prefixes_are_stripped_once(save, prefix):
    weights = {"blocks.0.norm3.weight": torch.randn(4), "head.modulation": torch.randn(1, 2, 4)}
    file = open_weights(save({prefix + key: tensor for key, tensor in weights.items()}))
    assert set(file.shapes) == set(weights)
    for key, tensor in file.read().items():
        assert torch.equal(tensor, weights[key])


def test_a_prefix_inside_a_key_stays():
    assert strip_prefix("model.model.a") == "model.a"
    assert strip_prefix("vision_model.a") == "vision_model.a"


def test_two_models_in_one_file_are_refused(save):
    path = save({"model.a": torch.zeros(1), "diffusion_model.a": torch.zeros(1)})
    with pytest.raises(InputError, match="holds a twice"):
        open_weights(path)


# Files that are something else


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))) as caught:
        open_weights(tmp_path / "adapter.safetensors")
    assert "adapter.safetensors" in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is a folder: choose a \.safetensors file"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"abc", "is not a safetensors file"),
        (bytes(range(100, 200)), "is not a safetensors file"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1), "is a GGUF file: use it in ComfyUI"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
        (struct.pack("<Q", 9) + b"{nonsense", "is damaged"),
    ],
)
def test_other_content_is_told_apart_whatever_the_suffix(raw, content, message):
    with pytest.raises(InputError, match=message):
        open_weights(raw(content))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_pickle_is_refused_with_what_to_do(tmp_path, zipped):
    path = tmp_path / "Wan2.1_VAE.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"is a pickle .* download the \.safetensors version"):
        open_weights(path)


def test_a_pickle_is_never_run(raw):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    with pytest.raises(InputError, match="is a pickle"):
        open_weights(raw(pickle.dumps(Bomb()), "pytorch_model.bin"))


def test_a_cut_off_file_says_how_much_is_missing(save, raw):
    whole = save({"a": torch.randn(64)}).read_bytes()
    with pytest.raises(InputError, match=f"expected {len(whole)} bytes, got {len(whole) - 3}"):
        open_weights(raw(whole[:-3]))
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    with pytest.raises(InputError, match=f"expected {header_end} bytes, got {header_end - 20}"):
        open_weights(raw(whole[: header_end - 20]))


def test_a_cut_off_file_with_the_header_length_of_a_pickle_is_still_cut_off(raw):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).ljust(0x280)
    assert struct.pack("<Q", len(header)).startswith(b"\x80\x02")
    with pytest.raises(InputError, match="is cut off: expected 656 bytes, got 652"):
        open_weights(raw(struct.pack("<Q", len(header)) + header.encode() + bytes(4)))


def test_a_file_with_bytes_to_spare_is_damaged(save, raw):
    whole = save({"a": torch.randn(4)}).read_bytes()
    with pytest.raises(InputError, match=f"is damaged .*{len(whole) + 2} bytes"):
        open_weights(raw(whole + b"xx"))


def test_quanto_files_are_refused(save):
    path = save(
        {
            "blocks.0.self_attn.q.weight._data": torch.zeros(4, 4, dtype=torch.int8),
            "blocks.0.self_attn.q.weight._scale": torch.ones(4, 1),
        }
    )
    with pytest.raises(InputError, match="quanto"):
        open_weights(path)


# Tensors


def test_every_float_type_is_cast_and_integers_are_kept(save):
    values = torch.tensor([[0.5, -2.0], [1.0, 0.25]])
    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, FP8, torch.float8_e5m2]
    stored = {str(dtype): values.to(dtype) for dtype in types}
    file = open_weights(save({**stored, "steps": torch.arange(3)}))
    for dtype in (torch.float32, torch.bfloat16):
        read = file.read(dtype=dtype)
        assert read["steps"].dtype == torch.int64
        for name in stored:
            assert read[name].dtype == dtype
            assert torch.equal(read[name].float(), values)
    assert {name: t.dtype for name, t in file.read(stored, dtype=None).items()} == {
        str(dtype): dtype for dtype in types
    }


def test_only_the_keys_asked_for_are_read(save):
    file = open_weights(save({"a": torch.zeros(1), "b": torch.zeros(1), "c": torch.zeros(1)}))
    assert list(file.read(["c", "a"])) == ["c", "a"]
    assert list(file.select(lambda key: key != "b").read()) == ["a", "c"]


def test_plain_fp8_is_cast_and_not_rescaled(save):
    stored = torch.tensor([[300.0, 0.5]]).to(FP8)
    read = open_weights(save({"a.weight": stored})).read()
    assert torch.equal(read["a.weight"], stored.float())


@pytest.mark.parametrize("suffix", [".scale_weight", ".weight_scale"])
@pytest.mark.parametrize("rows", [None, 1, 2])
def test_scaled_fp8_is_multiplied_in_float32(save, rows, suffix):
    stored = torch.randn(4, 8).to(FP8)
    scale = torch.tensor(0.3) if rows is None else torch.rand(*[4, 1][:rows]) + 0.1
    file = open_weights(
        save(
            {
                "diffusion_model.scaled_fp8": torch.zeros(2, dtype=FP8),
                "diffusion_model.q.weight": stored,
                f"diffusion_model.q{suffix}": scale,
                "diffusion_model.q.scale_input": torch.ones(()),
                "diffusion_model.q.bias": torch.ones(4),
            }
        )
    )
    assert set(file.shapes) == {"q.weight", "q.bias"}
    factor = scale.reshape(-1, 1) if rows else scale
    expected = stored.float() * factor
    assert torch.equal(file.read()["q.weight"], expected)
    assert torch.equal(file.read(dtype=torch.bfloat16)["q.weight"], expected.bfloat16())
    assert torch.equal(file.read(dtype=None)["q.weight"], expected)


def test_a_scale_for_other_rows_is_refused(save):
    path = save({"q.weight": torch.zeros(4, 8).to(FP8), "q.scale_weight": torch.ones(8)})
    with pytest.raises(InputError, match="8 values, expected 1 or one for each of the 4 rows"):
        open_weights(path).read()


def test_weights_quantised_to_integers_are_refused_when_read(save):
    file = open_weights(save({"q.weight": torch.zeros(4, 8, dtype=torch.int8)}))
    with pytest.raises(InputError, match=r"stores q\.weight as I8, a quantised format"):
        file.read()


def test_opening_reads_no_tensor(raw):
    # A sparse file of 20 GB: reading it would take minutes and more memory than a laptop has.
    size = 20_000_000_000
    entry = {"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    header = json.dumps(entry).encode()
    path = raw(struct.pack("<Q", len(header)) + header)
    with path.open("r+b") as stream:
        stream.truncate(8 + len(header) + size)
    assert open_weights(path).parameters == size // 4


# Strict loading


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_module_takes_the_weights_whole(device):
    with torch.device(device):
        module = Tiny()
    weights = {key: tensor.bfloat16() for key, tensor in tiny_weights().items()}
    loaded = load_strict(module, weights, "tiny.safetensors")
    assert loaded is module
    assert not module.training
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, weights[key])
        assert tensor.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_fp8_and_file_backed_tensors_can_be_loaded(save):
    weights = {key: tensor.to(FP8) for key, tensor in tiny_weights().items()}
    with torch.device("meta"):
        module = Tiny()
    load_strict(module, open_weights(save(weights)).read(dtype=None), "tiny.safetensors")
    assert torch.equal(module.linear.weight.float(), weights["linear.weight"].float())


def test_every_misfit_is_listed_in_one_message():
    weights = tiny_weights() | {f"extra.{i}": torch.zeros(1) for i in range(7)}
    weights["linear.weight"] = torch.zeros(2, 4)
    del weights["norm.bias"]
    with pytest.raises(InputError) as caught:
        load_strict(Tiny(), weights, "tiny.safetensors")
    message = str(caught.value)
    assert message.startswith("tiny.safetensors does not fit Tiny, which has 4 tensors: ")
    assert "1 missing (norm.bias)" in message
    assert "7 unexpected (extra.0, extra.1, extra.2, extra.3, extra.4, …)" in message
    assert "1 of another shape (linear.weight: expected [2, 3], got [2, 4])" in message


def test_a_refused_module_is_left_as_it_was():
    module = Tiny()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    weights = tiny_weights()
    del weights["norm.bias"]
    with pytest.raises(InputError):
        load_strict(module, weights, "tiny.safetensors")
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


def test_shapes_can_be_checked_before_anything_is_read():
    with torch.device("meta"):
        module = Tiny()
    shapes = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    check_shapes(module, shapes, "tiny.safetensors")
    with pytest.raises(InputError, match=r"1 missing \(linear.bias\)"):
        check_shapes(module, {k: s for k, s in shapes.items() if k != "linear.bias"}, "tiny")


def test_a_buffer_without_values_is_an_error_of_the_program():
    with torch.device("meta"):
        module = Tiny()
        module.register_buffer("table", torch.zeros(3), persistent=False)
    with pytest.raises(RuntimeError, match="Tiny has no values for table"):
        load_strict(module, tiny_weights(), "tiny.safetensors")


def test_the_header_of_a_golden_file_agrees_with_safetensors():
    from golden import DEFAULT_DIR

    path = DEFAULT_DIR / "vae_weights_a.safetensors"
    file = open_weights(path)
    read = file.read(dtype=None)
    with safe_open(path, "pt") as reader:
        assert set(file.shapes) == set(reader.keys())
    assert {key: tuple(t.shape) for key, t in read.items()} == file.shapes
    assert file.parameters == sum(math.prod(shape) for shape in file.shapes.values())
