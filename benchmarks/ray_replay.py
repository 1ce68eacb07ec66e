"""Searches with many simulated workers, each hop of which costs what a Ray cluster was measured to.

`benchmarks.ray_engine` calls this. A search is replayed on a table of results: no training, but the
code of `tasearch run`. A hop takes the seconds that it took when the table was made times a factor,
so that the median of all hops has some length, and the overhead of the engine besides.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import optuna

from benchmarks import common
from benchmarks.replay import TableArchive, TableEngine, make_driver, manifest_for
from benchmarks.search_methods import limits, load
from benchmarks.table import Table
from tasearch.runs.events import TrialDone
from tasearch.runs.journal import DIRECTIONS

TABLE = "digits"
REPLICATES = (0, 1, 2)  # of the table that a search sees


def simulated(
    workers: int,
    max_concurrent: int,
    hop_s: float,
    overhead_s: float,
    *,
    seeds: int = 5,
    trials: int = 300,
) -> dict[str, Any]:
    """How much sooner searches end with many simulated workers than with one.

    Args:
        workers: Number of simulated workers.
        max_concurrent: Most trials at the same time, for one worker as well: same trials.
        hop_s: Median length of a hop in seconds.
        overhead_s: Seconds that each hop costs besides; with one worker too.
        seeds: Number of searches.
        trials: Number of trials of each.

    Returns:
        The speed-up over one worker, with the teacher, for which everything waits, and without its
        time; and the share of the workers' time in which they had nothing to do, teacher included.
        Each with its spread over seeds.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = load(TABLE).seeing(REPLICATES)
    stretch = hop_s / median(entry.seconds for entry in table.entries())
    teacher_s = stretch * table[table.teacher_hop].seconds + overhead_s
    ratios, given, idle, done = [], [], [], []
    for seed in range(seeds):
        found = [
            _search(table, count, max_concurrent, seed, stretch, overhead_s, trials)
            for count in (1, workers)
        ]
        (one_s, _, tried), (many_s, busy_s, _) = found
        ratios.append(one_s / many_s)
        given.append((one_s - teacher_s) / (many_s - teacher_s))
        idle.append(1.0 - busy_s / (workers * many_s))
        done.append(tried)
    return {
        "table": TABLE,
        "workers": workers,
        "max_concurrent": max_concurrent,
        "hop_s": hop_s,
        "overhead_s": overhead_s,
        "trials": done,
        "speed_up": common.spread(ratios),
        "speed_up_after_teacher": common.spread(given),
        "idle": common.spread(idle),
    }


def _search(
    table: Table,
    workers: int,
    max_concurrent: int,
    seed: int,
    stretch: float,
    overhead_s: float,
    trials: int,
) -> tuple[float, float, int]:
    """Simulated seconds of a search, those of its busy workers, and the number of its trials."""
    manifest = manifest_for(table, {"max_concurrent": max_concurrent}, seed, limits(table, TABLE))
    archive = TableArchive(table, manifest.study.search.rungs)
    engine = TableEngine(archive, workers, stretch=stretch, overhead_s=overhead_s)
    driver = make_driver(
        manifest,
        archive,
        engine,
        lambda sampler: optuna.create_study(directions=DIRECTIONS, sampler=sampler),
        trials,
    )
    done = sum(isinstance(event, TrialDone) for event in driver.events())
    return engine.clock, engine.busy_s, done
