"""Expected hypervolume improvement, against hypervolumes and against sampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.expected_improvement import expected_improvement
from tasearch.pareto.hypervolume import HypervolumeGrid, hypervolume
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import metric_of
from tasearch.pareto.reference_box import ReferenceBox

SIZES = {  # parameters and latencies in different orders
    width: Measurement(
        width=width, params=params, bytes=4, flops=params, latency_ms=ms, latency_p95_ms=ms
    )
    for width, params, ms in ((16, 160, 2.0), (8, 80, 3.0), (4, 40, 1.0), (2, 20, 1.0))
}
BOX = ReferenceBox.from_measurements(SIZES.values(), metric=metric_of("accuracy", 10))


def student(width: int, accuracy: float) -> Candidate:
    size = SIZES[width]
    return Candidate(
        trial=0,
        chain=(32, width),
        recipe={},
        accuracy=accuracy,
        params=size.params,
        bytes=size.bytes,
        latency_ms=size.latency_ms,
    )


found = st.lists(st.tuples(st.sampled_from([*SIZES]), st.floats(0, 1)), max_size=8)


def grid_of(students: list[tuple[int, float]]) -> HypervolumeGrid:
    grid = HypervolumeGrid(SIZES, BOX)
    for width, accuracy in students:
        grid.add(width, accuracy)
    return grid


@given(found)
def test_grid_has_the_hypervolume(students: list[tuple[int, float]]) -> None:
    whole = hypervolume([student(*s) for s in students], BOX)
    assert grid_of(students).volume == pytest.approx(whole, abs=1e-12)


@given(found, st.sampled_from([*SIZES]), st.floats(0, 1))
def test_certain_gain_is_the_rise_of_the_hypervolume(
    students: list[tuple[int, float]], width: int, accuracy: float
) -> None:
    grid = grid_of(students)
    (gain,) = expected_improvement(grid, np.array([width]), np.array([accuracy]), np.array([1e-9]))
    rise = grid_of([*students, (width, accuracy)]).volume - grid.volume
    assert gain == pytest.approx(rise, abs=1e-8)


def test_uncertain_gain_is_the_mean_over_samples() -> None:
    students = [(16, 0.9), (4, 0.7), (2, 0.65)]
    grid, rng = grid_of(students), np.random.default_rng(0)
    for width, mean in ((16, 0.88), (8, 0.8), (4, 0.72), (2, 0.5)):
        (gain,) = expected_improvement(grid, np.array([width]), np.array([mean]), np.array([0.05]))
        sampled = np.clip(rng.normal(mean, 0.05, 4000), BOX.accuracy, None)
        rises = [grid_of([*students, (width, a)]).volume - grid.volume for a in sampled]
        assert gain == pytest.approx(np.mean(rises), abs=5 * np.std(rises) / 4000**0.5)
