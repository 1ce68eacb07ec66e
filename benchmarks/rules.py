"""Which quantile of gains and which noise margin should the skyline pruner use?

The whole space of each table is searched in random order, with each pair of settings: how much
training pruning saves, and how much of the front it loses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean
from typing import Any

from benchmarks import common
from benchmarks.draws import random_draw
from benchmarks.search_methods import BUDGETS, WHOLE_SPACE, load, run_method
from tasearch.config.search_section import SearchSection

QUANTILES, MARGINS = (0.8, 0.9, 1.0), (0.0, 0.5, 1.0, 2.0)


def measure(name: str, pool: ProcessPoolExecutor, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Means over seeds on one table, for each pair of settings.

    Args:
        name: Name of the table.
        pool: Processes that search.
        seeds: Seeds of noise and order.
    """

    draws = {seed: random_draw(load(name).replicates, seed) for seed in seeds}

    def searched(method: str, search: dict[str, float] | None) -> list[dict[str, Any]]:
        jobs = [
            pool.submit(run_method, name, method, draw, seed, search, WHOLE_SPACE)
            for seed, draw in draws.items()
        ]
        return [job.result() for job in jobs]

    unpruned = [run["paid"][-1] for run in searched("random, unpruned", None)]
    for quantile, margin in itertools.product(QUANTILES, MARGINS):
        search = {"gain_quantile": quantile, "noise_margin": margin}
        runs = searched("random", search)
        pairs = zip(runs, unpruned, strict=True)
        yield {
            "table": name,
            **search,
            **{
                key: fmean(run[key] for run in runs)
                for key in ("front_pruned", "front_pruned_beyond_noise")
            },
            "volume_lost": fmean(run["regrets"][-1] for run in runs),
            "cost": fmean(run["paid"][-1] / cost for run, cost in pairs),
            "pruned": fmean(run["pruned"] / run["trials"] for run in runs),
        }


def shown(rule: dict[str, Any]) -> list[Any]:
    """The row of a pair of settings in the output."""
    shares = ("pruned", "cost", "front_pruned", "front_pruned_beyond_noise")
    cells = [f"{rule[key]:.1%}" for key in shares]
    settings = [rule["table"], rule["gain_quantile"], rule["noise_margin"]]
    return [*settings, *cells, f"{rule['volume_lost']:.3%}"]


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--tables", nargs="+", default=[*BUDGETS], help="tables to search")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--processes", type=int, default=2, help="searches at the same time")
    common.add_out_option(parser, "rules.json")
    args = parser.parse_args()
    provenance, default = common.provenance(args), SearchSection()
    with common.single_threaded(args.processes) as pool:
        rules = [rule for name in args.tables for rule in measure(name, pool, range(args.seeds))]
    result = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "default": {"gain_quantile": default.gain_quantile, "noise_margin": default.noise_margin},
        "rules": rules,
    }
    common.write_json(args.out, result)
    head = ["table", "quantile", "margin", "pruned", "cost", "front pruned", "beyond noise"]
    print(common.table([*head, "hypervolume lost"], [shown(rule) for rule in rules]))


if __name__ == "__main__":
    main()
