"""A search in a terminal: prepared, shown while it runs, and stopped on request."""

from __future__ import annotations

import contextlib
import gc
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

import typer

from tasearch.cli.console import SafeConsole, err, out, print_line
from tasearch.cli.early_checks import check_early
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.cli.preparation import Preparation
from tasearch.cli.stop import Stop
from tasearch.config.places import Place
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.errors import TasearchError
from tasearch.runs.records import TrialRecord
from tasearch.train.workers.processes import Process, early_processes

if TYPE_CHECKING:
    from tasearch.cli.search_state import SearchState
    from tasearch.search.prepare import Prepared


def run_shown(study: Study, options: RunOptions) -> tuple[bool, Place]:
    """Prepare and search a study, and show the progress.

    Args:
        study: The study; its root is absolute.
        options: How it is run.

    Returns:
        Whether the search came to its end, and the path or the URL of the run.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
    """
    path = options.absolute().run_place(study)  # user code may change the current folder
    with Stop() as stop:
        try:
            with preparing(study, options, stop) as prepared:
                stop.training = True
                return _search(prepared, options, stop), path
        except KeyboardInterrupt:
            return False, path


@contextlib.contextmanager
def preparing(
    study: Study, options: RunOptions, stop: Stop, lines: SafeConsole | None = out
) -> Iterator[Prepared]:
    """A search that can start; with the context its workers end and its run is released.

    Args:
        study: The study; its root is absolute.
        options: How it is run.
        stop: Interrupts the preparation when it is asked to stop.
        lines: Where its lines that stay are printed; None for nowhere.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
        KeyboardInterrupt: The preparation was stopped.
    """
    check_early(study, options)
    options = options.absolute()
    processes = early_processes(
        options.local_workers,
        options.device,
        study.training.threads,
        study.search.max_concurrent,
        least=int(bool(study.own_functions)),
    )
    with contextlib.closing(_prepare(study, options, processes, stop, lines)) as prepared:
        yield prepared


def end_stopped(console: SafeConsole = out) -> NoReturn:
    """End a command that was stopped, and print the one that continues.

    Args:
        console: Where to print.

    Raises:
        Exit: Always.
    """
    again = shlex.join(["tasearch", *sys.argv[1:]])
    console.print("\nStopped; nothing finished is lost. This continues:")
    console.print(f"  {again}", soft_wrap=True)
    raise typer.Exit(INTERRUPTED)


def _prepare(
    study: Study,
    options: RunOptions,
    processes: Sequence[Process],
    stop: Stop,
    lines: SafeConsole | None,
) -> Prepared:
    """Prepare a search, and show its steps."""
    title = f"preparing {study.name}"
    with err.status(title) as status, _kept_from_garbage_collection():
        shown = Preparation(title, status, lines)
        shown.step("imports")
        with stop.later():
            from tasearch.models.numerics import keep_freed_memory
            from tasearch.search.prepare import prepare

        keep_freed_memory()
        prepared = prepare(
            study,
            options,
            processes=processes,
            progress=shown.decoded,
            say=shown.say,
            step=shown.step,
            wait=shown.say,
        )
        shown.end()
        return prepared


@contextlib.contextmanager
def _kept_from_garbage_collection() -> Iterator[None]:
    """No garbage collection while imports and models are made, nor among them later.

    They live as long as the process, and looking through them takes a quarter of the time of a
    preparation.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def _search(prepared: Prepared, options: RunOptions, stop: Stop) -> bool:
    """Show a search to its end; False if it was stopped before."""
    from tasearch.cli.live_view import LiveView
    from tasearch.cli.plain_view import PlainView
    from tasearch.search.file_watch import watched
    from tasearch.search.run_search import search

    trials = options.trials_of(prepared.manifest.study)
    _print_beginning(prepared, trials)
    state = _state(prepared)
    view = LiveView(out, state) if out.is_terminal else PlainView(out, state)
    events = watched(prepared.run, search(prepared, trials, options.retry_failed))
    try:
        with view if isinstance(view, LiveView) else contextlib.nullcontext():
            for event in events:
                view.show(event)
                if stop.asked:
                    return False
    except KeyboardInterrupt:
        return False
    finally:
        events.close()
    return True


def _state(prepared: Prepared) -> SearchState:
    """What the views show of the search, with the trials and the hops of earlier searches."""
    from tasearch.cli.search_state import SearchState
    from tasearch.cli.words import Words
    from tasearch.report.progress import Progress
    from tasearch.report.status import teacher_accuracy
    from tasearch.runs.run import Run

    manifest, run = prepared.manifest, Run(prepared.run)
    earlier, teacher = list[TrialRecord](), False
    with contextlib.suppress(TasearchError):  # the search reports what is wrong, or repairs it
        earlier, teacher = run.trials, teacher_accuracy(run) is not None
    progress = Progress(
        manifest,
        earlier,
        teacher=teacher,
        workers=prepared.at_once,
        spent=prepared.run.history().seconds,
    )
    words = Words.of_run(manifest)
    return SearchState(words, progress, manifest.space, earlier)


def _print_beginning(prepared: Prepared, trials: int) -> None:
    for notice in prepared.notices:
        print_line(f"notice: {notice}")
    workers, place = prepared.at_once, str(prepared.device)
    if prepared.cluster is not None:
        place = f"a Ray cluster, {workers} at a time"
    elif workers > 1:
        place = f"{prepared.device} with {workers} workers"
    print_line(
        f"chains within the budget: {prepared.space.size:,}; trials: {trials}, on {place}; "
        f"latency: {prepared.manifest.device}"
    )
