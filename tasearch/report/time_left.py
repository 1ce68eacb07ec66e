"""How long a search still takes, as a range, from what its training has cost so far. Pure.

An epoch takes a seconds per FLOP and b seconds in any case, for small models do not fill a
processor. Two widths tell a and b. Before there are two, either of them may be 0: whatever they
are, the ratio of two times then lies between the ratio of the FLOPs and the ratio of the epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

FEW = 5  # trials; with fewer, what the space allows counts too
DRIFT = 0.2  # relative change of speed that is no surprise: first steps, other processes
DEVIATIONS = 2.0  # of the mean cost, on each side

UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))
SHORT_S = 20.0

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Work:
    """An amount of training.

    Args:
        flops: Training FLOPs.
        epochs: Number of epochs, of whatever width.
    """

    flops: float = 0.0
    epochs: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(flops=self.flops + other.flops, epochs=self.epochs + other.epochs)

    def __mul__(self, times: float) -> Work:
        return Work(flops=self.flops * times, epochs=self.epochs * times)

    def less(self, other: Work) -> Work:
        """What is left of it without another amount, at least nothing."""
        return Work(
            flops=max(0.0, self.flops - other.flops), epochs=max(0.0, self.epochs - other.epochs)
        )


def time_left(observed: Sequence[tuple[Work, float]], low: Work, high: Work) -> Range | None:
    """The time that more training takes.

    Args:
        observed: The training of each width so far, and the seconds that it has taken.
        low: Least training that is left.
        high: Most training that is left.

    Returns:
        Least and most seconds; None if nothing has been trained.

    Example:
        >>> observed = [(Work(flops=100.0, epochs=10), 5.0)]
        >>> time_left(observed, Work(flops=20.0, epochs=4), Work(flops=40.0, epochs=8))
        (0.8, 4.8)
    """
    rates, deviation = _rates([(work, seconds) for work, seconds in observed if work.epochs])
    if not rates:
        return None
    least = min(a * low.flops + b * low.epochs for a, b in rates)
    most = max(a * high.flops + b * high.epochs for a, b in rates)
    around = min(1.0, DRIFT + deviation)
    return least * (1 - around), most * (1 + around)


def _rates(observed: Sequence[tuple[Work, float]]) -> tuple[list[tuple[float, float]], float]:
    """Seconds per FLOP and per epoch that explain some times, and their relative deviation.

    Returns:
        The two extreme pairs if one width tells too little, else the pair with the least squares.
    """
    if not observed:
        return [], 0.0
    total = sum((work for work, _ in observed), Work())
    spent = sum(seconds for _, seconds in observed)
    extremes = [(0.0, spent / total.epochs)]
    if total.flops:
        extremes.append((spent / total.flops, 0.0))
    if len(observed) == 1:
        return extremes, 0.0
    ff, fe, ee = (
        sum(x * y for x, y in pairs)
        for pairs in (
            [(work.flops, work.flops) for work, _ in observed],
            [(work.flops, work.epochs) for work, _ in observed],
            [(work.epochs, work.epochs) for work, _ in observed],
        )
    )
    ft = sum(work.flops * seconds for work, seconds in observed)
    et = sum(work.epochs * seconds for work, seconds in observed)
    scale = ff * ee - fe * fe
    if scale <= 1e-9 * ff * ee:  # all have the same FLOPs per epoch
        return extremes, 0.0
    pair = (ft * ee - et * fe) / scale, (et * ff - ft * fe) / scale
    if min(pair) < 0:
        pair = extremes[0] if pair[0] < 0 else extremes[-1]
    off = sum(abs(pair[0] * w.flops + pair[1] * w.epochs - s) for w, s in observed)
    return [pair], off / spent if spent else 0.0


def work_of_trials(left: int, ended: Sequence[Work], low: Work, high: Work) -> tuple[Work, Work]:
    """The training of the trials that are left, least and most.

    Args:
        left: Number of trials.
        ended: Training of each trial of their kind so far.
        low: Least training of a trial, by what the space allows.
        high: Most training of a trial, by what the space allows.
    """
    flops = _total(left, [work.flops for work in ended], (low.flops, high.flops))
    epochs = _total(left, [work.epochs for work in ended], (low.epochs, high.epochs))
    return (
        Work(flops=flops[0], epochs=epochs[0]),
        Work(flops=flops[1], epochs=epochs[1]),
    )


def _total(left: int, costs: Sequence[float], limits: Range) -> Range:
    """The sum of so many more costs: an interval of prediction, within the smallest and largest."""
    if not left:
        return 0.0, 0.0
    known = len(costs)
    if known < FEW:
        return left * min(limits[0], *costs, limits[1]), left * max(limits[0], *costs, limits[1])
    mean, around = (
        left * fmean(costs),
        DEVIATIONS * stdev(costs) * math.sqrt(left**2 / known + left),
    )
    return max(left * min(costs), mean - around), min(left * max(costs), mean + around)


def left_text(found: Range | None) -> str:
    """The time left in words; None is not known."""
    return "time left not known yet" if found is None else f"{range_text(found)} left"


def range_text(found: Range) -> str:
    """A range of seconds in words, rounded outwards.

    Args:
        found: Least and most seconds.

    Example:
        >>> range_text((61.0, 115.0)), range_text((34.0, 100.0)), range_text((3.0, 3.0))
        ('1 to 2 min', '30 s to 2 min', '3 s')
    """
    size, last = _unit(found[1])
    own, first = (size, last) if found[0] >= size else _unit(found[0])
    low, high = _steps(found[0], own, math.floor), _steps(found[1], size, math.ceil)
    if first != last:
        return f"{low:g} {first} to {high:g} {last}"
    return f"{high:g} {last}" if low == high else f"{low:g} to {high:g} {last}"


def _unit(seconds: float) -> tuple[float, str]:
    """The unit of a duration, in seconds, and its name."""
    return next((size, name) for size, name in UNITS if seconds >= 1.5 * size or size == 1)


def _steps(seconds: float, unit: float, whole: Callable[[float], int]) -> float:
    """A duration in its unit, in steps of 10 s, 1 s if it is short, a minute or half an hour."""
    step = {3600.0: 1800.0, 60.0: 60.0}.get(unit, 1.0 if seconds < SHORT_S else 10.0)
    return whole(seconds / step) * step / unit
