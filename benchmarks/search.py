"""What does it cost to find the front, beside plain Optuna and others?

Searches are replayed on exhaustive tables: no training, but the code of `tasearch run`. Each seed
draws its own noise (which replicates it sees, with replacement) and its own proposals. Costs are
training FLOPs beyond the teacher, who is given; regret is the share of the true front's hypervolume
that is missing.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.stats import wilcoxon

from benchmarks import common
from benchmarks.baselines import HopCosts, mo_asha, oracle, plain_optuna
from benchmarks.replay import replay, restudied
from benchmarks.table import Table
from tasearch.runs.directory import Manifest
from tasearch.runs.records import TrialRecord
from tasearch.runs.trial_attributes import chain_of

TABLES = common.ROOT / "benchmarks/tables"
BUDGETS = {"digits": 12, "mnist": 8}  # the widest student that the budget admits
REGRET = 0.01
GRID = 60  # costs, and moments, at which regrets are kept
WORKERS, MAX_CONCURRENT = (1, 4, 16), 64  # of the speed-up
LEVELS = (0.05, 0.02, 0.01, 0.005, 0.002)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to search.

    Args:
        trials: at most; 0 for the whole space.
        search: keys of [search].
        baseline: instead of tasearch's driver.
    """

    trials: int
    search: Mapping[str, Any] | None = None
    baseline: Callable[[Table, Manifest, int, int], HopCosts] | None = None


WAYS = {
    "plain": Way(trials=250, baseline=plain_optuna),
    "mo-asha": Way(trials=250, baseline=mo_asha),
    "random, unpruned": Way(trials=400, search={"sampler": "random", "pruner": "none"}),
    "tpe": Way(trials=80, search={"sampler": "tpe"}),
    "nsga2": Way(trials=200, search={"sampler": "nsga2"}),
    "gp": Way(trials=80, search={"sampler": "gp"}),
    "random": Way(trials=400, search={"sampler": "random"}),
    "brute": Way(trials=200, search={"sampler": "brute"}),
    "ehvi": Way(trials=0, search={}),  # the defaults
    "ehvi, unpruned": Way(trials=400, search={"pruner": "none"}),
}
ARMS = {  # letter: words, way, whether hops are shared
    "a": ("plain Optuna: no reuse, no pruning, no budget", "plain", False),
    "b": ("plain Optuna with reuse", "plain", True),
    "c": ("random with reuse", "random, unpruned", True),
    "d": ("MO-ASHA with true ranks, with reuse", "mo-asha", True),
    "e1": ("TPE with reuse and skyline", "tpe", True),
    "e2": ("NSGA-II with reuse and skyline", "nsga2", True),
    "e3": ("GP with reuse and skyline", "gp", True),
    "e4": ("random with reuse and skyline", "random", True),
    "e5": ("brute force with reuse and skyline", "brute", True),
    "f": ("tasearch: ehvi with reuse and skyline", "ehvi", True),
    "g1": ("ehvi with reuse, no pruning", "ehvi, unpruned", True),
    "g2": ("ehvi with skyline, no reuse", "ehvi", False),
    "g3": ("ehvi, no reuse, no pruning", "ehvi, unpruned", False),
}


@functools.cache
def load(name: str) -> Table:
    return Table.load(TABLES / f"{name}.json.gz")


def limits(table: Table, name: str) -> dict[str, Any]:
    return {"max_params": table.manifest.measured[BUDGETS[name]].params}


