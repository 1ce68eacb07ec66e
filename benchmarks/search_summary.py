"""What `benchmarks.search` says about the runs of all draws: costs, regrets, areas, ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.draws import Plan
from benchmarks.search_methods import WORKERS

GRID = 60  # costs, and moments, at which regrets are kept
LEVELS = (0.05, 0.02, 0.01, 0.005, 0.002, 0.0)  # the last is the whole front
ROUNDING = 1e-9  # regret that comes from rounding alone
RESAMPLES = 2000  # of draws, for intervals
CONFIDENCE = 0.95

Array = np.ndarray[Any, Any]


def cost_to(run: Mapping[str, Any], regret: float, of: str = "paid") -> float:
    """What a run had cost when it reached a regret for good; infinite where it did not.

    Args:
        run: Result of `search_methods.run_method`.
        regret: Share of the hypervolume that may be missing.
        of: Cost to look at: "paid", "unshared" or "seconds".
    """
    found = math.inf
    for cost, missing in zip(reversed(run[of]), reversed(run["regrets"]), strict=True):
        if missing > regret + ROUNDING:
            break
        found = float(cost)
    return found


def area(run: Mapping[str, Any], bounds: tuple[float, float], of: str = "paid") -> float:
    """The area under the regret over the decimal logarithm of cost: the lower, the better.

    The regret is 1 before the first trial, and stays what it is after the last one.

    Args:
        run: Result of `search_methods.run_method`.
        bounds: Least and largest cost.
        of: Which cost they are: "paid", "unshared" or "seconds".
    """
    costs = np.clip([bounds[0], *run[of], bounds[1]], *bounds)
    return float(np.diff(np.log10(costs)) @ [1.0, *run["regrets"]])


def summarize(
    runs: list[dict[str, Any]],
    plan: Plan,
    shared: bool,
    grids: Mapping[str, Array],
    bounds: tuple[float, float],
) -> dict[str, Any]:
    """Quartiles over searches, each weighted as its draw.

    Args:
        runs: Results of `search_methods.run_method`, one for each search of the plan.
        plan: Draws and seeds.
        shared: Whether hops are shared. Seconds are simulated with shared hops only.
        grids: Costs and seconds at which the regret is kept, by "cost" and "seconds".
        bounds: Least and largest cost of the area.
    """
    of, weights = "paid" if shared else "unshared", plan.weights

    def over(values: Sequence[float]) -> dict[str, float | None]:
        return quartiles(values, weights)

    def cost_quartiles(of: str) -> dict[str, Any]:
        return {str(v): over([cost_to(run, v, of) for run in runs]) for v in LEVELS}

    curves = {"cost": of} | ({"seconds": "seconds"} if shared else {})
    return {
        "trials": over([len(run["regrets"]) for run in runs]),
        "cost_to_regret": cost_quartiles(of),
        "seconds_to_regret": cost_quartiles("seconds") if shared else None,
        "reached": {
            str(v): mean([math.isfinite(cost_to(run, v, of)) for run in runs], weights)
            for v in LEVELS
        },
        "area": over([area(run, bounds, of) for run in runs]),
        "cost_at_end": over([run[of][-1] for run in runs]),
        "regret_at_end": over([run["regrets"][-1] for run in runs]),
        "wall_ms_a_trial": over([run["wall_ms_a_trial"] for run in runs]),
        "regret_curve": {
            kind: band([regret_at(run, grids[kind], key) for run in runs], weights)
            for kind, key in curves.items()
        },
        **summarize_pruning(runs, weights),
    }


def summarize_pruning(
    runs: Sequence[Mapping[str, Any]], weights: Sequence[float]
) -> dict[str, Any]:
    """Quartiles of what became of the true front; empty for a baseline."""
    if "recall" not in runs[0]:
        return {}
    summary: dict[str, Any] = {}
    for key in ("recall", "front_pruned", "front_pruned_beyond_noise"):
        values = [run[key] for run in runs]
        summary[key] = quartiles(values, weights) | {"mean": mean(values, weights)}
    shares = [run["pruned"] / run["trials"] for run in runs]
    summary["pruned_share"] = quartiles(shares, weights)
    return summary


def ratios(plan: Plan, own: Sequence[float], base: Sequence[float]) -> dict[str, float | None]:
    """The median over draws of one method's cost divided by another's on the same draw.

    On each draw the medians over its seeds are divided. The ratio is infinite (None) where only the
    first did not get there, and 0 where only the second did not; draws where neither did are left
    out. The interval is that of a bootstrap over distinct draws: they share replicates, so it does
    not tell what a table of new replicates would say.

    Args:
        plan: Draws and seeds.
        own: Costs of the searches of a method; infinite where it did not get there.
        base: Costs of those of the method to compare with.
    """
    pairs = [
        (_median(a), _median(b), weight)
        for a, b, weight in zip(
            plan.by_draw(own), plan.by_draw(base), plan.draws.values(), strict=True
        )
    ]
    known = [(a / b, w) for a, b, w in pairs if math.isfinite(min(a, b))]
    if not known:
        return {"low": None, "median": None, "high": None, "draws": 0}
    known.sort()
    values, weights = (np.array(column) for column in zip(*known, strict=True))
    rng = np.random.default_rng(0)
    chosen = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
    medians = sorted(values[_place(0.5, times * weights)] for times in chosen)
    tail = int((1 - CONFIDENCE) / 2 * RESAMPLES)
    at = {"low": medians[tail], "median": values[_place(0.5, weights)], "high": medians[-1 - tail]}
    return {**{name: _finite(value) for name, value in at.items()}, "draws": len(values)}


def band(curves: Sequence[Sequence[float]], weights: Sequence[float]) -> dict[str, list[float]]:
    """Quartiles over curves, at each point of their grid."""
    points = [quartiles(column, weights) for column in zip(*curves, strict=True)]
    return {
        name: [round(float(point[name] or 0.0), 5) for point in points]
        for name in ("low", "median", "high")
    }


def grid(values: Sequence[float]) -> Array:
    """Points evenly spaced on a logarithmic axis up to the largest value; at most five decades."""
    least = min(value for value in values if value > 0)
    return np.geomspace(max(least, max(values) / 1e5), max(values), GRID)


def regret_at(run: Mapping[str, Any], grid: Array, of: str) -> list[float]:
    """The regret of a run at each cost of a grid.

    It is 1 before the first trial, and stays what it is after the last one.

    Args:
        run: Result of `search_methods.run_method`.
        grid: Costs, ascending.
        of: Which cost they are: "paid", "unshared" or "seconds".
    """
    places = np.searchsorted(run[of], grid, side="right")
    return [1.0 if place == 0 else run["regrets"][place - 1] for place in places]


def mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of weighted values."""
    return float(np.average(values, weights=weights))


