"""From Python: run a study, step by step or to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from tasearch.config.arguments import (
    check_device,
    check_folder,
    check_path,
    check_trials,
    check_utf8,
    check_workers,
)
from tasearch.config.study import Study
from tasearch.config.study_file import check_study
from tasearch.errors import RunError, StudyError, quoted
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import Event, Notice
from tasearch.runs.run import Run
from tasearch.search.run_search import search
from tasearch.search.file_watch import watched
from tasearch.search.prepare import prepare


def run(
    study: Study | str | Path,
    *,
    runs_dir: str | Path = "runs",
    trials: int | None = None,
    device: str = "auto",
    latency_from: str | Path | None = None,
    workers: int | str = 1,
    retry_failed: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Run:
    """Run a study, or go on with it, until its trials are over.

    Args:
        study: from `load_study` or `parse_study`, or the path of a study file.
        runs_dir: the run ends in its folder `study.name`.
        trials: instead of the study's own number.
        device: "auto", "cpu" or "cuda".
        latency_from: a run whose latencies to take instead of measuring.
        workers: processes that train, or "auto": one for each GPU, or for each core. Results do
            not depend on it.
        retry_failed: whether to try again all that failed; what failed for want of memory, or for
            another fault of the machine, is tried again in any case.
        on_event: told of everything that happens.

    Returns:
        The run, to ask for its front or its best.

    Raises:
        TasearchError: see `tasearch.errors`.
    """
    study = check_study(study)
    if on_event is not None and not callable(on_event):
        raise RunError(f"on_event: should be a function, found {quoted(on_event)}")
    runs_dir = check_path(runs_dir, "runs_dir").absolute()  # user code may change the folder
    events = steps(
        study,
        runs_dir=runs_dir,
        trials=trials,
        device=device,
        latency_from=latency_from,
        workers=workers,
        retry_failed=retry_failed,
    )
    with contextlib.closing(events):  # else an exception that is kept keeps the run locked
        for event in events:
            if on_event is not None:
                on_event(event)
    return Run(RunDirectory.open(runs_dir / study.name), trusted=True)


def steps(
    study: Study | str | Path,
    *,
    runs_dir: str | Path = "runs",
    trials: int | None = None,
    device: str = "auto",
    latency_from: str | Path | None = None,
    workers: int | str = 1,
    retry_failed: bool = False,
) -> Generator[Event, None, None]:
    """The same as an iterator of events, which may be closed at any time and begun again."""
    study = check_study(study)
    if trials is not None:
        check_trials(trials)
    folder = check_path(runs_dir, "runs_dir") / study.name
    check_utf8(folder, "runs_dir")
    check_utf8(Path(study.root), "root", StudyError)
    check_folder(folder, "runs_dir")
    check_device(device)
    check_workers(workers)
    if latency_from is not None:
        check_path(latency_from, "latency_from")
    prepared = prepare(
        study, runs_dir=runs_dir, device=device, latency_from=latency_from, workers=workers
    )
    target = study.search.trials if trials is None else trials
    with contextlib.closing(prepared):
        yield from (Notice(message=notice) for notice in prepared.notices)
        yield from watched(prepared.run, search(prepared, target, retry_failed))
