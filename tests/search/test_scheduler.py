"""Which hops are trained next."""

from __future__ import annotations

import optuna

from benchmarks.replay import TableArchive, TableEngine, make_driver, manifest_for
from benchmarks.table import Table
from tasearch.pareto.skyline import StoppingCriterion
from tasearch.runs.events import HopStarted
from tasearch.runs.journal import DIRECTIONS
from tasearch.search.running_trials import RunningTrial
from tasearch.search.scheduler import begin_ready


def test_scheduler_begins_hops_of_earlier_trials_first(digits: Table) -> None:
    manifest = manifest_for(digits, {}, 0, {})
    archive = TableArchive(digits, manifest.study.search.rungs)
    driver = make_driver(
        manifest,
        archive,
        TableEngine(archive, 1),
        lambda sampler: optuna.create_study(directions=DIRECTIONS, sampler=sampler),
        1,
    )
    direct = driver.space.baselines()[0]
    longest = next(c for c in driver.space if len(c.assistants) == driver.space.max_assistants)
    criterion = StoppingCriterion(thresholds=(), audited=False)
    trials = [
        RunningTrial(
            trial=number,
            proposal=number,
            free=False,
            criteria=tuple((hop, criterion) for hop in chain.hops()),
        )
        for number, chain in enumerate((direct, longest))
    ]
    begun: list[str] = []
    while True:
        begin_ready(driver.hops, trials, [])
        if not driver.hops.busy:
            break
        begun += [e.label for e in driver.hops.wait() if isinstance(e, HopStarted)]
    alone = [hop.label for hop in longest.hops()][1:]  # the teacher's hop belongs to both chains
    assert begun == [*(hop.label for hop in direct.hops()), *alone]
