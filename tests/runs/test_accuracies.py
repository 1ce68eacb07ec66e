"""Means of accuracies: equal numbers of correct samples give equal floats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.chains.mode import Mode
from tasearch.pareto.front import Front
from tasearch.runs.accuracies import MOST_SAMPLES, mean_accuracy, mean_of_known
from tasearch.runs.store import HopRecord
from tests.helpers.candidates import candidate

Hits = tuple[int, list[int]]  # number of samples, and of the correct ones in each replicate


@st.composite
def measured(draw: st.DrawFn) -> Hits:
    replicates = draw(st.integers(1, 32))
    samples = draw(st.integers(1, MOST_SAMPLES // replicates))
    hits = st.integers(0, samples)
    return samples, draw(st.lists(hits, min_size=replicates, max_size=replicates))


@given(measured())
def test_mean_accuracy_is_nearest_float_of_correct_samples(found: Hits) -> None:
    samples, hits = found
    assert mean_accuracy(h / samples for h in hits) == sum(hits) / (samples * len(hits))


@given(measured(), st.data())
def test_mean_accuracy_ignores_which_replicate_has_the_correct_samples(
    found: Hits, data: st.DataObject
) -> None:
    samples, hits = found
    other = data.draw(st.permutations(hits))
    first, second = (data.draw(st.integers(0, len(other) - 1)) for _ in range(2))
    if first != second:
        moved = data.draw(st.integers(0, min(other[first], samples - other[second])))
        other[first], other[second] = other[first] - moved, other[second] + moved
    assert mean_accuracy(h / samples for h in other) == mean_accuracy(h / samples for h in hits)


@given(measured())
def test_mean_accuracy_of_shares_is_that_of_the_whole(found: Hits) -> None:
    """Workers tell the means of their replicates only."""
    samples, hits = found
    half = len(hits) // 2
    shares = [share for share in (hits[:half], hits[half:]) if share]
    means = [mean_accuracy(h / samples for h in share) for share in shares for _ in share]
    assert mean_accuracy(means) == mean_accuracy(h / samples for h in hits)


@given(st.floats(0, 1))
def test_mean_accuracy_changes_no_number_beyond_rounding(accuracy: float) -> None:
    assert mean_accuracy([accuracy]) == pytest.approx(accuracy, rel=0, abs=1e-15)


def test_mean_accuracy_keeps_numbers_of_more_samples_apart() -> None:
    samples = 10 * MOST_SAMPLES
    found = [mean_accuracy([hits / samples]) for hits in range(samples - 100, samples)]
    assert len(set(found)) == 100


def test_mean_of_known_leaves_out_failed_replicates() -> None:
    assert mean_of_known([None, 0.5, None, 1.0]) == 0.75
    assert mean_of_known([None]) is None


def accuracy(hits: tuple[int, ...], samples: int) -> float:
    """A hop's accuracy, from the correct samples of its replicates."""
    record = HopRecord(
        widths=(8, 4),
        recipes=(None, {}),
        mode=Mode.parse("fp32"),
        epoch=1,
        epochs=(1,),
        curves=tuple((h / samples,) for h in hits),
    )
    return record.curve[-1]


@pytest.mark.parametrize("samples", [359, 20_480])
def test_front_keeps_shorter_of_equally_good_chains(samples: int) -> None:
    wrong = [(a, b, 61 - a - b) for a in range(62) for b in range(62 - a)]
    ways = [(samples - a, samples - b, samples - c) for a, b, c in wrong]
    assert len({sum(h / samples for h in way) / 3 for way in ways}) > 1  # the last bit differs
    short = candidate(accuracy(ways[0], samples), 10, 1.0, trial=1)
    for way in ways:
        long = candidate(accuracy(way, samples), 10, 1.0, depth=1)
        assert Front([long, short]).members == (short,)
