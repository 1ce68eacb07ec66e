"""The plain training loop, which trains one model at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasearch.chains.rungs import rung_epochs
from tasearch.models.numerics import cpu_threads
from tasearch.train.loop import EpochResult, train, train_in_turn
from tasearch.train.state import pack
from tests.helpers.clusters import problem

ALONE = """
import sys
sys.modules["tasearch.train.fast"] = None  # whatever imports it fails
from tests.helpers.clusters import problem
from tasearch.train.loop import train
results = [*train(*problem(seed=0))]
assert results[-1].accuracy > 0.9, results
assert not any(name.startswith("tasearch.train.fast.") for name in sys.modules)
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with cpu_threads(1):
        yield


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
