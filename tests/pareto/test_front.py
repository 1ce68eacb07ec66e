from __future__ import annotations

import json
import random
from dataclasses import asdict, replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.errors import NothingFits, StudyError
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.grid import HypervolumeGrid
from tasearch.pareto.hypervolume import Reference, hypervolume
from tasearch.pareto.measurement import Measurement, Rounds, latency_words

REFERENCE = Reference(accuracy=0.0, params=(1, 2**10), latency_ms=(1, 2**10))


def candidate(
    accuracy: float, params: int, latency_ms: float, trial: int = 0, depth: int = 0
) -> Candidate:
    return Candidate(
        trial=trial,
        chain=(99, *range(50, 50 - depth, -1), 1),
        recipe={},
        accuracy=accuracy,
        params=params,
        bytes=4 * params,
        latency_ms=latency_ms,
    )


grid = st.lists(
    st.builds(
        candidate,
        st.sampled_from([0.2, 0.4, 0.5, 0.8]),
        st.integers(1, 6),
        st.sampled_from([1.0, 2.0, 3.0, 5.0]),
        depth=st.integers(0, 2),
    ),
    max_size=12,
).map(lambda found: [Candidate(**{**vars(c), "trial": number}) for number, c in enumerate(found)])


def dominates(one: Candidate, other: Candidate) -> bool:
    """No worse in accuracy, size and latency, and better in one of them."""
    mine = (-one.accuracy, one.params, one.latency_ms)
    theirs = (-other.accuracy, other.params, other.latency_ms)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


@given(grid)
def test_members_are_those_that_no_other_beats(found: list[Candidate]) -> None:
    unbeaten = {
        (c.accuracy, c.params, c.latency_ms)
        for c in found
        if not any(dominates(other, c) for other in found)
    }
    members = Front(found).members
    assert {(c.accuracy, c.params, c.latency_ms) for c in members} == unbeaten
    assert len(members) == len(unbeaten)  # one stands for all that are equal


@given(grid, st.randoms(use_true_random=False))
def test_the_front_is_idempotent_and_blind_to_order(
    found: list[Candidate], rng: random.Random
) -> None:
    front = Front(found)
    assert Front(front.members).members == front.members
    shuffled = found[:]
    rng.shuffle(shuffled)
    assert Front(shuffled).members == front.members


@given(grid)
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


@given(grid)
def test_the_front_is_optunas(found: list[Candidate]) -> None:
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    for c in found:
        values = (c.accuracy, c.params, c.latency_ms)
        study.add_trial(optuna.trial.create_trial(values=values))
    best = {tuple(t.values) for t in study.best_trials} if found else set()
    assert {(c.accuracy, c.params, c.latency_ms) for c in Front(found).members} == best


@given(grid, st.integers(1, 6), st.sampled_from([1.0, 2.5, 9.0]))
def test_best_is_the_most_accurate_that_fits(
    found: list[Candidate], params: int, latency: float
) -> None:
    budget = Budget(max_params=params, max_latency_ms=latency)
    fitting = [c for c in found if c.params <= params and c.latency_ms <= latency]
    if fitting:
        best = Front(found).best(max_params=params, max_latency_ms=latency)
        assert budget.admits(best)
        assert best.accuracy == max(c.accuracy for c in fitting)
    else:
        with pytest.raises(NothingFits):
            Front(found).best(max_params=params, max_latency_ms=latency)


def test_equal_candidates_are_led_by_the_shortest_chain_then_the_earliest_trial() -> None:
    same = [
        candidate(0.5, 3, 1.0, trial=0, depth=2),
        candidate(0.5, 3, 1.0, trial=2),
        candidate(0.5, 3, 1.0, trial=1),
    ]
    assert Front(same).members == (same[2],)


