"""Timing models side by side, in rounds, until their order is settled; and how quiet the machine
was meanwhile.

The models take turns, A B C A B C, so that a slow moment of the machine hits all of them, and a
small *reference net*, the same in every study, takes its turn with them: what its rounds differ by
is the machine's doing. Everything is bounded by the clock, so a measurement always ends.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasearch.errors import ModelError
from tasearch.pareto.measurement import Rounds
from tasearch.profiling.ties import settled

ROUNDS = 20
GROWTH = 1.5  # of the number of rounds, from one look at the order to the next
MOST_ROUNDS = 200
LEAST_ROUNDS = 5  # of models so slow that there is no time for more
CALLS = 50  # per round and model
REPEATS = 3  # of a round that is too noisy
SPREAD = 0.1  # interquartile range over median that a quiet round stays under
WARM_CALLS = 50
WARM_S = 1.0  # of warming up each model
BUDGET_S = 6.0  # of timing per model; a model slower than that allows gets fewer calls
EXTRA_S = 10.0  # of further rounds, for all models together
CALL_S = 10.0  # one call may take
MOVED = 0.1  # by which the reference net's rounds may differ on a quiet machine
SLACK = 0.1  # processors that others may use where none is free for them
DIGITS = 5  # of a median that is kept
STAT = Path("/proc/stat")

Call = Callable[[int], object]
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Timings of one model.

    Args:
        rounds: median and spread of each round.
        p95_ms: 95th percentile of all timings.
    """

    rounds: Rounds
    p95_ms: float


def time_rounds(
    calls: Mapping[int, Call], reference: Call, clock: Clock = time.perf_counter
) -> tuple[dict[int, Timed], Rounds]:
    """Time calls, and those of the reference net, in common rounds.

    Args:
        calls: by width; each is told how often it was called before.
        reference: one call of the reference net.
        clock: seconds.

    Returns:
        The timings by width, and the reference net's rounds.

    Raises:
        ModelError: where one call takes longer than `CALL_S`.
    """
    timers = {width: _Timer(f"width {width}", call, clock) for width, call in calls.items()}
    net = _Timer("the reference net", reference, clock)
    everyone = [net, *timers.values()]
    for timer in everyone:
        timer.warm_up()
    end = clock() + BUDGET_S * len(everyone)
    while net.rounds < LEAST_ROUNDS or (net.rounds < ROUNDS and clock() < end):
        for timer in everyone:
            timer.time_round(end)
    end = clock() + EXTRA_S
    while net.rounds < MOST_ROUNDS and not settled({w: t.medians for w, t in timers.items()}):
        wanted = min(MOST_ROUNDS, int(GROWTH * net.rounds))
        while net.rounds < wanted and clock() < end:
            for timer in everyone:
                timer.time_round(end)
        if clock() >= end:
            break
    return {width: timer.timed() for width, timer in timers.items()}, net.timed().rounds


class _Timer:
    """One model's calls and their timings."""

    def __init__(self, name: str, call: Call, clock: Clock) -> None:
        self._name, self._call, self._clock = name, call, clock
        self._count = 1  # calls in a round
        self._calls = 0  # made so far
        self._times: list[np.ndarray] = []  # milliseconds, by round
        self.medians: list[float] = []
        self._spreads: list[float] = []

    @property
    def rounds(self) -> int:
        return len(self.medians)

    def warm_up(self) -> None:
        """Call until caches are filled; find out how many calls there is time for."""
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
        """Keep the quietest of up to `REPEATS` tries, of one where the time is over."""
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
            median = max(median, 1e-6)  # a coarse clock may have seen no time pass
            tries.append((float((high - low) / median), float(median), times))
            if tries[-1][0] <= SPREAD:
                break
        spread, median, times = min(tries, key=lambda found: found[0])
        self.medians.append(float(f"{median:.{DIGITS}g}"))
        self._spreads.append(float(f"{spread:.2g}"))
        self._times.append(times)

    def timed(self) -> Timed:
        rounds = Rounds(medians_ms=tuple(self.medians), spreads=tuple(self._spreads))
        return Timed(rounds=rounds, p95_ms=float(np.percentile(np.concatenate(self._times), 95)))


class Others:
    """What other processes use of the processors that this one may run on, from now on."""

    def __init__(self) -> None:
        self._cores = _cores()
        self._begun = time.monotonic(), _busy_seconds(self._cores), _own_seconds()

    def used(self) -> tuple[float, int] | None:
        """Processors' worth of work of others, time stolen by a host included, and how many
        processors there are; None where the system does not tell."""
        then, busy, own = self._begun
        now, seconds = time.monotonic(), _busy_seconds(self._cores)
        if busy is None or seconds is None or now <= then:
            return None
        theirs = seconds - busy - (_own_seconds() - own)
        return max(0.0, theirs / (now - then)), len(self._cores)


def busy_signs(
    reference: Rounds, others: tuple[float, int] | None, threads: int
) -> tuple[str, ...]:
    """What tells that the machine was busy, in words; nothing where it was quiet.

    Args:
        reference: timings of the reference net.
        others: of `Others.used`.
        threads: of a timed call.
    """
    found = []
    low, high = np.percentile(reference.medians_ms, [10, 90])  # a single odd round says little
    if high / low - 1 > MOVED:
        found.append(f"rounds of the reference net differed by {high / low - 1:.0%}")
    noisy = sum(spread > SPREAD for spread in reference.spreads)
    if 2 * noisy > len(reference.spreads):
        found.append(
            f"timings of the reference net scattered in {noisy} of {len(reference.spreads)} rounds"
        )
    if others is not None:
        used, cores = others
        if used + min(threads, cores) > cores + SLACK:
            found.append(f"other processes used {used:.1f} of {cores} processors")
    return tuple(found)


def busy_notice(signs: tuple[str, ...], tied: int, widths: int) -> tuple[str, ...]:
    """One notice of a busy machine; none of a quiet one.

    Args:
        signs: of `busy_signs`.
        tied: widths that are not apart from some other.
        widths: that were measured.
    """
    if not signs:
        return ()
    return (
        f"the machine was busy while latencies were measured: {', '.join(signs)}; they are less "
        f"certain, {tied} of {widths} widths are tied",
    )


def _cores() -> frozenset[int]:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _own_seconds() -> float:
    return sum(os.times()[:4])


def _busy_seconds(cores: frozenset[int]) -> float | None:
    """Seconds that processors have worked, or were taken away; None where nothing tells."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = 0
        for line in STAT.read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
                user, nice, system, _, _, irq, soft, stolen = map(int, fields[:8])
                ticks += user + nice + system + irq + soft + stolen
        return ticks / os.sysconf("SC_CLK_TCK")
    return None
