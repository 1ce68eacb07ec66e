"""What does it cost to find the front, beside plain Optuna and others?

Searches are replayed on exhaustive tables: no training, but the code of `tasearch run`. Each seed
draws its own noise (which replicates it sees, with replacement) and its own proposals. Costs are
training FLOPs without those of the teacher, which is given; regret is the share of the true front's
hypervolume that is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.replay import manifest_for
from benchmarks.search_methods import (
    ARMS,
    BUDGETS,
    METHODS,
    REGRET,
    limits,
    load,
    oracle_cost,
    run_method,
    workers_seconds,
)
from benchmarks.search_summary import cost_to, grid, quartiles, speed_up, summarize


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
    name: str, args: argparse.Namespace, submit: Callable[..., Future[Any]]
) -> dict[str, Any]:
    """The result of one table.

    Args:
        name: Name of the table.
        args: Arguments of the command line.
        submit: Starts a function with its arguments in another process.
    """
    table, provenance = load(name), common.provenance(args)
    manifest = manifest_for(table, {}, 0, limits(table, name))
    runs = {}
    for method in METHODS:
        if method in args.skip:
            continue
        start = time.perf_counter()
        jobs = [submit(run_method, name, method, seed) for seed in range(args.seeds)]
        runs[method] = [job.result() for job in jobs]
        print(f"{name}, {method}: {time.perf_counter() - start:.0f} s", flush=True)
    oracles = [submit(oracle_cost, name, seed) for seed in range(args.seeds)]
    seconds = [submit(workers_seconds, name, seed) for seed in range(args.seeds)]
    return {
        "provenance": provenance,
        "chains": table.space(manifest).size,
        "hops": len(table),
        "front": [
            {"chain": m.chain, "accuracy": m.accuracy, "params": m.params}
            for m in table.front(manifest).members
        ],
        "noise": table.noise(),
        **summarize_arms(runs),
        "oracle_cost_to_regret": quartiles([job.result() for job in oracles]),
        "speed_up": speed_up([job.result() for job in seconds]),
    }


def summarize_arms(runs: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Quartiles of each arm over seeds, and tests of tasearch against each other arm.

    Args:
        runs: Results of `search_methods.run_method`, by method, one for each seed.
    """
    every = [run for found in runs.values() for run in found]
    grids = {
        "cost": grid([cost for run in every for cost in run["unshared"]]),
        "seconds": grid([moment for run in every for moment in run["seconds"]]),
    }
    arms = {
        arm: (runs[method], shared) for arm, (_, method, shared) in ARMS.items() if method in runs
    }
    to = {
        arm: [cost_to(run, REGRET, "paid" if shared else "unshared") for run in found]
        for arm, (found, shared) in arms.items()
    }
    return {
        "grid": {kind: [float(f"{v:.4g}") for v in found] for kind, found in grids.items()},
        "arms": {arm: summarize(found, shared, grids) for arm, (found, shared) in arms.items()},
        "costs_to_regret": {
            arm: [cost if math.isfinite(cost) else None for cost in costs]
            for arm, costs in to.items()
        },
    }


def cost_ratio(found: Mapping[str, Any], arm: str) -> str:
    """An arm's median cost to the regret, divided by tasearch's; a lower bound, where it is
    unknown because most of its seeds ended before."""
    ours, summary = found["arms"]["f"], found["arms"][arm]
    base = ours["cost_to_regret"][str(REGRET)]["median"]
    own = summary["cost_to_regret"][str(REGRET)]["median"]
    if not base:
        return "-"
    return f"{own / base:.1f}" if own else f"> {summary['cost_at_end']['median'] / base:.1f}"


def show(result: Mapping[str, Any]) -> None:
    """Print the result as tables."""
    head = ["cost to 1 % regret", "low", "median", "high", "over f's", "reached", "final regret"]
    head += ["front pruned", "ms per trial"]
    for name, found in result["tables"].items():
        print(f"\n{name}: {found['chains']} chains, {found['hops']} hops")
        rows = []
        for arm, summary in found["arms"].items():
            to = summary["cost_to_regret"][str(REGRET)]
            rows.append(
                [
                    f"{arm}: {result['arms'][arm]}",
                    *(f"{to[q]:.3g}" if to[q] else "-" for q in ("low", "median", "high")),
                    cost_ratio(found, arm),
                    f"{summary['reached'][str(REGRET)]}/{summary['seeds']}",
                    f"{summary['regret_at_end']['median']:.2%}",
                    f"{summary.get('front_pruned_beyond_noise', {}).get('mean', 0):.1%}",
                    f"{summary['wall_ms_a_trial']['median']:.0f}",
                ]
            )
        print(common.table(head, rows))
        print(f"oracle: {found['oracle_cost_to_regret']['median']:.3g}")
        for kind, by_workers in found["speed_up"].items():
            medians = {workers: f"{ratio['median']:.1f}" for workers, ratio in by_workers.items()}
            print(f"speed-up, {kind}:", medians)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--tables", nargs="+", default=[*BUDGETS], help="tables to search")
    parser.add_argument(
        "--skip", nargs="+", default=[], choices=[*METHODS], help="methods to leave out"
    )
    parser.add_argument(
        "--runs", type=Path, help="folder that keeps each search, so that a later call continues"
    )
    parser.add_argument("--seeds", type=int, default=50, help="number of seeds of each method")
    parser.add_argument("--processes", type=int, default=2, help="searches at the same time")
    common.add_out_option(parser, "search.json")
    args = parser.parse_args()
    known = json.loads(args.out.read_text("utf-8"))["tables"] if args.out.exists() else {}
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "arms": {arm: words for arm, (words, _, _) in ARMS.items()},
        "tables": known,  # tables that are not searched now stay as they were
    }
    with tempfile.TemporaryDirectory() as folder, common.single_threaded(args.processes) as pool:

        def submit(function: Callable[..., Any], *args_: Any) -> Future[Any]:
            return pool.submit(kept, args.runs or Path(folder), function, *args_)

        for name in args.tables:
            result["tables"][name] = search_table(name, args, submit)
            common.write_json(args.out, result)
    show(result)


if __name__ == "__main__":
    main()
