"""What `benchmarks.search` says about the runs of all seeds: costs, regrets, quartiles, tests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.search_methods import WORKERS

GRID = 60  # costs, and moments, at which regrets are kept
LEVELS = (0.05, 0.02, 0.01, 0.005, 0.002)


def cost_to(run: Mapping[str, Any], regret: float, of: str = "paid") -> float:
    """What a run had cost when it reached a regret; infinite where it did not.

    Args:
        run: Result of `search_methods.run_method`.
        regret: Share of the hypervolume that may be missing.
        of: Cost to look at: "paid", "unshared" or "seconds".
    """
    for cost, found in zip(run[of], run["regrets"], strict=True):
        if found <= regret:
            return float(cost)
    return math.inf


def summarize(
    runs: list[dict[str, Any]], shared: bool, grids: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, Any]:
    """Quartiles over seeds.

    Args:
        runs: Results of `search_methods.run_method`, one for each seed.
        shared: Whether hops are shared. Seconds are simulated with shared hops only.
        grids: Costs and seconds at which the regret is kept, by "cost" and "seconds".
    """
    of = "paid" if shared else "unshared"

    def cost_quartiles(of: str) -> dict[str, Any]:
        return {str(v): quartiles([cost_to(run, v, of) for run in runs]) for v in LEVELS}

    curves = {"cost": of} | ({"seconds": "seconds"} if shared else {})
    return {
        "seeds": len(runs),
        "trials": quartiles([len(run["regrets"]) for run in runs]),
        "cost_to_regret": cost_quartiles(of),
        "seconds_to_regret": cost_quartiles("seconds") if shared else None,
        "reached": {
            str(level): sum(cost_to(run, level) < math.inf for run in runs) for level in LEVELS
        },
        "cost_at_end": quartiles([run[of][-1] for run in runs]),
        "regret_at_end": quartiles([run["regrets"][-1] for run in runs]),
        "wall_ms_a_trial": quartiles([run["wall_ms_a_trial"] for run in runs]),
        "regret_curve": {
            kind: band([regret_at(run, grids[kind], key) for run in runs])
            for kind, key in curves.items()
        },
        **summarize_pruning(runs),
    }


def summarize_pruning(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Quartiles over seeds of what became of the true front; empty for a baseline."""
    if "recall" not in runs[0]:
        return {}
    summary: dict[str, Any] = {}
    for key in ("recall", "front_pruned", "front_pruned_beyond_noise"):
        values = [run[key] for run in runs]
        summary[key] = quartiles(values) | {"mean": statistics.fmean(values)}
    summary["pruned_share"] = quartiles([run["pruned"] / run["trials"] for run in runs])
    return summary


def band(curves: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Quartiles over curves, at each point of their grid."""
    found = np.quantile(np.array(curves), [0.25, 0.5, 0.75], axis=0)
    names = ("low", "median", "high")
    return {n: [round(float(v), 5) for v in row] for n, row in zip(names, found, strict=True)}


def grid(values: Sequence[float]) -> np.ndarray[Any, Any]:
    """Points evenly spaced on a logarithmic axis up to the largest value; at most five decades."""
    least = min(value for value in values if value > 0)
    return np.geomspace(max(least, max(values) / 1e5), max(values), GRID)


def regret_at(run: Mapping[str, Any], grid: np.ndarray[Any, Any], of: str) -> list[float]:
    """The regret of a run at each cost of a grid.

    It is 1 before the first trial, and stays what it is after the last one.

    Args:
        run: Result of `search_methods.run_method`.
        grid: Costs, ascending.
        of: Which cost they are: "paid", "unshared" or "seconds".
    """
    places = np.searchsorted(run[of], grid, side="right")
    return [1.0 if place == 0 else run["regrets"][place - 1] for place in places]


def quartiles(values: Sequence[float]) -> dict[str, float | None]:
    """Quartiles of values; None for an infinite one, which was not reached."""
    ranked = sorted(values)
    found = {"low": 0.25, "median": 0.5, "high": 0.75}
    at = {n: ranked[min(len(ranked) - 1, math.ceil(q * len(ranked)) - 1)] for n, q in found.items()}
    return {name: value if math.isfinite(value) else None for name, value in at.items()}


def speed_up(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Quartiles over seeds of one worker's seconds divided by those of several workers.

    Args:
        runs: Results of `search_methods.workers_seconds`, one for each seed.
    """
    one, *more = map(str, WORKERS)
    return {
        kind: {
            workers: quartiles([run[one][kind] / run[workers][kind] for run in runs])
            for workers in more
        }
        for kind in ("end", "end_with_teacher")
    }
