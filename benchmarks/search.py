"""What does it cost to find the front, beside plain Optuna and others?

Searches are replayed on exhaustive tables: no training, but the code of `tasearch run`. Each search
sees some of the replicates, and has a seed for its proposals. All distinct draws of replicates are
searched, and weighted as `benchmarks.draws` tells: three replicates have 10 distinct draws, however
many seeds there are. Costs are training FLOPs without those of the teacher, which is given; regret
is the share of the true front's hypervolume that is missing, in two views: of what the search sees,
and of what other replicates say.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.draws import MOST_DRAWS, VIEWS, Plan, make_plan
from benchmarks.optional_methods import REGISTRY, check
from benchmarks.replay import manifest_for
from benchmarks.search_methods import (
    ARMS,
    BUDGETS,
    METHODS,
    REGRET,
    TASEARCH,
    limits,
    load,
    oracle_cost,
    run_method,
    workers_seconds,
)
from benchmarks.search_output import show
from benchmarks.search_summary import (
    LEVELS,
    cost_to,
    grid,
    quartiles,
    ratios,
    speed_up,
    summarize,
)
from benchmarks.stored_arms import with_source, with_stored_arms
from benchmarks.table import Table

Submit = Callable[..., Future[Any]]
ORACLE, SPEED_UP = "oracle", "speed-up"
EVERYTHING = [*METHODS, ORACLE, SPEED_UP]


def kept(folder: Path, function: Callable[..., Any], *args: Any) -> Any:
    """A function's result, read from a folder if it is there already, else stored in it.

    Args:
        folder: Folder of results.
        function: Function to call; its result is stored as JSON.
        *args: Arguments of the function.
    """
    file = folder / "-".join(map(str, (function.__name__, *args)))
    if not file.exists():
        common.write_json(file, function(*args))
    return json.loads(file.read_text(encoding="utf-8"))


def search_table(
    name: str,
    args: argparse.Namespace,
    optional: Mapping[str, Any],
    submit: Submit,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The result of one table.

    Args:
        name: Name of the table.
        args: Arguments of the command line.
        optional: Result of `without_missing_packages`.
        submit: Starts a function with its arguments in another process.
        before: The stored result of the table; empty if there is none.
    """
    table, provenance = load(name), {**common.provenance(args), **optional}
    manifest = manifest_for(table, {}, 0, limits(table, name))
    views = {**before.get("views", {})}
    for view in args.views:
        plan = make_plan(view, table.replicates, args.seeds, args.draws)
        stored = with_source(views.get(view, {}), before)
        views[view] = search_view(name, plan, args.methods, submit, stored)
    return {
        "provenance": provenance,
        "chains": table.space(manifest).size,
        "hops": len(table),
        "front": [
            {"chain": m.chain, "accuracy": m.accuracy, "params": m.params}
            for m in table.front(manifest).members
        ],
        "views": views,
    }


