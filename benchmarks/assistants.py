"""Is it enough to train assistants for half of their epochs?

Two tables hold the same chains, with assistants that are trained for all their epochs, and for half
of them. Compared are, chain by chain, the student's accuracy and the training FLOPs without the
teacher's; and what a search pays on each table until only 1 % of the hypervolume of the better of
the two fronts is missing.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import optuna

from benchmarks import common
from benchmarks.draws import random_draw
from benchmarks.replay import manifest_for, replay
from benchmarks.search_methods import REGRET, limits, load
from benchmarks.search_summary import cost_to, quartiles
from tasearch.chains.chain import Chain

PAIR = ("mnist", "mnist-short")


def pairs() -> list[tuple[Chain, Chain]]:
    """Chains with assistants, from both tables, paired by their widths."""
    sides = []
    for name in PAIR:
        table = load(name)
        space = table.space(manifest_for(table, {}, 0, limits(table, PAIR[0])))
        sides.append({chain.widths: chain for chain in space if chain.assistants})
    assert sides[0].keys() == sides[1].keys()
    return [(sides[0][widths], sides[1][widths]) for widths in sides[0]]


def by_chain() -> dict[str, Any]:
    """How much more accurate students are behind assistants of half the epochs."""
    found, tables = pairs(), [load(name) for name in PAIR]
    ahead: dict[int, list[float]] = {}
    for full, short in found:
        difference = tables[1].accuracy(short) - tables[0].accuracy(full)
        ahead.setdefault(full.student.width, []).append(difference)
    every = [value for values in ahead.values() for value in values]
    return {
        "chains": len(every),
        "ahead_mean": statistics.fmean(every),
        "ahead_sd_of_chains": statistics.stdev(every),
        "ahead_by_student": {w: statistics.fmean(values) for w, values in ahead.items()},
        "noise_of_one_mean": tables[0].noise(),
        "cost_share_of_all": total(1) / total(0),
    }


def total(side: int) -> float:
    """Training FLOPs of every hop but the teacher's, each counted once.

    Args:
        side: Place of the table in `PAIR`.
    """
    table = load(PAIR[side])
    manifest = manifest_for(table, {}, 0, limits(table, PAIR[0]))
    hops = {hop.canonical_lineage: hop for chain in table.space(manifest) for hop in chain.hops()}
    return sum(table.cost(hop, manifest) for hop in hops.values() if hop != table.teacher_hop)


def search_cost(side: int, seed: int) -> dict[str, float]:
    """What the default search pays, and how large the front's hypervolume is.

    Args:
        side: Place of the table in `PAIR`.
        seed: Seed of noise and proposals; both tables see the same replicates.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = [load(name) for name in PAIR]
    seen = random_draw(tables[0].replicates, seed).seen
    tables = [table.seeing(seen) for table in tables]
    manifests = [manifest_for(table, {}, seed, limits(tables[0], PAIR[0])) for table in tables]
    volumes = [t.best_volume(s) for t, s in zip(tables, manifests, strict=True)]
    table, manifest = tables[side], manifests[side]
    steps = replay(table, manifest, trials=table.space(manifest).size).steps
    best = max(volumes)
    run = {
        "paid": [step.paid for step in steps],
        "regrets": [1 - step.volume / best for step in steps],
    }
    return {"cost": cost_to(run, REGRET), "front": volumes[side] / best}


def searches(seeds: int, processes: int) -> dict[str, dict[str, Any]]:
    """Quartiles over seeds of what the search pays, by table.

    Args:
        seeds: Number of seeds.
        processes: Searches at the same time.
    """
    found = {}
    with common.single_threaded(processes) as pool:
        jobs = {
            name: [pool.submit(search_cost, side, seed) for seed in range(seeds)]
            for side, name in enumerate(PAIR)
        }
        for name, started in jobs.items():
            runs = [job.result() for job in started]
            found[name] = {
                "cost_to_regret": quartiles([run["cost"] for run in runs]),
                "reached": sum(math.isfinite(run["cost"]) for run in runs),
                "front_over_the_better": quartiles([run["front"] for run in runs]),
            }
    return found


def shown(name: str, search: dict[str, Any], seeds: int) -> list[str]:
    """A table's row in the output."""
    cost, front = search["cost_to_regret"], search["front_over_the_better"]
    cells = [f"{cost[q]:.3g}" if cost[q] else "-" for q in ("low", "median", "high")]
    return [name, *cells, f"{search['reached']}/{seeds}", f"{front['median']:.2%}"]


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="number of seeds")
    parser.add_argument("--processes", type=int, default=2, help="searches at the same time")
    common.add_out_option(parser, "assistants.json")
    args = parser.parse_args()
    provenance = common.provenance(args)
    search, chains = searches(args.seeds, args.processes), by_chain()
    result = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "chains": chains,
        "search": search,
    }
    common.write_json(args.out, result)
    rows = [shown(name, found, args.seeds) for name, found in search.items()]
    print(common.table(["cost to 1 % regret", "low", "median", "high", "reached", "front"], rows))
    for key, value in chains.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
