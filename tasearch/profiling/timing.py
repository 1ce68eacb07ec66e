"""Timing models side by side, in rounds, until their order is settled.

The models take turns, A B C A B C, so that a slow moment of the machine hits all of them. A small
*reference net*, the same in every study, takes its turn with them: if its rounds differ, the
machine was busy. Everything is bounded by the clock, so a measurement always ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tasearch.chains.sizes import sized
from tasearch.errors import ModelError
from tasearch.pareto.measurement import TimingRounds
from tasearch.profiling.ties import settled

ROUNDS = 20  # before the first test of the order
GROWTH = 1.5  # factor on the number of rounds from one test of the order to the next
MOST_ROUNDS = 200
LEAST_ROUNDS = 5  # even where a model is so slow that there is no time for more
CALLS = 50  # per round and model, at most
REPEATS = 3  # tries of a round that is too noisy, at most
SPREAD = 0.1  # interquartile range over median; a round with less is quiet
WARM_CALLS = 50  # per model, at most
WARM_S = 1.0  # seconds of warm-up per model
BUDGET_S = 6.0  # seconds of timing per model; a slow model gets fewer calls in a round
EXTRA_S = 10.0  # seconds of further rounds, for all models together
CALL_S = 10.0  # seconds that one call may take
DIGITS = 5  # significant digits of a median that are kept

Call = Callable[[int], object]
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class ModelTimings:
    """Timings of one model.

    Args:
        rounds: Median and spread of each round.
        p95_ms: 95th percentile of all timings, in milliseconds.
    """

    rounds: TimingRounds
    p95_ms: float


def time_rounds(
    calls: Mapping[int, Call], reference: Call, clock: Clock = time.perf_counter
) -> tuple[dict[int, ModelTimings], TimingRounds]:
    """Time calls, and those of the reference net, in common rounds.

    Args:
        calls: Calls by width; the argument of each is how often it was called before.
        reference: Call of the reference net.
        clock: Time in seconds.

    Returns:
        The timings by width, and the reference net's rounds.

    Raises:
        ModelError: If one call takes longer than `CALL_S`.
    """
    timers = {width: _Timer(f"{sized(width)}", call, clock) for width, call in calls.items()}
    net = _Timer("the reference net", reference, clock)
    in_turn = [net, *timers.values()]
    for timer in in_turn:
        timer.warm_up()
    end = clock() + BUDGET_S * len(in_turn)
    while net.rounds < LEAST_ROUNDS or (net.rounds < ROUNDS and clock() < end):
        for timer in in_turn:
            timer.time_round(end)
    end = clock() + EXTRA_S
    while net.rounds < MOST_ROUNDS and not settled({w: t.medians for w, t in timers.items()}):
        wanted = min(MOST_ROUNDS, int(GROWTH * net.rounds))
        while net.rounds < wanted and clock() < end:
            for timer in in_turn:
                timer.time_round(end)
        if clock() >= end:
            break
    return {width: timer.timed() for width, timer in timers.items()}, net.timed().rounds


class _Timer:
    """One model's calls and their timings."""

    def __init__(self, name: str, call: Call, clock: Clock) -> None:
        self._name, self._call, self._clock = name, call, clock
        self._count = 1  # calls in a round
        self._calls = 0  # calls so far
        self._times: list[np.ndarray] = []  # milliseconds, one array per round
        self.medians: list[float] = []
        self._spreads: list[float] = []

    @property
    def rounds(self) -> int:
        """Number of rounds so far."""
        return len(self.medians)

    def warm_up(self) -> None:
        """Fill the caches, and choose how many calls of a round the time allows.

        Raises:
            ModelError: If the median call takes longer than `CALL_S`.
        """
        begun = now = self._clock()
        seconds: list[float] = []
        while len(seconds) < WARM_CALLS and now - begun < WARM_S:
            self._call(self._calls)
            before, now = now, self._clock()
            self._calls += 1
            seconds.append(now - before)
        usual = float(np.median(seconds))
        if usual > CALL_S:
            raise ModelError(
                f"{self._name}: one timed call should take {CALL_S:g} s at most, took {usual:.3g} s"
                "; a smaller latency.batch takes less"
            )
        share = BUDGET_S / ROUNDS
        self._count = max(1, min(CALLS, int(share / usual) if usual > 0 else CALLS))

    def time_round(self, end: float) -> None:
        """Time one round: keep the quietest of up to `REPEATS` tries, of one after `end`.

        Args:
            end: Time by the clock after which a noisy round is not repeated.
        """
        tries: list[tuple[float, float, np.ndarray]] = []
        while len(tries) < REPEATS and (not tries or self._clock() < end):
            times = np.empty(self._count)
            for i in range(self._count):
                start = self._clock()
                self._call(self._calls)
                times[i] = self._clock() - start
                self._calls += 1
            times *= 1e3
            low, median, high = np.percentile(times, [25, 50, 75])
            median = max(median, 1e-6)  # a coarse clock may show no time at all
            tries.append((float((high - low) / median), float(median), times))
            if tries[-1][0] <= SPREAD:
                break
        spread, median, times = min(tries, key=lambda found: found[0])
        self.medians.append(float(f"{median:.{DIGITS}g}"))
        self._spreads.append(float(f"{spread:.2g}"))
        self._times.append(times)

    def timed(self) -> ModelTimings:
        """All rounds so far."""
        rounds = TimingRounds(medians_ms=tuple(self.medians), spreads=tuple(self._spreads))
        return ModelTimings(
            rounds=rounds, p95_ms=float(np.percentile(np.concatenate(self._times), 95))
        )