def run_way(
    name: str, way_name: str, seed: int, search: Mapping[str, Any] | None = None, trials: int = 0
) -> dict[str, Any]:
    """One seed of one way on one table.

    Args:
        name: of the table.
        way_name: of the way.
        seed: of noise and proposals.
        search: keys in place of the way's.
        trials: in place of the way's, if not 0.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of samplers that call themselves experimental
    way, table = WAYS[way_name], load(name).drawn(seed)
    keys = {**(way.search or {}), **(search or {})}
    manifest = restudied(table, keys, seed, limits(table, name))
    trials = trials or way.trials or table.space(manifest).size
    begun = time.perf_counter()
    records: list[TrialRecord] = []
    given = given_s = 0.0  # the teacher's, which baselines leave out
    if way.baseline is not None:
        steps = way.baseline(table, manifest, seed, trials).steps
    else:
        replayed = replay(table, manifest, trials=trials)
        steps, records = replayed.steps, replayed.trials
        given = table.cost(table.teacher_hop, manifest)
        given_s = table[table.teacher_hop].seconds
    wall = time.perf_counter() - begun
    best = table.best_volume(manifest)
    return {
        "paid": [step.paid - given for step in steps],
        "unshared": [step.unshared - step.proposals * given for step in steps],
        "seconds": [step.seconds - given_s for step in steps],
        "regrets": [1 - step.volume / best for step in steps],
        "wall_ms_a_trial": 1000 * wall / len(steps),
        **(front_found(table, manifest, records) if records else {}),
    }


def front_found(
    table: Table, manifest: Manifest, records: Sequence[TrialRecord]
) -> dict[str, float]:
    """How much of the true front was trained to its end, and how much of it was pruned.

    Beyond noise is pruned what ends above every finished student no larger and no slower by more
    than a standard deviation of the noise.
    """
    ended, pruned = set(), set()
    for record in records:
        *_, hop = chain_of(asdict(record), table.teacher).hops()
        place = hop.model.width, table.end(hop)
        (ended if record.state == "complete" else pruned).add(place)
    found = lost = beyond = 0
    front = table.front(manifest).members
    for member in front:
        place = member.chain[-1], member.accuracy
        if place in ended:
            found += 1
        elif place in pruned:
            lost += 1
            sizes = ((manifest.measured[width], accuracy) for width, accuracy in ended)
            rivals = [
                accuracy
                for size, accuracy in sizes
                if size.params <= member.params and size.latency_ms <= member.latency_ms
            ]
            beyond += member.accuracy - max(rivals, default=0.0) > table.noise()
    return {
        "recall": found / len(front),
        "front_pruned": lost / len(front),
        "front_pruned_beyond_noise": beyond / len(front),
        "pruned": sum(record.state == "pruned" for record in records),
        "trials": len(records),
    }


def cost_to(run: Mapping[str, Any], regret: float, of: str = "paid") -> float:
    """What a run had cost when its regret was reached; infinite where it was not."""
    for cost, found in zip(run[of], run["regrets"], strict=True):
        if found <= regret:
            return float(cost)
    return math.inf


def summarize(
    runs: list[dict[str, Any]], shared: bool, grids: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, Any]:
    """Quartiles over seeds; against seconds only where hops are shared, as they are simulated."""
    of = "paid" if shared else "unshared"
    to = {str(level): quartiles([cost_to(run, level, of) for run in runs]) for level in LEVELS}
    to_s = {
        str(level): quartiles([cost_to(run, level, "seconds") for run in runs]) for level in LEVELS
    }
    curves = {"cost": of} | ({"seconds": "seconds"} if shared else {})
    summary: dict[str, Any] = {
        "seeds": len(runs),
        "trials": quartiles([len(run["regrets"]) for run in runs]),
        "cost_to_regret": to,
        "seconds_to_regret": to_s if shared else None,
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
    }
    for key in ("recall", "front_pruned", "front_pruned_beyond_noise"):
        if key in runs[0]:
            values = [run[key] for run in runs]
            summary[key] = quartiles(values) | {"mean": statistics.fmean(values)}
    if "pruned" in runs[0]:
        summary["pruned_share"] = quartiles([run["pruned"] / run["trials"] for run in runs])
    return summary


def band(curves: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Quartiles at each place of a grid."""
    found = np.quantile(np.array(curves), [0.25, 0.5, 0.75], axis=0)
    names = ("low", "median", "high")
    return {n: [round(float(v), 5) for v in row] for n, row in zip(names, found, strict=True)}


