"""Golden cases: reading them, and the registry of checkers by `kind`."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

DEFAULT_DIR = Path(__file__).resolve().parents[1] / "golden"
GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR", DEFAULT_DIR))


@dataclass(frozen=True)
class Case:
    """One golden case: its JSON and its tensors."""

    name: str
    folder: Path
    spec: dict
    tensors: dict[str, torch.Tensor]

    @property
    def kind(self) -> str:
        return self.spec["kind"]

    def weights(self, names: list[str] | None = None) -> dict[str, torch.Tensor]:
        """Weight files of the case in one state dict; entries that are remarks are skipped."""
        merged: dict[str, torch.Tensor] = {}
        for name in self.spec["weights"] if names is None else names:
            if name.endswith(".safetensors"):
                merged.update(load_file(self.folder / name))
        return merged

    def shared(self, file: str) -> torch.Tensor:
        """`(left @ right)[None]` of a shared input stored as two factors."""
        factors = load_file(self.folder / file)
        return (factors["left"] @ factors["right"])[None]


def load_case(path: Path) -> Case:
    spec = json.loads(path.read_text())
    data = path.with_suffix(".safetensors")
    return Case(path.stem, path.parent, spec, load_file(data) if data.exists() else {})


def case_paths() -> list[Path]:
    paths = sorted(GOLDEN_DIR.glob("*.json"))
    return [path for path in paths if json.loads(path.read_text())["kind"] != "shared input"]


CHECKERS: dict[str, Callable[[Case], None]] = {}


def checks(kind: str):
    """Register the checker of a kind."""

    def register(checker: Callable[[Case], None]) -> Callable[[Case], None]:
        CHECKERS[kind] = checker
        return checker

    return register


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: dict, what: str) -> None:
    """max |a - b| <= atol + rtol * |b|, or equality where the case says exact."""
    assert actual.shape == expected.shape, f"{what}: {[*actual.shape]} is not {[*expected.shape]}"
    if tolerance.get("exact"):
        assert torch.equal(actual.to(expected.dtype), expected), f"{what} is not exactly equal"
        return
    actual, expected = actual.double(), expected.double()
    difference = (actual - expected).abs()
    excess = difference - tolerance["atol"] - tolerance.get("rtol", 0.0) * expected.abs()
    worst = difference.max().item() if actual.numel() else 0.0
    assert torch.isfinite(actual).all(), f"{what} is not finite"
    assert (excess <= 0).all(), f"{what}: max difference {worst:.3g} exceeds {tolerance}"
