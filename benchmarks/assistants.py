"""Would assistants of half the epochs do?

Two tables of one ladder, whose assistants are trained for all their epochs, and for half of them:
chain by chain, the accuracy of the student and the training beyond the teacher's; and what a search
pays on each until 1 % of the hypervolume is missing that the better of the two fronts has.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from typing import Any

import optuna

from benchmarks import common
from benchmarks.replay import replay, restudied
from benchmarks.search import REGRET, cost_to, limits, load, quartiles
from tasearch.chains.chain import Chain

PAIR = ("mnist", "mnist-short")


def pairs() -> list[tuple[Chain, Chain]]:
    """The chains with assistants of both tables, by their widths."""
    sides = []
    for name in PAIR:
        table = load(name)
        space = table.space(restudied(table, {}, 0, limits(table, PAIR[0])))
        sides.append({chain.widths: chain for chain in space if chain.assistants})
    assert sides[0].keys() == sides[1].keys()
    return [(sides[0][widths], sides[1][widths]) for widths in sides[0]]


def by_chain() -> dict[str, Any]:
    """How far students of cheap assistants are ahead, in accuracy, over chains."""
    found, whole = pairs(), [load(name) for name in PAIR]
    ahead: dict[int, list[float]] = {}
    for full, short in found:
        difference = whole[1].accuracy(short) - whole[0].accuracy(full)
        ahead.setdefault(full.student.width, []).append(difference)
    every = [value for values in ahead.values() for value in values]
    return {
        "chains": len(every),
        "ahead_mean": statistics.fmean(every),
        "ahead_sd_of_chains": statistics.stdev(every),
        "ahead_by_student": {w: statistics.fmean(values) for w, values in ahead.items()},
        "noise_of_one_mean": whole[0].noise(),
        "cost_share_of_all": total(1) / total(0),
    }


def total(side: int) -> float:
    """Training FLOPs of every hop beyond the teacher's, once."""
    table = load(PAIR[side])
    manifest = restudied(table, {}, 0, limits(table, PAIR[0]))
    hops = {hop.canonical_lineage: hop for chain in table.space(manifest) for hop in chain.hops()}
    return sum(table.cost(hop, manifest) for hop in hops.values() if hop != table.teacher_hop)


def search_cost(side: int, seed: int) -> dict[str, float]:
    """What the default search pays; the same replicates are drawn of both tables."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = [load(name).drawn(seed) for name in PAIR]
    snapshots = [restudied(table, {}, seed, limits(tables[0], PAIR[0])) for table in tables]
    volumes = [t.best_volume(s) for t, s in zip(tables, snapshots, strict=True)]
    table, manifest = tables[side], snapshots[side]
    steps = replay(table, manifest, trials=table.space(manifest).size).steps
    given, best = table.cost(table.teacher_hop, manifest), max(volumes)
    run = {
        "paid": [step.paid - given for step in steps],
        "regrets": [1 - step.volume / best for step in steps],
    }
    return {"cost": cost_to(run, REGRET), "front": volumes[side] / best}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "assistants.json")
    args = parser.parse_args()
    provenance, rows, search = common.provenance(args), [], {}
    with common.single_threaded(args.processes) as pool:
        jobs = {
            name: [pool.submit(search_cost, side, seed) for seed in range(args.seeds)]
            for side, name in enumerate(PAIR)
        }
        for name, ones in jobs.items():
            runs = [job.result() for job in ones]
            search[name] = {
                "cost_to_regret": quartiles([run["cost"] for run in runs]),
                "reached": sum(math.isfinite(run["cost"]) for run in runs),
                "front_over_the_better": quartiles([run["front"] for run in runs]),
            }
            cost, front = search[name]["cost_to_regret"], search[name]["front_over_the_better"]
            cells = [f"{cost[q]:.3g}" if cost[q] else "-" for q in ("low", "median", "high")]
            reached = f"{search[name]['reached']}/{len(runs)}"
            rows.append([name, *cells, reached, f"{front['median']:.2%}"])
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "provenance": provenance,
        "chains": by_chain(),
        "search": search,
    }
    common.write_json(args.out, result)
    print(common.table(["cost to 1 % regret", "low", "median", "high", "reached", "front"], rows))
    for key, value in result["chains"].items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