def grid(values: Sequence[float]) -> np.ndarray[Any, Any]:
    """Evenly on a logarithmic axis up to the largest; over five decades at most."""
    least = min(value for value in values if value > 0)
    return np.geomspace(max(least, max(values) / 1e5), max(values), GRID)


def regret_at(run: Mapping[str, Any], grid: np.ndarray[Any, Any], of: str) -> list[float]:
    """The regret when so much was paid; 1 before the first trial, the last one after the end."""
    places = np.searchsorted(run[of], grid, side="right")
    return [1.0 if place == 0 else run["regrets"][place - 1] for place in places]


def quartiles(values: Sequence[float]) -> dict[str, float | None]:
    """Infinite ones, which are not reached, as None."""
    ranked = sorted(values)
    found = {"low": 0.25, "median": 0.5, "high": 0.75}
    at = {n: ranked[min(len(ranked) - 1, math.ceil(q * len(ranked)) - 1)] for n, q in found.items()}
    return {name: value if math.isfinite(value) else None for name, value in at.items()}


def holm(ours: list[float], others: Mapping[str, list[float]]) -> dict[str, float]:
    """Paired Wilcoxon tests of our costs against each other arm's, adjusted by Holm's method.

    What was not reached counts as dearer than all that was.
    """
    finite = [v for values in (ours, *others.values()) for v in values if math.isfinite(v)]
    cap = 2 * max(finite)
    raw = {}
    for name, values in others.items():
        pairs = zip(ours, values, strict=True)
        differences = [min(a, cap) - min(b, cap) for a, b in pairs]
        raw[name] = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
    adjusted, worst = {}, 0.0
    for rank, name in enumerate(sorted(raw, key=raw.__getitem__)):
        worst = max(worst, min(1.0, raw[name] * (len(raw) - rank)))
        adjusted[name] = worst
    return adjusted


