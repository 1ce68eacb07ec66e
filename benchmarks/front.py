"""The front and the verdicts of a finished run, as numbers and as the figures of its page.

    python -m benchmarks.front runs/digits --seconds 60

writes studies/digits-front.json, -front.svg and -assistants.svg, and -verdicts.json if the run was
confirmed. The seconds are those of the whole command that made the run, which the run itself does
not know. Figures need kaleido and a Chrome or Chromium.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from pathlib import Path
from typing import Any

import tasearch
from benchmarks import common
from tasearch.report.assistants_figure import assistants_figure
from tasearch.report.front_figure import front_figure
from tasearch.report.info import report_info
from tasearch.runs.verdict_file import FILE

WIDTH = 860  # pixels
PACKAGES = ("torch", "optuna", "onnxruntime", "scikit-learn")


def facts(run: tasearch.Run, seconds: float) -> dict[str, Any]:
    """What is stored of a run.

    Args:
        run: The finished run.
        seconds: Wall-clock time of the command that made it.
    """
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
    parser = common.parser(__doc__)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--seconds", type=float, required=True, help="of the command that made it")
    args = parser.parse_args()
    run = tasearch.Run.open(args.run)
    info = report_info(run)
    place = common.ROOT / "studies" / run.manifest.study.name
    common.write_json(place.with_name(f"{place.name}-front.json"), facts(run, args.seconds))
    for name, figure in (
        ("front", front_figure(info.view)),
        ("assistants", assistants_figure(info.gains)),
    ):
        figure.write_image(place.with_name(f"{place.name}-{name}.svg"), width=WIDTH)
    if run.confirmations:
        verdicts = json.loads((run.path / FILE).read_text("utf-8"))
        common.write_json(place.with_name(f"{place.name}-verdicts.json"), verdicts)


if __name__ == "__main__":
    main()
