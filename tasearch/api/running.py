"""Run a study from Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from tasearch.api.confirming import confirm
from tasearch.api.opened import Run
from tasearch.config.arguments import check_function
from tasearch.config.places import Place
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import check_study
from tasearch.errors import NothingFits
from tasearch.runs.events import Event, Notice
from tasearch.search.file_watch import watched
from tasearch.search.prepare import Bring, prepare
from tasearch.search.run_search import search


def run(
    study: Study | str | Path,
    *,
    runs_dir: str | Place = "runs",
    trials: int | None = None,
    device: str = "auto",
    latency_from: str | Place | None = None,
    workers: int | str = 1,
    retry_failed: bool = False,
    engine: str = "local",
    address: str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Run:
    """Run a study, or continue its run, until its trials are done.

    The run may be stopped at any time, by Ctrl-C or by an exception from `on_event`; the same call
    continues it, and nothing that is finished is trained again.

    Args:
        study: A study from `load_study` or `parse_study`, or the path of a study file.
        runs_dir: The folder or the URL of all runs, such as "s3://bucket/runs"; the run is
            `study.name` in it.
        trials: Number of trials to reach in all; None for the study's own number.
        device: "auto", "cpu" or "cuda".
        latency_from: A run whose latencies are taken instead of measuring; None to measure.
        workers: Number of training processes, or "auto": one for each GPU, or for each core.
            Results do not depend on it.
        retry_failed: Whether to repeat all failed trials; those that failed because of the
            machine, such as for lack of memory, are repeated in any case.
        engine: Where workers run: "local" for this machine, "ray" for a Ray cluster.
        address: The cluster: "auto" for the one that this machine belongs to, or HOST:PORT; None to
            start one on this machine, which ends with the run.
        on_event: Called with each event of the search, one of the classes in
            `tasearch.runs.events`.

    Returns:
        The run, with its front and its best student.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models, its run or an
            option; see `tasearch.errors`.
    """
    study = check_study(study)
    check_function(on_event, "on_event")
    options = RunOptions(
        runs_dir=runs_dir,
        trials=trials,
        device=device,
        latency_from=latency_from,
        workers=workers,
        retry_failed=retry_failed,
        engine=engine,
        address=address,
    )
    return run_to_end(study, options, on_event)


def run_to_end(
    study: Study,
    options: RunOptions,
    on_event: Callable[[Event], None] | None = None,
    bring: Bring = lambda run: lambda: None,
) -> Run:
    """Run a study, or continue its run, until its trials are done; confirm it if it says so.

    Args:
        study: The study.
        options: How it is run.
        on_event: Called with each event.
        bring: Puts data and code into the folder of the run; see `tasearch.search.prepare`.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
    """
    options = options.absolute()  # user code may change the current folder
    # a kept exception would keep an open generator, and this the run's lock
    with contextlib.closing(run_events(study, options, bring)) as events:
        for event in events:
            if on_event is not None:
                on_event(event)
    found = Run.open(options.run_place(study), trust=True)
    if study.confirm.after_run:
        with contextlib.suppress(NothingFits):  # there is nothing to compare
            confirm(
                found,
                device=options.device,
                workers=options.workers,
                engine=options.engine,
                address=options.address,
                on_event=on_event,
            )
    return found


def run_events(
    study: Study, options: RunOptions, bring: Bring = lambda run: lambda: None
) -> Generator[Event, None, None]:
    """Run a study, or continue its run, as an iterator of its events.

    The iterator may be closed at any time; another one with the same arguments continues.

    Args:
        study: The study.
        options: How it is run.
        bring: Puts data and code into the folder of the run; see `tasearch.search.prepare`.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
    """
    options.check_places(study)
    prepared = prepare(study, options, bring=bring)
    with contextlib.closing(prepared):
        yield from (Notice(message=notice) for notice in prepared.notices)
        events = search(prepared, options.trials_of(study), options.retry_failed)
        yield from watched(prepared.run, events)
