"""Which quantile of gains and which margin should the skyline use?

The whole space of each table, in random order, under the rule with each pair of settings: what is
saved, and what is lost.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.search import BUDGETS, run_way
from tasearch.config.sections import SearchSection

QUANTILES, MARGINS = (0.8, 0.9, 1.0), (0.0, 0.5, 1.0, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=[*BUDGETS])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "rules.json")
    args = parser.parse_args()
    provenance, rows, found = common.provenance(args), [], []
    with common.single_threaded(args.processes) as pool:
        for name in args.tables:
            whole = [
                pool.submit(run_way, name, "random, unpruned", seed, None, 10**6)
                for seed in range(args.seeds)
            ]
            unpruned = [job.result()["paid"][-1] for job in whole]
            for quantile, margin in itertools.product(QUANTILES, MARGINS):
                search = {"gain_quantile": quantile, "noise_margin": margin}
                jobs = [
                    pool.submit(run_way, name, "random", seed, search, 10**6)
                    for seed in range(args.seeds)
                ]
                runs = [job.result() for job in jobs]
                result: dict[str, Any] = {"table": name, **search}
                result |= {
                    key: statistics.fmean(run[key] for run in runs)
                    for key in ("front_pruned", "front_pruned_beyond_noise")
                }
                result["volume_lost"] = statistics.fmean(run["regrets"][-1] for run in runs)
                pairs = zip(runs, unpruned, strict=True)
                result["cost"] = statistics.fmean(run["paid"][-1] / cost for run, cost in pairs)
                result["pruned"] = statistics.fmean(r["pruned"] / r["trials"] for r in runs)
                found.append(result)
                shares = ("pruned", "cost", "front_pruned", "front_pruned_beyond_noise")
                cells = [f"{result[key]:.1%}" for key in shares]
                rows.append([name, quantile, margin, *cells, f"{result['volume_lost']:.3%}"])
    default = SearchSection()
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "provenance": provenance,
        "default": {"gain_quantile": default.gain_quantile, "noise_margin": default.noise_margin},
        "rules": found,
    }
    common.write_json(args.out, result)
    head = ["table", "quantile", "margin", "pruned", "cost", "front cut", "beyond noise", "lost"]
    print(common.table(head, rows))


if __name__ == "__main__":
    main()