def quartiles(
    values: Sequence[float], weights: Sequence[float] | None = None
) -> dict[str, float | None]:
    """Quartiles of values; None for an infinite one, which was not reached.

    Args:
        values: At least one value.
        weights: Weight of each value; None for equal ones.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranked = np.array([1.0 if weights is None else weights[i] for i in order])
    found = {"low": 0.25, "median": 0.5, "high": 0.75}
    return {name: _finite(values[order[_place(q, ranked)]]) for name, q in found.items()}


def _place(quantile: float, weights: Array) -> int:
    """The first place at which the sum of weights reaches a share of their total."""
    sums = np.cumsum(weights)
    return int(np.searchsorted(sums, quantile * sums[-1] * (1 - ROUNDING)))


def _median(values: Sequence[float]) -> float:
    """The median; of an even number the mean of the two in the middle, which may be infinite."""
    return float(np.median(values))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def speed_up(
    runs: Sequence[Mapping[str, Mapping[str, float]]], weights: Sequence[float]
) -> dict[str, Any]:
    """Quartiles of one worker's seconds divided by those of several workers.

    Args:
        runs: Results of `search_methods.workers_seconds`.
        weights: Weight of each run.
    """
    one, *more = map(str, WORKERS)
    return {
        kind: {
            workers: quartiles([run[one][kind] / run[workers][kind] for run in runs], weights)
            for workers in more
        }
        for kind in ("end", "end_with_teacher")
    }
