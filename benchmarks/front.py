"""The front of a finished run as a picture and as figures, for the README.

`python -m benchmarks.front runs/digits --seconds 60` writes studies/digits-front.svg and .json; the
seconds are those of the whole command that made the run, for a run does not know them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from collections import Counter
from typing import Any

import tasearch
from benchmarks import common
from tasearch.report.figures import figures
from tasearch.report.info import report_info

SIZE = {"width": 860, "height": 440}
PACKAGES = ("torch", "optuna", "onnxruntime", "scikit-learn")


def picture(run: tasearch.Run) -> str:
    """The front of accuracy against parameters."""
    return common.svg(figures(report_info(run))["front-params"], **SIZE)


def facts(run: tasearch.Run, seconds: float) -> dict[str, Any]:
    costs = run.costs
    return {
        "study": f"{run.manifest.study.name}.toml",
        "latency": run.manifest.device,
        "machine": common.machine(),
        "seconds_in_all": seconds,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "trials": dict(Counter(trial.state for trial in run.trials)),
        "chains_within_budget": run.manifest.space,
        "hops": {"trained": costs.hops, "needed": costs.uses},
        "training_flops": {
            "paid": costs.paid,
            "without_sharing": costs.unshared,
            "without_pruning": costs.unpruned,
        },
        "front": [
            {
                "chain": member.chain,
                "loss": member.recipe["student"]["loss"],
                "accuracy": member.accuracy,
                "params": member.params,
                "bytes": member.bytes,
                "latency_ms": member.latency_ms,
                "trial": member.trial,
            }
            for member in run.front.members
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a finished run")
    parser.add_argument("--seconds", type=float, required=True, help="of the command that made it")
    args = parser.parse_args()
    run = tasearch.Run.open(args.run)
    target = common.ROOT / "studies" / f"{run.manifest.study.name}-front"
    target.with_suffix(".svg").write_text(picture(run) + "\n", encoding="utf-8")
    content = json.dumps(facts(run, args.seconds), indent=1)
    target.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
