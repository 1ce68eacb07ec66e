"""Searches on a table of results: the code of a search, with nothing to train."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.replay import TableArchive, TableEngine, make_driver, manifest_for
from benchmarks.table import Table
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import Event, HopEnded, HopEvent, HopOutcome
from tasearch.runs.journal import open_study, read_study, study_trials
from tasearch.runs.records import TrialRecord
from tests.helpers.studies import PRUNES_OFTEN

DIGITS = Path(__file__).parents[2] / "benchmarks/tables/digits.json.gz"
STRICT = PRUNES_OFTEN
NAME = "replay"


class FaultyEngine(TableEngine):
    """An engine that looks results up, fails some hops, and counts what it has trained.

    Args:
        archive: Receives the records of trained hops.
        workers: Number of simulated workers.
        faults: Outcome of the hops that fail, by key.

    Attributes:
        ended: How often each hop has ended, by key.
    """

    def __init__(
        self, archive: TableArchive, workers: int, faults: Mapping[str, HopOutcome]
    ) -> None:
        super().__init__(archive, workers)
        self.faults, self.ended = faults, Counter[str]()

    def events(self) -> Iterator[HopEvent]:
        for event in super().events():
            if isinstance(event, HopEnded):
                self.ended[event.key] += 1
                if event.key in self.faults:
                    self._archive._records.pop(event.key)
                    outcome = self.faults[event.key]
                    reason = f"hop {event.key} {outcome}"
                    event = replace(event, outcome=outcome, reason=reason)
            yield event


class Replay:
    """A run whose hops are looked up in a table; it can be interrupted and continued.

    Args:
        table: Table with all results.
        folder: The run's folder, which is created.
        search: Keys of the section `search`.
    """

    def __init__(self, table: Table, folder: Path, **search: Any) -> None:
        self.table, self.search = table, search
        self.manifest = manifest_for(table, {"max_concurrent": 4, **search}, 0, {})
        self.archive = TableArchive(table, self.manifest.study.search.rungs)
        self.run = RunDirectory(folder)
        folder.mkdir()

    def copy(self, folder: Path) -> Replay:
        """A copy of the run as it is now."""
        made = Replay(self.table, folder, **self.search)
        shutil.copytree(self.run.path, folder, dirs_exist_ok=True)
        made.archive._records = dict(self.archive._records)
        return made

    def steps(
        self,
        trials: int,
        faults: Mapping[str, HopOutcome] | None = None,
        *,
        workers: int = 1,
        retry: bool = False,
    ) -> tuple[Iterator[Event], FaultyEngine]:
        """Run or continue the search; return its events, which may be closed, and its engine."""
        engine = FaultyEngine(self.archive, workers, faults or {})
        open_optuna = partial(open_study, self.run, NAME)
        driver = make_driver(self.manifest, self.archive, engine, open_optuna, trials)
        driver.retry_failed = retry
        return driver.events(), engine

    def go(self, trials: int, *args: Any, **options: Any) -> tuple[list[Event], Counter[str]]:
        """Run or continue the search to its end; return its events, and how often hops ended."""
        events, engine = self.steps(trials, *args, **options)
        return [*events], engine.ended

    def trials(self) -> list[TrialRecord]:
        """All trials by their numbers."""
        return study_trials(read_study(self.run, NAME))

    def proposed(self) -> list[TrialRecord]:
        """The trials without those of assistants."""
        return [trial for trial in self.trials() if not trial.free]

    def everything(self) -> list[Any]:
        """All that two equal runs have in common."""
        study = read_study(self.run, NAME)
        assert study is not None
        return [(t.number, t.state, t.values, t.params, t.user_attrs) for t in study.trials]

    def optunas_study(self) -> optuna.Study:
        """The study as other programs open it, without tasearch's seals."""
        backend = JournalFileBackend(str(self.run.journal))
        return optuna.load_study(study_name=NAME, storage=JournalStorage(backend))
