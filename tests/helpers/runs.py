"""What tests read from runs, and from the Optuna studies in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import tasearch
from tasearch.api.running import run_events
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.runs.events import Event, TrialDone, TrialStarted
from tasearch.runs.manifest import Manifest
from tasearch.runs.records import TrialRecord


def proposed(run: tasearch.Run) -> list[TrialRecord]:
    """The trials without those of assistants, which cost nothing."""
    return [trial for trial in run.trials if not trial.free]


def contents(run: tasearch.Run) -> dict[str, bytes]:
    """Every file of a run's store by its path within the run.

    Temporary files, which a kill can leave behind and the next start removes, are left out.
    """
    kinds = ("hops", "checkpoints", "snapshots", "targets")
    files = [p for kind in kinds for p in (run.path / kind).glob("[!.]*")]
    return {str(p.relative_to(run.path)): p.read_bytes() for p in files}


def once_each(run: tasearch.Run) -> bool:
    """Whether no hop was trained to its last epoch twice."""
    ends = Counter(e["hop"] for e in run.directory.events() if e["event"] == "end")
    return set(ends.values()) <= {1}


def facts(run: tasearch.Run) -> list[Any]:
    """All that two equal runs have in common, as it is in the files now."""
    return [vars(trial) for trial in tasearch.Run.open(run.path).trials]


def only_prepared(run: tasearch.Run, folder: Path) -> Path:
    """A copy of a run, in a folder, as it is before its first trial."""
    path = folder / run.path.name
    path.mkdir()
    for file in ("run.json", "measurements.json"):
        (path / file).write_bytes((run.path / file).read_bytes())
    return path


def with_notices(run: tasearch.Run, *notices: str) -> Manifest:
    """A run's manifest with these notices about the timing."""
    timing = replace(run.manifest.timing, notices=notices)
    return replace(run.manifest, timing=timing)


def optunas_storage(run: tasearch.Run) -> JournalStorage:
    """The run's journal as other programs open it, without tasearch's seals."""
    return JournalStorage(JournalFileBackend(str(run.path / "journal.log")))


def optunas_study(run: tasearch.Run, name: str = "tiny") -> optuna.Study:
    """The run's study as other programs open it, without tasearch's seals."""
    return optuna.load_study(study_name=name, storage=optunas_storage(run))


def events_of(study: Study, **options: Any) -> Generator[Event, None, None]:
    """The events of a study's search, which goes on as far as they are asked for."""
    return run_events(study, RunOptions(**options))


def interrupt_everywhere(begin: Callable[[], Generator[Event, None, None]]) -> int:
    """Begin a search again and again, and stop it after each start and each end of a trial.

    Args:
        begin: Begins the search, or continues it.

    Returns:
        The number of interruptions, after which the search has come to its end.
    """
    seen: set[tuple[str, int]] = set()
    for cuts in range(99):
        events = begin()
        for event in events:
            if isinstance(event, TrialStarted | TrialDone):
                started = isinstance(event, TrialStarted)
                moment = type(event).__name__, event.number if started else event.record.number
                if moment not in seen:
                    seen.add(moment)
                    break
        else:
            return cuts
        events.close()
    raise AssertionError("the search comes to no end")


def check_stopped_everywhere(study: Study, folder: Path) -> tasearch.Run:
    """Check that a study stopped at each event ends as one that is not; the latter."""
    whole = tasearch.run(study, runs_dir=folder / "whole")
    options = {"runs_dir": folder / "parts", "latency_from": whole.path}
    assert interrupt_everywhere(lambda: events_of(study, **options)) > 3
    parts = tasearch.Run.open(folder / "parts" / study.name)
    assert contents(parts) == contents(whole)
    return whole
