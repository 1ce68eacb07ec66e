"""The plain training loop, which trains one model at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tasearch.chains.recipe import Recipe
from tasearch.models.numerics import cpu_threads
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.batches import EpochPlan, TrainingJob
from tasearch.train.loop import EpochResult, rung_epochs, train, train_in_turn
from tasearch.train.losses import LOSSES
from tasearch.train.state import State, pack
from tests.helpers.studies import tiny

SAMPLES, FEATURES, CLASSES = 200, 8, 4

ALONE = """
import sys
sys.modules["tasearch.train.fast"] = None  # whatever imports it fails
from tests.train.test_loop import model, problem
from tasearch.train.loop import train
results = [*train(*problem(seed=0))]
assert results[-1].accuracy > 0.9, results
assert not any(name.startswith("tasearch.train.fast.") for name in sys.modules)
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with cpu_threads(1):
        yield


def recipe(**changes: Any) -> Recipe:
    own = tiny(student={"epochs": 12}).recipes("student").one_per_loss()[0]
    return replace(own, **{"loss": "ce", **changes})


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def problem(seed: int, **changes: Any) -> tuple[State, TrainingJob]:
    """A model, and four clusters that it learns to tell apart."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    centers = 2 * torch.randn(CLASSES, FEATURES, generator=generator)
    x = centers[y] + torch.randn(SAMPLES, FEATURES, generator=generator)
    own = recipe(**changes)
    views = AugmentedData(
        x, torch.zeros(FEATURES), torch.ones(FEATURES), AUGMENTATIONS["none"], seed=0
    )
    targets = None
    if own.distilled:
        logits = torch.stack([5.0 * nn.functional.one_hot(y, CLASSES), x @ centers.T]).half()
        targets = logits if own.guidance == "dense" else logits[:1]
    job = TrainingJob(
        views=views,
        y=y,
        targets=None if targets is None else lambda phase: targets,
        validation=(x[:50], y[:50]),
        loss=LOSSES[own.loss],
        rungs=3,
        bf16=False,
        width=16,
        seed_parts=(0, seed),
    )
    return State(model(seed), own), job


def test_plain_loop_trains_without_the_fast_room() -> None:
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", ALONE], cwd=root, check=True)


@given(st.integers(1, 200), st.integers(1, 20))
def test_rungs_are_distinct_epochs_up_to_the_last(epochs: int, rungs: int) -> None:
    found = rung_epochs(epochs, rungs)
    assert found == sorted(set(found))
    assert found[-1] == epochs
    assert found[0] >= 1
    assert len(found) == min(epochs, rungs)


@pytest.mark.parametrize(
    "changes", [{}, {"loss": "kd"}, {"loss": "dist", "guidance": "dense"}], ids=str
)
def test_loop_evaluates_the_model_at_its_rungs(changes: dict[str, Any]) -> None:
    state, job = problem(0, **changes)
    results = [*train(state, job)]
    assert [bool(result.accuracy) for result in results] == [i % 4 == 3 for i in range(12)]
    assert state.rungs == [4, 8, 12]
    assert state.curve == [result.accuracy for result in results if result.accuracy is not None]
    assert state.curve[-1] > 0.9
    assert not any(result.fault for result in results)


def test_models_in_turn_end_as_each_alone() -> None:
    """Also where one of them is ahead, which waits for the other."""
    alone = [problem(seed) for seed in (0, 1)]
    for state, job in alone:
        expected = [*train(state, job)]
    (first, job), second = problem(0), problem(1)
    for _ in zip(range(5), train(first, job), strict=False):
        pass
    assert first.epoch == 5
    results = [*train_in_turn([first, second[0]], [job, second[1]])]
    assert [result.loss is None for result, _ in results] == [i < 5 for i in range(12)]
    assert results[3][0] == EpochResult(loss=None, accuracy=first.curve[0], fault="")
    assert [own for _, own in results] == expected
    for state, (same, _) in zip((first, second[0]), alone, strict=True):
        assert all(torch.equal(t, pack(same)[name]) for name, t in pack(state).items())


def test_epoch_shows_each_sample_once_and_leaves_rest_for_another() -> None:
    state, job = problem(0, batch_size=64)
    size = state.recipe.batch_size
    plans = [EpochPlan(state.recipe, job, epoch) for epoch in (0, 1)]
    shown = [torch.cat([batch.x for batch in plan.batches()]) for plan in plans]
    for plan, x in zip(plans, shown, strict=True):
        assert plan.steps == SAMPLES // size
        assert len(x) == plan.steps * size
        assert len(x.unique(dim=0)) == len(x)
    assert not torch.equal(*shown)
