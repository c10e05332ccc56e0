"""What a user can get wrong: one sentence, exit code 2, and no file."""

import pickle
import struct
from dataclasses import replace

import files
import pytest
import torch

from endless_talk.cli import main
from endless_talk.models import networks, recipes
from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.wan import WanModel


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    files.picture(folder / "portrait.png")
    files.voice(folder / "voice.wav", 0.2)
    files.weights_folder(folder / "weights")
    return folder


def refuse(capsys, tmp_path, good, **given):
    """Run with some inputs replaced; return the message after checking how it was refused."""
    out = given.pop("out", tmp_path / "clip.mp4")
    inputs = {"image": good / "portrait.png", "audio": good / "voice.wav"}
    if not any(name in given for name in ("weights", "random_weights")):
        given["weights"] = good / "weights"
    options = {**inputs, **given}
    arguments = ["talk", "--out", str(out), "--steps", "1"]
    if "size" not in options:
        options["size"] = "64x64"
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        arguments += [flag] if value is True else [] if value is None else [flag, str(value)]
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("endless-talk: ")
    assert message.count("\n") == 0, message
    assert "Traceback" not in message
    assert sorted(tmp_path.rglob("*")) == before, "a file was left behind"
    return message


def written(path, data: bytes):
    path.write_bytes(data)
    return path


