"""The training loop: what it promises about seeds, resuming and steps."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from endless_talk.training.loop import Recipe, Run, train
from endless_talk.training.muon import orthogonalize

RECIPE = Recipe("toy", steps=450, rate=1e-2, warmup=10, muon=1e-2)


def toy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 1))


def toy_loss(module, stop_at=None):
    def step_loss(step, rng):
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.from_numpy(rng.standard_normal((32, 12), dtype=np.float32))
        loss = (module(x)[:, 0] - x[:, :3].sum(1).sin()).square().mean()
        return loss, {"figure": 1.0}

    return step_loss


def run_in(folder):
    folder.mkdir(exist_ok=True)
    return Run(folder, seed=3, rank=0, workers=1)


def test_training_lowers_the_loss_and_logs_it(tmp_path):
    run, module = run_in(tmp_path), toy()
    train(run, RECIPE, module, toy_loss(module))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == RECIPE.steps
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["figure"] == 1.0
    assert not list(tmp_path.glob("*.pt"))


def test_a_stopped_run_continues_as_if_it_had_not_been(tmp_path):
    whole = toy()
    train(run_in(tmp_path / "whole"), RECIPE, whole, toy_loss(whole))
    run, first = run_in(tmp_path / "stopped"), toy()
    with pytest.raises(KeyboardInterrupt):
        train(run, RECIPE, first, toy_loss(first, stop_at=300))
    second = toy()
    train(run, RECIPE, second, toy_loss(second))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_processes_draw_different_numbers_and_steps_too(tmp_path):
    draws = {
        Run(tmp_path, 3, rank, 2).generator(stage, step).random()
        for rank in (0, 1)
        for stage in ("a", "b")
        for step in (0, 1)
    }
    assert len(draws) == 8


def test_shares_cover_everything_once(tmp_path):
    shares = [Run(tmp_path, 3, rank, 2).share(7) for rank in (0, 1)]
    assert sorted([*shares[0], *shares[1]]) == list(range(7))


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_orthogonal_steps_have_singular_values_about_one(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_the_rate_rises_and_falls():
    rates = [RECIPE.rate_at(step, 450) for step in range(450)]
    assert rates[0] < rates[9] and rates[-1] < 0.03
    assert max(rates) == pytest.approx(1.0, abs=0.01)
