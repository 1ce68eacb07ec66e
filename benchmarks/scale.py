"""What do 10,000 trials cost the search itself in time and memory, and how fast does it resume?

Nothing is trained: a formula gives the accuracy of each chain at once. All the rest is the real
search: proposals, Optuna's journal on disk, pruning, free candidates, 16 rungs, up to 4 assistants.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import common
from benchmarks.processes import peak_mib
from benchmarks.replay import TableArchive, TableEngine, make_driver
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
    """A table of made-up accuracies: they rise with size, fall with the gap in size, and vary."""

    def __init__(self) -> None:
        study = parse_study(
            {
                "name": "scale",
                "teacher": {"width": 128, "epochs": EPOCHS},
                "assistants": {"max": 4, "widths": ASSISTANTS, "epochs": EPOCHS},
                "student": {
                    "widths": STUDENTS,
                    "loss": LOSSES,
                    "temperature": [2.0, 4.0],  # with one value there are fewer than 10,000 chains
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
        models = [model for model in hop.canonical_lineage if model.recipe]
        words = [f"{model.width} {self.number(model.recipe)}" for model in models]
        luck = derived_seed(*words) / 2**63
        size = math.log(hop.model.width)
        gap = math.log(hop.lineage[-2].width) - size if hop.ancestor else 0.0
        end = 0.95 - 0.4 * math.exp(-size) - 0.01 * (gap - 1) ** 2 + 0.02 * luck
        curve = tuple(end * (1 - math.exp(-0.4 * epoch)) for epoch in range(1, EPOCHS + 1))
        return Entry(seconds=1.0, curves=(curve,))


def timed(call: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """A function that does what `call` does, and appends its duration to `seconds`."""

    def timed_call(*args: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*args)
        finally:
            seconds.append(time.perf_counter() - start)

    return timed_call


def measure(trials: int) -> dict[str, Any]:
    """Figures of one search, which runs in this process on one thread.

    Args:
        trials: Number of its trials.
    """
    table = MadeUp()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        run, archive = RunDirectory(Path(folder)), TableArchive(table, RUNGS)
        open_optuna = partial(open_study, run, "scale")

        def driver_of(count: int) -> Driver:
            return make_driver(table.manifest, archive, TableEngine(archive, 1), open_optuna, count)

        start = time.perf_counter()
        driver = driver_of(trials)
        marks = [time.perf_counter()]
        proposals: list[float] = []
        driver.trials.ask = timed(driver.trials.ask, proposals)  # type: ignore[method-assign]
        for event in driver.events():
            if isinstance(event, TrialDone) and not event.record.free:
                marks.append(time.perf_counter())
        peak = peak_mib()["process"]
        records = [to_record(trial) for trial in driver.trials.all()]
        start_up = time_to_first_trial(driver_of, trials + 1)
    each = np.diff(marks) * 1000
    last = min(100, len(each) // 2)
    ms_a_trial, ms_a_proposal = quantiles(each), quantiles(1000 * np.array(proposals[-last:]))
    del ms_a_proposal["mean"]
    return {
        "trials": trials,
        "space": driver.space.size,
        "states": dict(Counter("free" if r.free else r.state for r in records)),
        "ms_a_trial": {**ms_a_trial, "mean_of_the_last": float(each[-last:].mean())},
        "ms_a_proposal": ms_a_proposal,  # of the last ones, after all others
        "peak_mib": peak,
        "start_up_s": start_up,
        "in_all_s": marks[-1] - start,
    }


def quantiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    """Mean, median and 95 % quantile."""
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.quantile(values, 0.95)),
    }


def time_to_first_trial(driver_of: Callable[[int], Driver], trials: int) -> float:
    """Seconds until a search that is resumed starts its next trial."""
    start = time.perf_counter()
    events = driver_of(trials).events()
    while not isinstance(next(events), TrialStarted):
        pass
    return time.perf_counter() - start


def shown(run: dict[str, Any]) -> list[Any]:
    """A search's row in the output."""
    trial, proposal = run["ms_a_trial"], run["ms_a_proposal"]
    cells = [f"{trial[name]:.1f}" for name in ("mean", "median", "p95", "mean_of_the_last")]
    cells += [f"{proposal[name]:.1f}" for name in ("median", "p95")]
    return [run["trials"], *cells, f"{run['peak_mib']:.0f}", f"{run['start_up_s']:.1f}"]


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--trials", type=int, nargs="+", default=[1_000, 10_000], help="trials of each search"
    )
    common.add_out_option(parser, "scale.json")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    provenance = common.provenance(args)
    found = [common.fresh(measure, trials)[0] for trials in args.trials]
    result = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "runs": found,
    }
    common.write_json(args.out, result)
    head = ["trials", "ms per trial", "median", "p95", "last", "ms per proposal", "p95"]
    head += ["peak MiB", "start-up, s"]
    print(common.table(head, [shown(run) for run in found]))


if __name__ == "__main__":
    main()
