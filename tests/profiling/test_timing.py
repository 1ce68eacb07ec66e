"""Rounds of timings, on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count

import pytest

from tasearch.errors import ModelError
from tasearch.pareto.measurement import TimingRounds
from tasearch.profiling import timing
from tasearch.profiling.ties import tied_groups
from tasearch.profiling.timing import (
    CALLS,
    GROWTH,
    LEAST_ROUNDS,
    MOST_ROUNDS,
    REPEATS,
    ROUNDS,
    SPREAD,
    WARM_CALLS,
    ModelTimings,
    time_rounds,
)


class Machine:
    """A clock that advances during calls only.

    Attributes:
        now: Time in seconds.
        calls: Widths in the order in which they were called; 0 is the reference net.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[int] = []

    def clock(self) -> float:
        return self.now

    def call(self, width: int, seconds: Callable[[int], float]) -> Callable[[int], object]:
        """A call that takes so many seconds, by how often its width was called before."""
        before = count()

        def call(i: int) -> None:
            self.calls.append(width)
            self.now += seconds(next(before))

        return call

    def time(
        self,
        seconds: Mapping[int, Callable[[int], float]],
        reference: Callable[[int], float] = lambda i: 1e-5,
    ) -> tuple[dict[int, ModelTimings], TimingRounds]:
        calls = {width: self.call(width, taken) for width, taken in seconds.items()}
        return time_rounds(calls, self.call(0, reference), self.clock)


def constant(seconds: float) -> Callable[[int], float]:
    return lambda i: seconds


def turns(calls: list[int]) -> Iterator[int]:
    """The order in which widths were called, repetitions apart."""
    return (width for i, width in enumerate(calls) if not i or calls[i - 1] != width)


def test_models_take_turns_until_they_are_settled() -> None:
    machine = Machine()
    timed, reference = machine.time({8: constant(2e-5), 4: constant(1e-5)})
    assert [*turns(machine.calls)] == [0, 8, 4] * (1 + ROUNDS)  # warm-up, then rounds
    assert machine.calls.count(8) == WARM_CALLS + ROUNDS * CALLS
    assert timed[8].rounds == TimingRounds(medians_ms=(0.02,) * ROUNDS, spreads=(0.0,) * ROUNDS)
    assert timed[4].p95_ms == pytest.approx(0.01)
    assert reference == TimingRounds(medians_ms=(0.01,) * ROUNDS, spreads=(0.0,) * ROUNDS)


def by_round(*factors: float) -> Callable[[int], float]:
    """A call whose speed changes from round to round, over and over."""
    return lambda i: 1e-5 * factors[(i - WARM_CALLS) // CALLS % len(factors)]


def test_rounds_continue_until_the_order_is_settled() -> None:
    seconds = {8: by_round(1.12, 0.96, 1.1, 1.08, 1.04), 4: constant(1e-5)}
    timed, reference = Machine().time(seconds)
    assert ROUNDS < len(reference.medians_ms) < MOST_ROUNDS
    count = len(reference.medians_ms)
    looks = [ROUNDS]
    while looks[-1] < count:
        looks.append(int(GROWTH * looks[-1]))
    assert looks[-1] == count
    rounds = {width: t.rounds.medians_ms for width, t in timed.items()}
    assert tied_groups(rounds) == [(4,), (8,)]
    assert tied_groups({w: x[: looks[-2]] for w, x in rounds.items()}) == [(4, 8)]


def test_rounds_that_never_settle_tie_models() -> None:
    seconds = {8: by_round(1.5, 0.7), 4: constant(1e-5)}
    timed, _ = Machine().time(seconds)
    rounds = {width: t.rounds.medians_ms for width, t in timed.items()}
    assert len(rounds[8]) == MOST_ROUNDS
    assert tied_groups(rounds) == [(4, 8)]


def test_timer_repeats_noisy_round_and_keeps_the_quietest_try() -> None:
    def seconds(i: int) -> float:
        attempt, place = divmod(max(0, i - WARM_CALLS), CALLS)
        quiet = attempt % REPEATS == 1  # of three tries, the second
        return 1e-5 * (1.0 + (0.5 if quiet else 0.9) * (place % 2))

    machine = Machine()
    timed, _ = machine.time({4: seconds})
    spreads = timed[4].rounds.spreads
    assert machine.calls.count(4) == WARM_CALLS + REPEATS * CALLS * len(spreads)
    assert spreads == (spreads[0],) * ROUNDS
    assert SPREAD < spreads[0] < 0.5


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0, 9.0])
def test_slow_models_get_fewer_calls(seconds: float) -> None:
    machine = Machine()
    timed, reference = machine.time({width: constant(seconds) for width in (8, 4, 2)})
    assert len(reference.medians_ms) >= LEAST_ROUNDS
    once = 3 * seconds
    warm = 4 * timing.WARM_S + once
    rounds = max(4 * timing.BUDGET_S, LEAST_ROUNDS * once)
    assert machine.now < warm + rounds + timing.EXTRA_S + (1 + REPEATS) * once
    assert min(len(t.rounds.medians_ms) for t in timed.values()) >= LEAST_ROUNDS


def test_timer_refuses_a_slow_call_after_one() -> None:
    machine = Machine()
    with pytest.raises(ModelError) as error:
        machine.time({8: constant(12.34), 4: constant(1.0)})
    assert str(error.value) == (
        "width 8: one timed call should take 10 s at most, took 12.3 s; "
        "a smaller latency.batch takes less"
    )
    assert machine.calls.count(8) == 1


def test_clock_that_stands_still_ties_all_models() -> None:
    timed, _ = Machine().time({8: constant(0.0), 4: constant(0.0)}, constant(0.0))
    rounds = {width: t.rounds.medians_ms for width, t in timed.items()}
    assert tied_groups(rounds) == [(4, 8)]
    assert min(rounds[8]) > 0
