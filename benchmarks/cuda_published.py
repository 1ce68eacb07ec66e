"""The part of `benchmarks.cuda` that repeats a published experiment as a study."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tasearch
from benchmarks import common
from benchmarks.cuda_bench import CudaBench
from tasearch.api.running import run_events
from tasearch.config.run_options import RunOptions
from tasearch.runs.events import SearchFinished
from tasearch.runs.records import TrialRecord

PUBLISHED = {"no KD": 70.16, "direct": 72.57, "one assistant": 73.51}  # 1902.03393, best of each
STUDIES = ("takd", "takd-dist", "takd-dense")


def published(bench: CudaBench, name: str) -> dict[str, Any]:
    """Run a study of the published experiment, or continue it, for some minutes.

    Args:
        bench: Where it runs, and for how long.
        name: One of `STUDIES`.
    """
    study = tasearch.load_study(common.ROOT / f"studies/{name}.toml")
    path = str((common.ROOT / bench.args.data).resolve())
    study = study.model_copy(update={"data": study.data.model_copy(update={"path": path})})
    end = time.monotonic() + 60 * bench.args.minutes
    options = RunOptions(runs_dir=bench.args.runs, device=bench.device.type)
    events = run_events(study, options)
    finished = False
    for event in events:
        finished = isinstance(event, SearchFinished)
        if time.monotonic() > end:
            break
    events.close()
    run = tasearch.Run.open(Path(bench.args.runs) / name)
    found: dict[str, Any] = {
        "over": finished,
        "published": PUBLISHED,
        "seconds_of_hops": sum(e["seconds"] for e in run.directory.events() if e["event"] == "end"),
        "chains": chains(run.trials),
    }
    for chain, values in found["chains"].items():
        print(f"{chain}: {100 * values['mean']:.2f} ± {100 * values['deviation']:.2f}")
    print("finished" if finished else "not finished: the same command continues it")
    return found


def chains(trials: Sequence[TrialRecord]) -> dict[str, dict[str, Any]]:
    """Validation accuracies of each chain's replicates, by widths and loss."""
    found = {}
    for trial in trials:
        if trial.state == "complete" and not trial.free:
            assert trial.recipe is not None
            widths = "-".join(map(str, trial.chain))
            found[f"{widths} {trial.recipe['student']['loss']}"] = {
                "accuracies": trial.accuracies,
                "mean": statistics.fmean(trial.accuracies),
                "deviation": statistics.stdev(trial.accuracies),
            }
    return found
