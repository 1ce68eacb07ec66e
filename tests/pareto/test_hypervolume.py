from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import HypervolumeGrid, hypervolume
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import metric_of
from tasearch.pareto.reference_box import ReferenceBox
from tests.helpers.candidates import candidate, candidate_lists
from tests.helpers.measurements import measurement

REFERENCE = ReferenceBox(accuracy=0.0, params=(1, 2**10), latency_ms=(1, 2**10))


@given(candidate_lists)
def test_hypervolume_is_the_union_of_boxes(found: list[Candidate]) -> None:
    """On logarithmic axes every value is a whole number of cells, so that cells can be counted."""
    powers = [replace(c, params=2**c.params, latency_ms=2**c.latency_ms) for c in found]
    cells = 0
    for accuracy in range(10):
        for params in range(10):
            for latency in range(10):
                cells += any(
                    c.accuracy * 10 > accuracy and c.params <= params and c.latency_ms <= latency
                    for c in found
                )
    assert hypervolume(powers, REFERENCE) == pytest.approx(cells / 1000)


def test_hypervolume_of_one_candidate_has_a_closed_form() -> None:
    found = [candidate(0.9, 2**4, 2**2.5)]
    assert hypervolume(found, REFERENCE) == pytest.approx(0.9 * 0.6 * 0.75)
    guessing = replace(REFERENCE, accuracy=0.1)
    assert hypervolume(found, guessing) == pytest.approx(0.8 / 0.9 * 0.6 * 0.75)
    assert hypervolume([], REFERENCE) == 0
    assert hypervolume([candidate(0.9, 2**11, 2.5)], REFERENCE) == 0
    assert hypervolume([candidate(0.05, 2, 2.5)], guessing) == 0


def test_reference_reaches_beyond_everything_measured() -> None:
    sizes = [
        Measurement(
            width=w, params=10 * w, bytes=1, flops=1, latency_ms=1.0 / w, latency_p95_ms=1.0
        )
        for w in (1, 2)
    ]
    assert ReferenceBox.from_measurements(sizes, metric=metric_of("accuracy", 10)) == ReferenceBox(
        accuracy=0.1, params=(10, 22.0), latency_ms=(0.5, 1.1)
    )


def test_front_of_tied_widths_compares_accuracy_and_size() -> None:
    sizes = {width: measurement(width, 0.04) for width in (8, 4, 2)}
    box = ReferenceBox.from_measurements(sizes.values(), metric=metric_of("accuracy", 10))
    found = [candidate(a, 10 * w, 0.04) for w, a in ((8, 0.9), (4, 0.95), (2, 0.5))]
    assert [c.params for c in Front(found).members] == [20, 40]
    assert Front(found).best(Budget(max_latency_ms=0.04)).accuracy == 0.95
    assert 0 < hypervolume(found, box) < 1
    assert box.corner(sizes[2]) == (0.0, 0.0)
    grid = HypervolumeGrid(sizes, box)
    for width, accuracy in ((8, 0.9), (4, 0.95), (2, 0.5)):
        grid.add(width, accuracy)
    assert grid.volume == pytest.approx(hypervolume(found, box))