def test_the_nearest_miss_is_named() -> None:
    front = Front([candidate(0.5, 8, 1.0, trial=3), candidate(0.9, 40, 1.0, trial=4)])
    with pytest.raises(NothingFits) as error:
        front.best(max_params=5)
    assert str(error.value) == (
        "no candidate fits max_params = 5; the nearest is trial 3, 99 → 1: "
        "8 params, 32 bytes, 1 ms, accuracy 50.00%"
    )
    with pytest.raises(NothingFits, match="no student was trained to the end"):
        Front([]).best()


@pytest.mark.parametrize("limit", [0, -5])
def test_limits_are_above_zero(limit: int) -> None:
    with pytest.raises(StudyError) as error:
        Front([candidate(0.5, 8, 1.0)]).best(max_params=limit)
    assert str(error.value) == f"max_params: should be above 0, found {limit}"


def test_bytes_count_though_the_front_is_blind_to_them() -> None:
    big = Candidate(**{**vars(candidate(0.9, 2, 1.0)), "bytes": 100})
    small = candidate(0.8, 2, 1.0, trial=1)
    assert Front([big, small]).members == (big,)
    assert Front([big, small]).best(max_bytes=50) == small


def test_the_reference_lies_beyond_everything_measured() -> None:
    sizes = [
        Measurement(
            width=w, params=10 * w, bytes=1, flops=1, latency_ms=1.0 / w, latency_p95_ms=1.0
        )
        for w in (1, 2)
    ]
    assert Reference.from_measurements(sizes, classes=10) == Reference(
        accuracy=0.1, params=(10, 22.0), latency_ms=(0.5, 1.1)
    )


def sized(width: int, latency_ms: float, medians_ms: tuple[float, ...] = ()) -> Measurement:
    return Measurement(
        width=width,
        params=10 * width,
        bytes=1,
        flops=1,
        latency_ms=latency_ms,
        latency_p95_ms=9.0,
        rounds=Rounds(medians_ms=medians_ms, spreads=(0.1,) * len(medians_ms)),
    )


def test_a_measurement_comes_back_from_json() -> None:
    size = sized(8, 0.1, (0.1, 0.3, 0.2))
    assert size.median_ms == 0.2
    assert Measurement.from_json(json.loads(json.dumps(asdict(size)))) == size
    bare = asdict(sized(8, 0.1))
    del bare["rounds"]  # as tables of benchmarks have it
    assert Measurement.from_json(bare) == sized(8, 0.1)
    assert Measurement.from_json(bare).median_ms == 0.1


def test_ties_in_words() -> None:
    pair = {8: sized(8, 0.04453, (0.045123,)), 4: sized(4, 0.04453, (0.04394,)), 2: sized(2, 0.03)}
    assert latency_words(8, pair) == ("0.04453 ms, tied with width 4; its own median is 0.04512 ms")
    assert latency_words(2, pair) == "0.03 ms"
    many = pair | {6: sized(6, 0.04453), 3: sized(3, 0.04453)}
    assert latency_words(8, many) == (
        "0.04453 ms, tied with widths 4, 6 and 3; its own median is 0.04512 ms"
    )


def test_where_all_are_tied_the_front_is_of_accuracy_and_size() -> None:
    sizes = {width: sized(width, 0.04) for width in (8, 4, 2)}
    box = Reference.from_measurements(sizes.values(), classes=10)
    found = [candidate(a, 10 * w, 0.04) for w, a in ((8, 0.9), (4, 0.95), (2, 0.5))]
    assert [c.params for c in Front(found).members] == [20, 40]
    assert Front(found).best(max_latency_ms=0.04).accuracy == 0.95
    assert 0 < hypervolume(found, box) < 1
    assert box.corner(sizes[2]) == (0.0, 0.0)
    grid = HypervolumeGrid(sizes, box)
    for width, accuracy in ((8, 0.9), (4, 0.95), (2, 0.5)):
        grid.add(width, accuracy)
    assert grid.volume == pytest.approx(hypervolume(found, box))
