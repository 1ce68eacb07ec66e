"""Which models are tied: laws of the groups, and simulated timings whose truth is known."""

from __future__ import annotations

from statistics import fmean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.profiling.ties import MARGIN, settled, tied_groups, tied_latencies
from tasearch.profiling.timing import MOST_ROUNDS

STUDIES = 400  # simulated, each of ten models
LOOKS = (20, 30, 45, 67, 100, 150, MOST_ROUNDS)  # numbers of rounds, as `time_rounds` has them
NOISES = ("normal", "heavy tails", "bursts")


def simulated(
    truth: list[float], rounds: int, seed: int, noise: str, scale: float
) -> dict[int, list[float]]:
    """Medians of rounds with noise that all models share, and noise of each model.

    Args:
        truth: Milliseconds of each model.
        rounds: Number of rounds.
        seed: Seed of the noise.
        noise: Kind of noise, "normal", "heavy tails" (Student's t, 3 degrees) or "bursts" (a tenth
            of the timings takes 1.5 times as long).
        scale: Standard deviation, or scale, of each model's noise, relative to its time.
    """
    generator = np.random.default_rng(seed)
    common = 0.3 * generator.standard_normal((1, rounds))
    shape = (len(truth), rounds)
    own = generator.standard_normal(shape)
    if noise == "heavy tails":
        own = generator.standard_t(3, shape)
    own = scale * own
    if noise == "bursts":
        own = own + 0.4 * (generator.random(shape) < 0.1)
    times = np.array(truth)[:, None] * np.exp(common + own)
    return {width: row.tolist() for width, row in enumerate(times)}


QUICK = ("bursts", 0.05)


@pytest.mark.parametrize(
    ("noise", "scale"),
    [
        pytest.param(noise, scale, marks=() if (noise, scale) == QUICK else pytest.mark.slow)
        for noise in NOISES
        for scale in (0.01, 0.05, 0.2)
    ],
)
def test_equal_models_tie_in_95_of_100_studies(noise: str, scale: float) -> None:
    wrong = 0
    for seed in range(STUDIES):
        rounds = simulated([0.02] * 10, MOST_ROUNDS, seed, noise, scale)
        looks = [{w: x[:count] for w, x in rounds.items()} for count in LOOKS]
        wrong += any(len(tied_groups(look)) > 1 for look in looks)
    assert wrong <= 0.05 * STUDIES


@pytest.mark.parametrize("noise", NOISES)
def test_tied_groups_find_differences_of_a_few_standard_deviations(noise: str) -> None:
    truth = [0.02 * 1.15**place for place in range(5)]  # steps of 15 %, noise of 3 %
    found = [tied_groups(simulated(truth, 60, seed, noise, 0.03)) for seed in range(100)]
    assert found.count([(0,), (1,), (2,), (3,), (4,)]) >= 95


def test_five_quiet_rounds_separate_slow_models() -> None:
    found = [tied_groups(simulated([1e3, 2e3], 5, s, "normal", 0.01)) for s in range(100)]
    assert found.count([(0,), (1,)]) >= 95


def test_difference_below_the_margin_is_a_tie() -> None:
    rounds = {8: [1.0] * 20, 4: [1.0 + 0.9 * MARGIN] * 20, 2: [1.0 + 1.1 * MARGIN] * 20}
    assert tied_groups(rounds) == [(8, 4), (2,)]
    assert settled(rounds)


def test_small_steps_do_not_tie_the_fastest_with_the_slowest() -> None:
    rounds = {width: [1.015**width] * 20 for width in range(6)}  # each step is below the margin
    assert tied_groups(rounds) == [(0, 1), (2, 3), (4, 5)]


def test_uncertain_pair_is_not_settled() -> None:
    noisy = [1.3 if place % 3 == 0 else 1.1 if place % 3 == 1 else 0.7 for place in range(12)]
    assert tied_groups({4: noisy, 2: [1.0] * 12}) == [(2, 4)]
    assert not settled({4: noisy, 2: [1.0] * 12})
    assert settled({4: [1.0] * 12, 2: [1.0] * 12})
    assert settled({4: [2.0] * 12, 2: [1.0] * 12})


def test_one_round_separates_nothing() -> None:
    assert tied_groups({4: [2.0], 2: [1.0]}) == [(2, 4)]
    assert tied_groups({2: [1.0]}) == [(2,)]
    assert tied_groups({}) == []


@st.composite
def timings(draw: st.DrawFn) -> dict[int, list[float]]:
    """A few models, some nearly alike, over common rounds."""
    count = draw(st.integers(1, 25))
    found = {}
    for width in draw(st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True)):
        base = draw(st.sampled_from((0.02, 0.0201, 0.021, 0.03)))
        noise = st.floats(0.9, 1.2) if draw(st.booleans()) else st.just(1.0)
        found[width] = [base * draw(noise) for _ in range(count)]
    return found


@given(timings())
def test_groups_are_intervals_of_the_order(rounds: dict[int, list[float]]) -> None:
    groups = tied_groups(rounds)
    flat = [width for group in groups for width in group]
    assert sorted(flat) == sorted(rounds)
    medians = [median(rounds[width]) for width in flat]
    assert medians == sorted(medians)


@given(timings())
def test_latency_lies_within_its_group_and_grows_with_the_order(
    rounds: dict[int, list[float]],
) -> None:
    latencies, groups = tied_latencies(rounds), tied_groups(rounds)
    assert [*latencies] == [*rounds]
    for group in groups:
        medians = [median(rounds[width]) for width in group]
        assert {latencies[width] for width in group} == {fmean(medians)}
        assert min(medians) * (1 - 1e-12) <= latencies[group[0]] <= max(medians) * (1 + 1e-12)
    ordered = [latencies[group[0]] for group in groups]
    assert ordered == sorted(ordered)


@given(timings(), st.randoms(use_true_random=False))
def test_order_of_widths_changes_nothing(rounds: dict[int, list[float]], random: object) -> None:
    widths = [*rounds]
    random.shuffle(widths)  # type: ignore[attr-defined]
    shuffled = {width: rounds[width] for width in widths}
    assert tied_groups(shuffled) == tied_groups(rounds)
    assert settled(shuffled) == settled(rounds)


@given(timings())
def test_slower_model_changes_nothing_among_the_others(rounds: dict[int, list[float]]) -> None:
    count = len(next(iter(rounds.values())))
    slower = max(max(row) for row in rounds.values())
    before, after = tied_groups(rounds), tied_groups({**rounds, 1000: [slower] * count})
    assert [tuple(w for w in group if w != 1000) for group in after if group != (1000,)] == before


@given(timings(), st.sampled_from((1e-3, 1e3)))
def test_unit_of_time_changes_nothing(rounds: dict[int, list[float]], unit: float) -> None:
    scaled = {width: [unit * x for x in row] for width, row in rounds.items()}
    assert len(tied_groups(scaled)) == len(tied_groups(rounds))