PICTURES = {
    "missing": (lambda p: p / "no.png", "no.png"),
    "folder": (lambda p: p, "folder"),
    "0 bytes": (lambda p: written(p / "a.png", b""), "0 bytes"),
    "text": (lambda p: written(p / "a.png", b"hello, I am text"), "picture"),
    "1 pixel": (lambda p: files.picture(p / "a.png", (1, 1)), "1x1"),
    "video": (lambda p: files.silent_video(p / "a.mp4"), "video"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_that_cannot_be_used(kind, capsys, tmp_path, good):
    make, says = PICTURES[kind]
    assert says in refuse(capsys, tmp_path, good, image=make(tmp_path))


VOICES = {
    "missing": (lambda p: p / "no.wav", "no.wav"),
    "folder": (lambda p: p, "folder"),
    "0 bytes": (lambda p: written(p / "a.wav", b""), "0 bytes"),
    "text": (lambda p: written(p / "a.wav", b"hello, I am text"), "a.wav"),
    "no samples": (lambda p: files.empty_voice(p / "a.wav"), "0 samples"),
    "NaN": (lambda p: files.voice(p / "a.wav", 0.5, value=float("nan")), "NaN"),
    "video without sound": (lambda p: files.silent_video(p / "a.mp4"), "sound"),
}


@pytest.mark.parametrize("kind", VOICES)
def test_voices_that_cannot_be_used(kind, capsys, tmp_path, good):
    make, says = VOICES[kind]
    assert says in refuse(capsys, tmp_path, good, audio=make(tmp_path))


def base_of(tmp_path, **changes):
    model = WanModel(replace(networks.RANDOM_WAN, **changes))
    return files.save(model.state_dict(), tmp_path / "other.safetensors", files.BASE_METADATA)


def text_to_video(tmp_path):
    model = WanModel(
        replace(networks.RANDOM_WAN, in_channels=16, image_branch=False, image_dim=None)
    )
    metadata = {"config": '{"transformer": {"num_heads": 2}}'}
    return files.save(model.state_dict(), tmp_path / "t2v.safetensors", metadata)


def wide_adapter(tmp_path):
    config = replace(networks.RANDOM_ADAPTER, dim=192)
    return files.save(AudioAdapter(config).state_dict(), tmp_path / "wide.safetensors")


def hungry_adapter(tmp_path):
    config = replace(networks.RANDOM_ADAPTER, feature_size=12 * 768)
    return files.save(AudioAdapter(config).state_dict(), tmp_path / "hungry.safetensors")


def large_wav2vec(tmp_path):
    shapes = {
        "wav2vec2.feature_extractor.conv_layers.0.conv.weight": (8, 1, 10),
        "wav2vec2.feature_extractor.conv_layers.1.conv.weight": (8, 8, 3),
        "wav2vec2.feature_extractor.conv_layers.1.layer_norm.weight": (8,),
        "wav2vec2.feature_extractor.conv_layers.0.layer_norm.weight": (8,),
        "wav2vec2.encoder.layers.0.attention.k_proj.weight": (1024, 1024),
        "wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.weight": (8, 1024),
        "wav2vec2.encoder.layer_norm.weight": (1024,),
        "wav2vec2.encoder.pos_conv_embed.conv.weight_v": (1024, 64, 128),
    }
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    return files.save(state, tmp_path / "large.safetensors")


def truncated(tmp_path, good):
    whole = (good / "weights" / "vae.safetensors").read_bytes()
    return written(tmp_path / "short.safetensors", whole[: len(whole) // 2])


def missing_key(tmp_path, good):
    from safetensors.torch import load_file

    state = load_file(good / "weights" / "adapter.safetensors")
    del state["blocks.1.norm_x.weight"]
    return files.save(state, tmp_path / "incomplete.safetensors")


WEIGHTS = {
    "base as adapter": ("adapter", lambda p, g: g / "weights" / "base.safetensors", "base model"),
    "adapter as base": ("base", lambda p, g: g / "weights" / "adapter.safetensors", "adapter"),
    "vae as base": ("base", lambda p, g: g / "weights" / "vae.safetensors", "VAE"),
    "text-to-video base": ("base", lambda p, g: text_to_video(p), "text-to-video"),
    "adapter of another width": ("adapter", lambda p, g: wide_adapter(p), "192"),
    "adapter for other features": ("adapter", lambda p, g: hungry_adapter(p), "9216"),
    "base of other depth": ("base", lambda p, g: base_of(p, layers=3), "3 blocks"),
    "1024-wide wav2vec2": ("wav2vec", lambda p, g: large_wav2vec(p), "1024"),
    "truncated": ("vae", truncated, "short.safetensors"),
    "pickle": (
        "vae",
        lambda p, g: written(p / "a.safetensors", pickle.dumps({"a": 1})),
        "safetensors",
    ),
    "gguf": (
        "base",
        lambda p, g: written(p / "a.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)),
        "GGUF",
    ),
    "missing key": ("adapter", missing_key, "blocks.1.norm_x.weight"),
    "missing file": ("vae", lambda p, g: p / "no.safetensors", "no.safetensors"),
    "0 bytes": ("vae", lambda p, g: written(p / "a.safetensors", b""), "a.safetensors"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_cannot_be_used(kind, capsys, tmp_path, good):
    role, make, says = WEIGHTS[kind]
    assert says in refuse(capsys, tmp_path, good, **{role: make(tmp_path, good)})


ARGUMENTS = {
    "weights twice": ({"random_weights": True, "base": "x.safetensors"}, "exclude"),
    "no such folder": ({"weights": "nowhere"}, "nowhere"),
    "not an mp4": ({"out": "clip.avi"}, "clip.mp4"),
    "no folder for out": ({"out": "nowhere/clip.mp4"}, "nowhere"),
    "size name": ({"size": "8k"}, "480p"),
    "size not a multiple": ({"size": "100x64"}, "96 or 112"),
    "no steps": ({"steps": 0}, "at least 1"),
    "negative shift": ({"shift": -3}, "above 0"),
    "negative stop": ({"stop_at": -1}, "stop-at"),
    "colour strength": ({"color_strength": 2}, "0 (off) to 1"),
    "unknown device": ({"device": "toaster"}, "cpu or cuda"),
    "seed out of range": ({"seed": 10**23}, "--seed"),
    "audio scale nan": ({"audio_scale": "nan"}, "audio scale"),
    "shift without end": ({"shift": "inf"}, "above 0"),
    "a name too long": ({"out": "x" * 300 + ".mp4"}, "too long"),
    "stop at nan": ({"stop_at": "nan"}, "stop-at"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments_that_make_no_sense(kind, capsys, tmp_path, good):
    given, says = ARGUMENTS[kind]
    assert says in refuse(capsys, tmp_path, good, **given)


def test_a_copy_without_the_built_in_demo_says_so(capsys, tmp_path, good, monkeypatch):
    monkeypatch.setattr(recipes, "BUILT_IN_FOLDER", tmp_path / "assets" / "demo")
    message = refuse(capsys, tmp_path, good, weights=None)
    assert "assets/demo" in message and "no built-in demo" in message


def test_a_file_of_another_set_is_refused(capsys, tmp_path, good, monkeypatch):
    folder = files.weights_folder(tmp_path / "demo", set_name=recipes.BUILT_IN)
    monkeypatch.setattr(recipes, "BUILT_IN_FOLDER", folder)
    vae = good / "weights" / "vae.safetensors"
    assert "built-in demo for the VAE" in refuse(capsys, tmp_path, good, weights=None, vae=vae)


def test_an_empty_weights_folder_says_what_is_missing(capsys, tmp_path, good):
    (tmp_path / "empty").mkdir()
    assert "--base" in refuse(capsys, tmp_path, good, weights=tmp_path / "empty")


def test_two_equally_good_files_are_not_guessed_between(capsys, tmp_path, good):
    folder = files.weights_folder(tmp_path / "weights")
    (folder / "second.safetensors").write_bytes((folder / "vae.safetensors").read_bytes())
    message = refuse(capsys, tmp_path, good, weights=folder)
    assert "second.safetensors" in message and "--vae" in message
