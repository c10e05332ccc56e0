"""A base in GGUF through the ComfyUI-GGUF pack; skipped where the pack or its reader is missing.

The pack is looked for in the tree's ``custom_nodes`` and at the path in ``GGUF_PACK``.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import host_bases
import host_graphs as graphs
import numpy as np
import pytest
from host_server import Server
from host_tree import find_tree

PACK = "ComfyUI-GGUF"
NAME = "tiny_i2v_Q8_0.gguf"
FRAMES = round(host_bases.SECONDS * 25)
LEVELS = 3
"""How far Q8_0 may be from float32, on average, in levels of 255: it is 1.7, another seed 11."""


def find_pack(tree: Path) -> Path | None:
    """The pack's folder, or None when this machine has none.

    Raises:
        FileNotFoundError: GGUF_PACK is set to something else.
    """
    named = os.environ.get("GGUF_PACK")
    if named and not (Path(named) / "nodes.py").is_file():
        raise FileNotFoundError(f"GGUF_PACK is {named}, which is not the {PACK} pack")
    folder = Path(named) if named else tree / "custom_nodes" / PACK
    return folder.resolve() if (folder / "nodes.py").is_file() else None


@pytest.fixture(scope="module")
def gguf_server(tmp_path_factory):
    """A server with the GGUF pack beside ours, and the tiny base in a .gguf file."""
    tree = find_tree()
    if tree is None or find_spec("comfy_kitchen") is None:
        pytest.skip("GGUF bases: there is no ComfyUI to run")
    pack = find_pack(tree)
    if pack is None:
        pytest.skip(f"GGUF bases: no {PACK} in {tree / 'custom_nodes'}; set GGUF_PACK")
    if find_spec("gguf") is None:
        pytest.skip("GGUF bases: the package is missing: .venv-host/bin/pip install gguf")
    from host_files import LORA, lora, write, write_media

    base = tmp_path_factory.mktemp("comfyui_gguf")
    host_bases.write_bases(base / "models")
    host_bases.write_rest(base / "models")
    host_bases.write_gguf(base / "models/diffusion_models" / NAME, host_bases.base_state())
    write(base / "models/loras" / LORA, lora(host_bases.base_state()))
    write_media(base / "input")
    with Server(tree, base, packs={PACK: pack}) as running:
        yield running


def from_gguf(**sampler) -> dict:
    """A short clip with the base from the GGUF pack's loader."""
    loader = graphs.node("UnetLoaderGGUF", unet_name=NAME)
    return host_bases.one_speaker(loader, **sampler)


@pytest.fixture(scope="module")
def clip(gguf_server):
    """Frames of the clip, made once."""
    return host_bases.frames_of(gguf_server, gguf_server.run(from_gguf()))


def test_a_gguf_base_makes_a_clip(clip):
    assert len(clip) == FRAMES
    assert clip.std() > 2, "the clip is one colour"
    assert np.abs(clip[1:] - clip[0]).max() > 2, "the clip is one picture"


def test_a_gguf_base_is_close_to_the_same_weights_in_float32(gguf_server, clip):
    exact = gguf_server.run(host_bases.from_safetensors("fp32", job_name="exact"))
    assert np.abs(clip - host_bases.frames_of(gguf_server, exact)).mean() < LEVELS


def test_a_gguf_base_follows_the_voice(gguf_server, clip):
    other = gguf_server.run(host_bases.with_another_voice(from_gguf(job_name="other")))
    assert np.abs(clip - host_bases.frames_of(gguf_server, other)).max() > 2


def test_a_lora_reaches_a_gguf_base(gguf_server, clip):
    gguf, fp32 = (
        host_bases.frames_of(gguf_server, gguf_server.run(graphs.with_lora(graph)))
        for graph in (
            from_gguf(job_name="lora"),
            host_bases.from_safetensors("fp32", job_name="exact_lora"),
        )
    )
    assert np.abs(gguf - clip).mean() > 2 * LEVELS
    assert np.abs(gguf - fp32).mean() < LEVELS


def test_the_clip_is_the_same_after_the_gguf_base_was_unloaded(gguf_server, clip):
    gguf_server.forget()
    again = host_bases.frames_of(gguf_server, gguf_server.run(from_gguf(job_name="reloaded")))
    assert np.array_equal(again, clip)


def test_an_adapter_of_another_width_is_refused_on_a_gguf_base(gguf_server):
    graph = from_gguf(job_name="narrow")
    narrow = host_bases.NARROW_ADAPTER
    outcome = gguf_server.run(graphs.with_inputs(graph, "model", adapter=narrow))
    assert outcome.status in ("refused", "failed")
    assert "256" in outcome.message and "96" in outcome.message, outcome.message
    assert "\n" not in outcome.message
