"""How much would a search cost that knows what each chain gives on average, but not its luck?

Nobody can have this: it is told the accuracy of every chain from other replicates, that is from a
whole other training of the table, and the noise. It then takes the largest expected hypervolume
improvement for the training FLOPs, as tasearch does, with hops shared. An oracle that knows the
table also knows the luck. What the first costs over the second is what luck alone takes, with this
rule of choice; a search that must first learn what chains give has to pay more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.baselines import HopCosts, oracle
from benchmarks.replay import manifest_for
from benchmarks.search_methods import BUDGETS, REGRET, limits, load
from benchmarks.table import Table
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.pareto.expected_improvement import expected_improvement
from tasearch.pareto.hypervolume import HypervolumeGrid
from tasearch.runs.directory import Manifest

Lineage = tuple[ModelSpec, ...]


def informed_cost(
    seen: Table, told: Table, manifest: Manifest, noise: float, regret: float
) -> float:
    """Training FLOPs to a regret for a search that is told what other replicates say.

    Args:
        seen: Table with the replicate that it sees.
        told: Table with the others.
        manifest: Manifest with the budget.
        noise: Standard deviation of what it will see around what it is told.
        regret: Share of the front's hypervolume that may be missing.
    """
    costs = HopCosts(seen, manifest, free=True)
    chains = [*seen.space(manifest)]
    hops = {
        hop.canonical_lineage: hop
        for hop in seen.hops(manifest)
        if hop.model.width in manifest.candidates
    }
    grid = HypervolumeGrid(manifest.candidates, manifest.reference_box)
    enough = (1 - regret) * seen.best_volume(manifest)
    needs = [[hop.canonical_lineage for hop in chain.hops()] for chain in chains]
    while costs.volume < enough:
        gains = _gains([h for key, h in hops.items() if key not in costs.found], told, grid, noise)
        rates = [
            sum(gains.get(key, 0.0) for key in keys) / flops
            if (flops := sum(costs.missing(chain).values()))
            else -math.inf
            for chain, keys in zip(chains, needs, strict=True)
        ]
        before = {*costs.found}
        costs.train(chains[int(np.argmax(rates))])
        for key in {*costs.found} - before:
            if key in hops:
                grid.add(hops[key].model.width, seen.end(hops[key]))
    return costs.steps[-1].paid


def _gains(
    hops: Sequence[Hop], told: Table, grid: HypervolumeGrid, noise: float
) -> Mapping[Lineage, float]:
    """Expected hypervolume improvement of hops that were not trained, by lineage."""
    widths = np.array([hop.model.width for hop in hops])
    mean = np.array([told.end(hop) for hop in hops])
    found = expected_improvement(grid, widths, mean, np.full(len(hops), noise)).tolist()
    return dict(zip((hop.canonical_lineage for hop in hops), found, strict=True))


def measure(name: str) -> dict[str, Any]:
    """Costs on one table, one for each replicate that is seen.

    Args:
        name: Name of the table.
    """
    table, costs = load(name), []
    others = table.replicates - 1
    noise = table.noise(1) * math.sqrt(1 + 1 / others)
    for i in range(table.replicates):
        seen = table.seeing((i,))
        told = table.seeing([k for k in range(table.replicates) if k != i])
        manifest = manifest_for(seen, {}, 0, limits(seen, name))
        known = oracle(seen, manifest, REGRET)
        costs.append((informed_cost(seen, told, manifest, noise, REGRET), known))
        print(f"{name}, replicate {i}: {costs[-1][0] / known:.2f}", flush=True)
    ratios = [own / known for own, known in costs]
    return {
        "informed": [own for own, _ in costs],
        "oracle": [known for _, known in costs],
        "over_oracle": {
            "low": min(ratios),
            "median": median(ratios),
            "mean": fmean(ratios),
            "high": max(ratios),
        },
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--tables", nargs="+", default=[*BUDGETS], help="tables to search")
    common.add_out_option(parser, "informed.json")
    args = parser.parse_args()
    provenance = common.provenance(args)
    common.write_json(
        args.out,
        {
            "question": common.question(__doc__),
            "provenance": provenance,
            "regret": REGRET,
            "tables": {name: measure(name) for name in args.tables},
        },
    )


if __name__ == "__main__":
    main()
