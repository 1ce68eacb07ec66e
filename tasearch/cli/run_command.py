"""A search in a terminal: prepared, shown while it runs, and stopped on request."""

from __future__ import annotations

import contextlib
import gc
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from tasearch.chains.recipes import SEARCHED
from tasearch.chains.space import Space
from tasearch.cli.console import err, out
from tasearch.cli.early_checks import check_early
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.cli.stop import Stop
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.errors import TasearchError
from tasearch.train.workers.processes import Process, early_processes

if TYPE_CHECKING:
    from tasearch.search.prepare import Prepared


def run_shown(study: Study, options: RunOptions) -> tuple[bool, Path]:
    """Prepare and search a study, and show the progress.

    Args:
        study: The study; its root is absolute.
        options: How it is run.

    Returns:
        Whether the search came to its end, and the path of the run's folder.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
    """
    check_early(study, options)
    options = options.absolute()  # user code may change the current folder
    with Stop() as stop:
        processes = early_processes(
            str(options.workers),
            options.device,
            study.training.threads,
            study.search.max_concurrent,
            least=int(bool(study.own_functions)),
        )
        prepared = _prepare(study, options, processes, stop)
        stop.training = True
        with contextlib.closing(prepared):
            return _search(prepared, options, stop), prepared.run.path


def end_stopped() -> NoReturn:
    """End a command that was stopped, and print the one that continues.

    Raises:
        Exit: Always.
    """
    again = shlex.join(["tasearch", *sys.argv[1:]])
    out.print(f"\nStopped; nothing finished is lost. This continues:\n  {again}", soft_wrap=True)
    raise typer.Exit(INTERRUPTED)


def _prepare(
    study: Study, options: RunOptions, processes: Sequence[Process], stop: Stop
) -> Prepared:
    """Prepare a search, with a line that shows how far the images are decoded."""
    words = f"preparing {study.name}: data, models, latencies"
    if not err.is_terminal:
        out.print(words, soft_wrap=True)
    with err.status(words) as status, _kept_from_garbage_collection():
        with stop.later():
            from tasearch.models.numerics import keep_freed_memory
            from tasearch.search.prepare import prepare

        keep_freed_memory()

        def show(done: int, total: int) -> None:
            left = "" if done == total else f"; decoded {done:,} of {total:,} images"
            status.update(words + left)

        return prepare(
            study,
            options,
            processes=processes,
            progress=show,
            say=lambda line: out.print(line, soft_wrap=True),
        )


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
    from tasearch.cli.progress import LiveView, Plain, Words
    from tasearch.runs.journal import read_trials
    from tasearch.search.file_watch import watched
    from tasearch.search.run_search import search

    manifest, trials = prepared.manifest, options.trials_of(prepared.manifest.study)
    _print_beginning(prepared, trials)
    words = Words(manifest.measured, _distinguishing(prepared.space, manifest.study))
    earlier = []
    with contextlib.suppress(TasearchError):  # the search reports what is wrong, or repairs it
        earlier = read_trials(prepared.run)
    view = LiveView(out, words, earlier) if out.is_terminal else Plain(out, words)
    events = watched(prepared.run, search(prepared, trials, options.retry_failed))
    try:
        with view:
            for event in events:
                view.show(event)
                if stop.asked:
                    return False
    except KeyboardInterrupt:
        return False
    finally:
        events.close()
    return True


def _print_beginning(prepared: Prepared, trials: int) -> None:
    for notice in prepared.notices:
        out.print(f"notice: {notice}", soft_wrap=True)
    workers = len(prepared.workers)
    out.print(
        f"chains within the budget: {prepared.space.size:,}; trials: {trials}, on "
        f"{prepared.device}{f' with {workers} workers' if workers > 1 else ''}; "
        f"latency: {prepared.manifest.device}",
        soft_wrap=True,
    )


def _distinguishing(space: Space, study: Study) -> list[tuple[str, str]]:
    """Roles and fields of recipes that differ between trials."""
    roles = ("assistants", space.assistant_recipes), ("student", space.student_recipes)
    found = [(role, field) for role, recipes in roles for field in recipes.searched]
    if study.assistants.max:  # an assistant is a trial too, with the fields of its own section
        both = study.assistants, study.student
        differing = [
            f for f in ("epochs", *SEARCHED) if len({str(getattr(r, f)) for r in both}) > 1
        ]
        found += [("student", f) for f in differing if ("student", f) not in found]
    return found
