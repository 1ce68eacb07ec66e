"""A search in a terminal: prepared, shown while it goes on, and stopped on request."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tasearch.errors import StudyError
from tasearch.processes import early_processes
from tasearch.rundir import RunDir
from tasearch.space import SEARCHED, Space
from tasearch.study import Study

if TYPE_CHECKING:
    from tasearch.search.prepare import Prepared

out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


def run_shown(
    study: Study,
    *,
    trials: int,
    runs_dir: Path,
    device: str,
    latency_from: str | None,
    workers: str,
) -> tuple[bool, Path]:
    """Prepare and search, and show it.

    Args:
        study: what to search.
        trials: chains to try in all.
        runs_dir: where runs are kept.
        device: "auto", "cpu" or "cuda".
        latency_from: the run whose latencies to take; None to measure.
        workers: a number, or "auto".

    Returns:
        Whether it came to its end, and the run's folder.

    Raises:
        TasearchError: whatever is wrong with the study, its data, its models or its run.
    """
    RunDir(runs_dir / study.name).check_free()
    with Stop() as stop, _no_exit():
        most = study.search.lookahead
        processes = early_processes(workers, device, study.training.threads, most)
        words = f"preparing {study.name}: data, models, latencies"
        if not err.is_terminal:
            out.print(words, soft_wrap=True)
        with err.status(words) as status, _lasting():
            with stop.later():
                from tasearch.numerics import keep_freed_memory
                from tasearch.search.prepare import prepare

            keep_freed_memory()

            def decoded(done: int, total: int) -> None:
                left = "" if done == total else f"; decoded {done:,} of {total:,} images"
                status.update(words + left)

            prepared = prepare(
                study,
                runs_dir=runs_dir,
                device=device,
                latency_from=latency_from,
                workers=workers,
                processes=processes,
                progress=decoded,
                say=lambda line: out.print(line, soft_wrap=True),
            )
        stop.training = True
        return _search(prepared, trials, stop), prepared.run.path


@contextlib.contextmanager
def _lasting() -> Iterator[None]:
    """Whatever is imported and made within stays to the end: no search for garbage among it, which
    is a quarter of the time of a preparation, and none later."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """A user's code does not end this in silence."""
    try:
        yield
    except SystemExit as error:
        raise StudyError(
            f"code that the study file names called sys.exit({error.code!r})"
        ) from error


class Stop:
    """Ctrl-C (or SIGTERM, or a terminal that closes) asks for an end after this epoch; a second one
    ends at once, and so does the first while nothing is trained yet."""

    def __init__(self) -> None:
        self.asked = False
        self.training = False
        self._later = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if os.name == "posix" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # by nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """Stop no sooner than at the end of this: what is half imported may fail otherwise."""
        self._later = True
        yield
        self._later = False
        if self.asked:
            self._give_up()

    def _give_up(self) -> None:
        err.print("stopped while preparing")
        raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.training:
            self.asked = True
            if not self._later:
                self._give_up()
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        where = out if out.is_terminal else err  # the live view makes room for what out prints
        where.print("stopping after this epoch; once more to stop at once", soft_wrap=True)


def _search(prepared: Prepared, trials: int, stop: Stop) -> bool:
    """Show a search to its end; False where it was stopped."""
    from tasearch.display import LiveView, Plain, Words
    from tasearch.search.driver import search
    from tasearch.search.journal import read_trials

    space, snapshot = prepared.space, prepared.snapshot
    words = Words(snapshot.measured, _telling(space, snapshot.study))
    out.print(
        f"chains within the budget: {space.size:,}; trials: {trials}, on {prepared.device}"
        f"{_several(prepared.workers)}; latency: {snapshot.device}",
        soft_wrap=True,
    )
    earlier = read_trials(prepared.run) if prepared.run.exists else []
    view = LiveView(out, words, earlier) if out.is_terminal else Plain(out, words)
    events = search(prepared, trials)
    try:
        with view:
            for event in events:
                view.show(event)
                if stop.asked:
                    return False
    except KeyboardInterrupt:
        return False
    finally:
        events.close()  # type: ignore[attr-defined]
    return True


def _several(workers: list[str]) -> str:
    return f" with {len(workers)} workers" if len(workers) > 1 else ""


def _telling(space: Space, study: Study) -> list[tuple[str, str]]:
    """Fields of recipes, with their roles, that tell one trial from another."""
    roles = ("assistants", space.assistant_recipes), ("student", space.student_recipes)
    found = [(role, field) for role, recipes in roles for field in recipes.searched]
    if study.assistants.max:  # their trials differ from students' by what is not searched
        both = study.assistants, study.student
        differing = [
            f for f in ("epochs", *SEARCHED) if len({str(getattr(r, f)) for r in both}) > 1
        ]
        found += [("student", f) for f in differing if ("student", f) not in found]
    return found
