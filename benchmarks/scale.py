"""What do 10,000 trials cost the search itself, in time and memory, and how long until it goes on?

Nothing is trained: a made-up function of the chain answers at once. All the rest is the search's
own: proposals, Optuna's journal on the disk, pruning, free candidates, 16 rungs, up to 4
assistants.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import common
from benchmarks.replay import Lookup, Shelf, make_driver
from benchmarks.table import Entry, Table
from tasearch.chains.hop import Hop
from tasearch.chains.keys import derived_seed
from tasearch.config.study_file import parse_study
from tasearch.pareto.measurement import Measurement
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.events import TrialDone, TrialStarted
from tasearch.runs.journal import open_study
from tasearch.runs.trial_attributes import to_record
from tasearch.search.driver import Driver

EPOCHS = RUNGS = 16
ASSISTANTS = [96, 80, 64, 48, 40, 32, 24, 20, 16, 12]
STUDENTS = [16, 12, 8, 6, 4, 3, 2]
LOSSES = ["kd", "dist", "dkd", "kd-std"]


class MadeUp(Table):
    """Accuracies that rise with size, fall with the gap to the ancestor, and differ by chance."""

    def __init__(self) -> None:
        study = parse_study(
            {
                "name": "scale",
                "teacher": {"width": 128, "epochs": EPOCHS},
                "assistants": {"max": 4, "widths": ASSISTANTS, "epochs": EPOCHS},
                "student": {
                    "widths": STUDENTS,
                    "loss": LOSSES,
                    "temperature": [2.0, 4.0],  # else there are fewer than 10,000 chains
                    "epochs": EPOCHS,
                },
                "search": {"rungs": RUNGS},
            }
        )
        measured = {
            width: Measurement(
                width=width,
                params=20 * width**2,
                bytes=80 * width**2,
                flops=40 * width**2,
                latency_ms=0.01 + 1e-4 * width,
                latency_p95_ms=0.01 + 1e-4 * width,
            )
            for width in study.widths
        }
        self.manifest = Manifest(
            study=study,
            inputs={},
            samples=1000,
            validation=1000,
            space=0,
            measured=measured,
            setup={"num_classes": 10},
            modes={},
            device="none",
        )
        self._numbers = {}

    def number(self, recipe: Any) -> int:
        return self._numbers.setdefault(recipe, len(self._numbers))

    def __getitem__(self, hop: Hop) -> Entry:
        words = [f"{p.width} {self.number(p.recipe)}" for p in hop.canonical_lineage if p.recipe]
        luck = derived_seed(*words) / 2**63
        size = math.log(hop.model.width)
        gap = math.log(hop.lineage[-2].width) - size if hop.ancestor else 0.0
        end = 0.95 - 0.4 * math.exp(-size) - 0.01 * (gap - 1) ** 2 + 0.02 * luck
        curve = tuple(end * (1 - math.exp(-0.4 * epoch)) for epoch in range(1, EPOCHS + 1))
        return Entry(seconds=1.0, curves=(curve,))


def timed(call: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The same, its durations kept."""

    def kept(*args: Any) -> Any:
        begun = time.perf_counter()
        try:
            return call(*args)
        finally:
            seconds.append(time.perf_counter() - begun)

    return kept


def measure(trials: int) -> dict[str, Any]:
    """In this process, on one thread."""
    table = MadeUp()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        run, shelf = RunDirectory(Path(folder)), Shelf(table, RUNGS)
        open_optuna = partial(open_study, run, "scale")

        def driver_of(count: int) -> Driver:
            return make_driver(table.manifest, shelf, Lookup(shelf, 1), open_optuna, count)

        begun = time.perf_counter()
        driver = driver_of(trials)
        marks = [time.perf_counter()]
        proposals: list[float] = []
        driver.trials.ask = timed(driver.trials.ask, proposals)  # type: ignore[method-assign]
        for event in driver.events():
            if isinstance(event, TrialDone) and not event.record.free:
                marks.append(time.perf_counter())
        each = np.diff(marks) * 1000
        peak = common.peak_mib()["process"]
        states: dict[str, int] = {}
        for record in map(to_record, driver.trials.all()):
            name = "free" if record.free else record.state
            states[name] = states.get(name, 0) + 1
        again = time.perf_counter()
        driver = driver_of(trials + 1)
        events = driver.events()
        while not isinstance(next(events), TrialStarted):
            pass
        start_up = time.perf_counter() - again
    tail = each[-min(100, len(each) // 2) :]
    return {
        "trials": trials,
        "space": driver.space.size,
        "states": states,
        "ms_a_trial": {
            "mean": float(each.mean()),
            "median": float(np.median(each)),
            "p95": float(np.quantile(each, 0.95)),
            "mean_of_the_last": float(tail.mean()),
        },
        "ms_a_proposal": {  # of the last, after the others are done
            "median": float(np.median(proposals[-len(tail) :])) * 1000,
            "p95": float(np.quantile(proposals[-len(tail) :], 0.95)) * 1000,
        },
        "peak_mib": peak,
        "start_up_s": start_up,
        "in_all_s": marks[-1] - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--out", type=Path, default=common.RESULTS / "scale.json")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    provenance = common.provenance(args)
    found = [common.fresh(measure, trials)[0] for trials in args.trials]
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "provenance": provenance,
        "runs": found,
    }
    common.write_json(args.out, result)
    head = ["trials", "ms a trial", "median", "p95", "last", "a proposal", "p95"]
    head += ["peak MiB", "start-up, s"]
    rows = []
    for run in found:
        ms = run["ms_a_trial"]
        names, proposal = ("mean", "median", "p95", "mean_of_the_last"), run["ms_a_proposal"]
        each = [f"{ms[name]:.1f}" for name in names]
        each += [f"{proposal[name]:.1f}" for name in ("median", "p95")]
        rows.append([run["trials"], *each, f"{run['peak_mib']:.0f}", f"{run['start_up_s']:.1f}"])
    print(common.table(head, rows))


if __name__ == "__main__":
    main()
