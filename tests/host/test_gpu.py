"""Clips on a CUDA device against the same clip on the CPU in float32; skipped without a device.

The same tests run on the CPU first, so that only what needs the device has never run without one.
Every clip prints its distance, what is in use of the device's memory at the peak (by whomever), and
the time of a chunk.
"""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import host_bases
import numpy as np
import pytest
import torch
from host_server import Server
from host_tree import find_tree

LEVELS = {"fp32": 4, "bf16": 4, "fp8_e4m3fn": 6, "fp8_e4m3fn_scaled": 6}
"""How far a clip may be from the CPU's in float32, on average, in levels of 255.

On the CPU the four are 0, 1.5, 3.2 and 2.3 away; with the VAE in bf16, as on a GPU, 2.3, 2.3, 3.4
and 2.7; another seed is 11 away.
"""


@dataclass(frozen=True)
class Device:
    """A way to run ComfyUI.

    Attributes:
        options: Arguments of the server.
        says: What its log has to hold, so that the test is about what its name says.
        package: What has to be installed beside ComfyUI.
    """

    options: tuple[str, ...] = ()
    says: str = ""
    package: str = "torch"


CPU = "CPU (rehearsal)"
DEVICES = {
    CPU: Device(("--cpu",)),
    "dynamic VRAM": Device((), "DynamicVRAM support detected and enabled"),
    "no dynamic VRAM": Device(("--disable-dynamic-vram",), "Dynamic vram disabled"),
    "SageAttention": Device(("--use-sage-attention",), "Using sage attention", "sageattention"),
}


def missing(name: str) -> str:
    """Why a way cannot be tested on this machine, empty if it can."""
    if name == CPU:
        return ""
    if not torch.cuda.is_available():
        return "no CUDA device"
    package = DEVICES[name].package
    return "" if find_spec(package) else f"the Python package {package} is not installed"


@pytest.fixture(scope="module")
def cpu(server):
    """The server of the other tests, which now knows this module's files, too."""
    host_bases.write_bases(server.base / "models")
    return server


@pytest.fixture(scope="module")
def exact(cpu):
    """Frames of the clip on the CPU in float32."""
    return host_bases.frames_of(cpu, cpu.run(host_bases.from_safetensors("fp32", job_name="cpu")))


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == CPU else pytest.mark.gpu) for name in DEVICES],
)
def running(request, tmp_path_factory):
    """``(name, server)`` of every way in turn."""
    name = request.param
    if why := missing(name):
        pytest.skip(f"{name} on a GPU: {why}")
    cpu = request.getfixturevalue("cpu")
    if name == CPU:
        yield name, cpu
        return
    with started(DEVICES[name], tmp_path_factory.mktemp("comfyui_gpu")) as server:
        yield name, server


@contextmanager
def started(device: Device, base):
    """A server of its own with this module's files."""
    from host_files import write_media

    host_bases.write_bases(base / "models")
    host_bases.write_rest(base / "models")
    write_media(base / "input")
    with Server(find_tree(), base, device=device.options) as server:
        yield server


@contextmanager
def memory_in_use(server):
    """A list of the bytes in use on the server's device while the block runs."""
    in_use, done = [], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            device = server.request("/system_stats")["devices"][0]
            in_use.append(device["vram_total"] - device["vram_free"])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield in_use
    finally:
        done.set()
        thread.join(30)


def weights(log: str) -> str:
    """What ComfyUI made of a file's float type, if it loaded one; it chooses by device."""
    lines = [line for line in log.splitlines() if "model weight dtype " in line]
    return f", weights {lines[-1].split('model weight dtype ')[1]}" if lines else ""


def test_the_server_runs_as_asked(running):
    name, server = running
    kind = server.request("/system_stats")["devices"][0]["type"]
    assert kind == ("cpu" if name == CPU else "cuda")
    assert DEVICES[name].says in server.log_text()


@pytest.mark.parametrize("base", LEVELS)
def test_a_clip_is_close_to_the_one_of_the_cpu(running, exact, base, capsys):
    name, server = running
    before = len(server.log_text())
    first = server.run(host_bases.from_safetensors(base, job_name=f"gpu_{base}"))
    away = np.abs(host_bases.frames_of(server, first) - exact).mean()
    with memory_in_use(server) as in_use:
        began = time.monotonic()
        again = server.run(host_bases.from_safetensors(base, job_name=f"gpu_{base}", seed=43))
        seconds = (time.monotonic() - began) / host_bases.CHUNKS
    other = np.abs(host_bases.frames_of(server, again) - exact).mean()
    with capsys.disabled():
        print(
            f"\n{name}, {base}: {away:.2f} levels from the CPU in float32 (another seed "
            f"{other:.2f}), at most {max(in_use) / 2**20:.0f} MiB in use, {seconds:.2f} s per chunk"
            f"{weights(server.log_text()[before:])}"
        )
    assert away < LEVELS[base] < other
    assert "Error running sage attention" not in server.log_text()[before:]


def test_the_voice_changes_the_clip(running):
    _, server = running
    graph = host_bases.from_safetensors("bf16", job_name="gpu_voice")
    heard = host_bases.frames_of(server, server.run(graph))
    other = host_bases.frames_of(server, server.run(host_bases.with_another_voice(graph)))
    assert np.abs(heard - other).max() > 2