def workers_seconds(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Simulated seconds of the same search by number of workers, the teacher's included or not."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = load(name).drawn(seed)
    manifest = restudied(table, {"max_concurrent": MAX_CONCURRENT}, seed, limits(table, name))
    trials = table.space(manifest).size
    given_s = table[table.teacher_hop].seconds
    found = {}
    for count in WORKERS:
        whole = replay(table, manifest, trials=trials, workers=count).steps[-1].seconds
        found[str(count)] = {"end": whole - given_s, "end_with_teacher": whole}
    return found


def speed_up(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Quartiles over seeds of one worker's seconds over those of more."""
    one, *more = map(str, WORKERS)
    return {
        kind: {
            workers: quartiles([run[one][kind] / run[workers][kind] for run in runs])
            for workers in more
        }
        for kind in ("end", "end_with_teacher")
    }


def kept(folder: Path, function: Callable[..., Any], *args: Any) -> Any:
    """A function's result, from the folder where it is there already."""
    file = folder / "-".join(map(str, (function.__name__, *args)))
    if not file.exists():
        common.write_json(file, function(*args))
    return json.loads(file.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=[*BUDGETS])
    parser.add_argument("--skip", nargs="+", default=[], choices=[*WAYS], help="ways to leave out")
    parser.add_argument("--runs", type=Path, help="folder that keeps each search, to go on from")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "search.json")
    args = parser.parse_args()
    known = json.loads(args.out.read_text("utf-8"))["tables"] if args.out.exists() else {}
    result: dict[str, Any] = {
        "question": (__doc__ or "").splitlines()[0],
        "arms": {arm: words for arm, (words, _, _) in ARMS.items()},
        "tables": known,  # those that are not measured now stay as they were
    }
    with tempfile.TemporaryDirectory() as folder, common.single_threaded(args.processes) as pool:
        submit = functools.partial(pool.submit, kept, args.runs or Path(folder))
        for name in args.tables:
            result["tables"][name] = one_table(name, args, submit)
            common.write_json(args.out, result)
    show(result)


def one_table(
    name: str, args: argparse.Namespace, submit: Callable[..., Future[Any]]
) -> dict[str, Any]:
    table = load(name)
    manifest = restudied(table, {}, 0, limits(table, name))
    runs = {}
    provenance = common.provenance(args)
    for way in WAYS:
        if way in args.skip:
            continue
        begun = time.perf_counter()
        jobs = [submit(run_way, name, way, seed) for seed in range(args.seeds)]
        runs[way] = [job.result() for job in jobs]
        print(f"{name}, {way}: {time.perf_counter() - begun:.0f} s", flush=True)
    oracles = [submit(oracle_cost, name, seed) for seed in range(args.seeds)]
    seconds = [submit(workers_seconds, name, seed) for seed in range(args.seeds)]
    every = [run for found in runs.values() for run in found]
    grids = {
        "cost": grid([cost for run in every for cost in run["unshared"]]),
        "seconds": grid([moment for run in every for moment in run["seconds"]]),
    }
    to = {
        arm: [cost_to(run, REGRET, "paid" if shared else "unshared") for run in runs[way]]
        for arm, (_, way, shared) in ARMS.items()
        if way in runs
    }
    return {
        "provenance": provenance,
        "chains": table.space(manifest).size,
        "hops": len(table),
        "front": [
            {"chain": m.chain, "accuracy": m.accuracy, "params": m.params}
            for m in table.front(manifest).members
        ],
        "noise": table.noise(),
        "grid": {kind: [float(f"{v:.4g}") for v in found] for kind, found in grids.items()},
        "arms": {
            arm: summarize(runs[way], shared, grids)
            for arm, (_, way, shared) in ARMS.items()
            if way in runs
        },
        "costs_to_regret": {
            arm: [cost if math.isfinite(cost) else None for cost in costs]
            for arm, costs in to.items()
        },
        "holm_p": holm(to["f"], {arm: costs for arm, costs in to.items() if arm != "f"}),
        "oracle_cost_to_regret": quartiles([job.result() for job in oracles]),
        "speed_up": speed_up([job.result() for job in seconds]),
    }


def oracle_cost(name: str, seed: int) -> float:
    table = load(name).drawn(seed)
    return oracle(table, restudied(table, {}, seed, limits(table, name)), REGRET)


def times(found: Mapping[str, Any], arm: str) -> str:
    """How many times our median cost to the regret another arm's is; at least, where most of its
    seeds ended before."""
    ours, summary = found["arms"]["f"], found["arms"][arm]
    base = ours["cost_to_regret"][str(REGRET)]["median"]
    own = summary["cost_to_regret"][str(REGRET)]["median"]
    if not base:
        return "-"
    return f"{own / base:.1f}" if own else f"> {summary['cost_at_end']['median'] / base:.1f}"


def show(result: Mapping[str, Any]) -> None:
    head = ["cost to 1 % regret", "low", "median", "high", "times f", "reached", "end", "cut"]
    for name, found in result["tables"].items():
        print(f"\n{name}: {found['chains']} chains, {found['hops']} hops")
        rows = []
        for arm, summary in found["arms"].items():
            to = summary["cost_to_regret"][str(REGRET)]
            rows.append(
                [
                    f"{arm}: {result['arms'][arm]}",
                    *(f"{to[q]:.3g}" if to[q] else "-" for q in ("low", "median", "high")),
                    times(found, arm),
                    f"{summary['reached'][str(REGRET)]}/{summary['seeds']}",
                    f"{summary['regret_at_end']['median']:.2%}",
                    f"{summary.get('front_pruned_beyond_noise', {}).get('mean', 0):.1%}",
                    f"{summary['wall_ms_a_trial']['median']:.0f}",
                    f"{found['holm_p'].get(arm, 1):.1g}",
                ]
            )
        print(common.table([*head, "ms a trial", "p"], rows))
        print(f"oracle: {found['oracle_cost_to_regret']['median']:.3g}")
        for kind, by_workers in found["speed_up"].items():
            medians = {workers: f"{times['median']:.1f}" for workers, times in by_workers.items()}
            print(f"speed-up, {kind}:", medians)


if __name__ == "__main__":
    main()