def search_view(
    name: str, plan: Plan, methods: list[str], submit: Submit, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """The result of one table in one view.

    Args:
        name: Name of the table.
        plan: Draws and seeds of each method.
        methods: Names of methods; `ORACLE` and `SPEED_UP` as well.
        submit: Starts a function with its arguments in another process.
        stored: The stored result of the view; its arms stay where they are not run now.
    """
    table, first = load(name), next(iter(plan.draws), None)
    if first is None:
        raise SystemExit(f"error: {name}: one replicate has no other to value what it finds")
    runs = {}
    for method in METHODS:
        if method not in methods:
            continue
        start = time.perf_counter()
        jobs = [submit(run_method, name, method, draw, seed) for draw, seed in plan.searches]
        runs[method] = [job.result() for job in jobs]
        print(f"{name}, {method}: {time.perf_counter() - start:.0f} s", flush=True)
    oracle = []
    if ORACLE in methods and not first.valuing:  # what it knows is what it is valued by
        oracles = [submit(oracle_cost, name, draw) for draw in plan.draws]
        oracle = [job.result() for job in oracles for _ in range(plan.seeds)]
    seconds = []
    if SPEED_UP in methods and not first.valuing:
        jobs = [submit(workers_seconds, name, draw, seed) for draw, seed in plan.searches]
        seconds = [job.result() for job in jobs]
    found = {
        "draws": {str(draw): weight for draw, weight in plan.draws.items()},
        "seeds_of_a_draw": plan.seeds,
        "noise": table.noise(len(first.seen)),
        "noise_of_value": table.noise(len(first.valuing or first.seen)),
        **summarize_arms(
            runs, plan, cost_bounds(table.seeing(first.seen), name), oracle, stored.get("grid")
        ),
        "oracle_cost_to_regret": quartiles(oracle, plan.weights) if oracle else None,
        "speed_up": speed_up(seconds, plan.weights) if seconds else {},
    }
    return with_stored_arms(found, stored, plan)


def cost_bounds(table: Table, name: str) -> tuple[float, float]:
    """Training FLOPs of the widest student alone, and of the whole space with shared hops.

    Less than one student's training is no search; where it is counted, the area is mostly the size
    of the student that a method happens to begin with.

    Args:
        table: Table with the replicates of a search.
        name: Its name.
    """
    manifest = manifest_for(table, {}, 0, limits(table, name))
    students = [chain.hop() for chain in table.space(manifest)]
    return (
        max(table.cost(hop, manifest) for hop in students),
        sum(table.cost(hop, manifest) for hop in table.hops(manifest)),
    )


def summarize_arms(
    runs: Mapping[str, list[dict[str, Any]]],
    plan: Plan,
    bounds: tuple[float, float],
    oracle: list[float],
    stored_grid: Mapping[str, list[float]] | None = None,
) -> dict[str, Any]:
    """Quartiles of each arm, and its costs over tasearch's and over the oracle's.

    Args:
        runs: Results of `search_methods.run_method`, by method, one for each search of the plan.
        plan: Draws and seeds.
        bounds: Least and largest cost of the area under the regret.
        oracle: Cost of the oracle to `REGRET` for each search; empty if it was not asked.
        stored_grid: Costs and seconds at which regrets are stored already; None to choose them.
    """
    every = [run for found in runs.values() for run in found]
    grids = {name: np.array(values) for name, values in (stored_grid or {}).items()} or {
        name: grid([value for run in every for value in run[of]]) if every else np.array([])
        for name, of in (("cost", "unshared"), ("seconds", "seconds"))
    }
    arms = {
        arm: (runs[method], shared) for arm, (_, method, shared) in ARMS.items() if method in runs
    }
    costs = {
        arm: {v: [cost_to(r, v, "paid" if shared else "unshared") for r in found] for v in LEVELS}
        for arm, (found, shared) in arms.items()
    }
    summaries = {}
    for arm, (found, shared) in arms.items():
        over = partial(ratios, plan)
        ours = costs.get(TASEARCH)
        summaries[arm] = {
            **summarize(found, plan, shared, grids, bounds),
            "over_tasearch": {str(v): over(costs[arm][v], ours[v]) for v in LEVELS} if ours else {},
            "over_oracle": over(costs[arm][REGRET], oracle) if oracle else None,
        }
    return {
        "floor": quartiles([run["floor"] for run in every[: len(plan.searches)]], plan.weights),
        "grid": {kind: [float(f"{v:.4g}") for v in found] for kind, found in grids.items()},
        "area_from_to": bounds,
        "arms": summaries,
        "costs_to_regret": {
            arm: {
                str(v): [cost if math.isfinite(cost) else None for cost in found[v]] for v in LEVELS
            }
            for arm, found in costs.items()
        },
    }


def parse_arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--tables", nargs="+", default=[*BUDGETS], help="tables to search")
    parser.add_argument(
        "--methods", nargs="+", default=EVERYTHING, choices=EVERYTHING, help="what to run"
    )
    parser.add_argument(
        "--runs", type=Path, help="folder that keeps each search, so that a later call continues"
    )
    parser.add_argument(
        "--views", nargs="+", default=[*VIEWS], choices=VIEWS, help="what fronts are valued by"
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=MOST_DRAWS,
        help="distinct draws of replicates up to which all are searched; of more, as many random "
        "ones",
    )
    parser.add_argument("--seeds", type=int, default=3, help="search seeds of each draw")
    parser.add_argument("--processes", type=int, default=2, help="searches at the same time")
    common.add_out_option(parser, "search.json")
    parser.add_argument(
        "--optunahub-registry",
        type=Path,
        help="copy of OptunaHub's registry; without it, the pruner is downloaded",
    )
    return parser.parse_args()


def without_missing_packages(args: argparse.Namespace) -> dict[str, Any]:
    """Take methods from the arguments whose optional packages are missing, and say so.

    Args:
        args: Arguments of the command line.

    Returns:
        Versions of the optional packages, and why methods are skipped, for the provenance.
    """
    if args.optunahub_registry:  # for the processes that search, too
        os.environ[REGISTRY] = str(args.optunahub_registry.resolve())
    packages, skipped = check(
        {name: needs for name in args.methods if name in METHODS and (needs := METHODS[name].needs)}
    )
    for method, reason in skipped.items():
        print(f"skipped {method}: {reason}", flush=True)
    args.methods = [name for name in args.methods if name not in skipped]
    if not args.methods:
        raise SystemExit("error: no method is left to run")
    return {"packages": packages, "skipped": skipped}


def main() -> None:
    args = parse_arguments()
    optional = without_missing_packages(args)
    stored = json.loads(args.out.read_text("utf-8"))["tables"] if args.out.exists() else {}
    known = {name: found for name, found in stored.items() if "views" in found}  # of today's format
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "arms": {arm: words for arm, (words, _, _) in ARMS.items()},
        "tables": known,  # tables that are not searched now stay as they were
    }
    with tempfile.TemporaryDirectory() as folder, common.single_threaded(args.processes) as pool:

        def submit(function: Callable[..., Any], *args_: Any) -> Future[Any]:
            return pool.submit(kept, args.runs or Path(folder), function, *args_)

        for name in args.tables:
            before = known.get(name, {})
            result["tables"][name] = search_table(name, args, optional, submit, before)
            common.write_json(args.out, result)
    show(result, args.tables)


if __name__ == "__main__":
    main()
