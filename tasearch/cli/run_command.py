"""A search in a terminal: prepared, shown while it goes on, and stopped on request."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
from collections.abc import Iterator
from os import _exit as end_process  # that of the module may be one which raises
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tasearch.chains.recipes import SEARCHED
from tasearch.chains.space import Space
from tasearch.cli.console import err, out
from tasearch.cli.early_checks import check_early
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.config.study import Study
from tasearch.errors import TasearchError
from tasearch.train.workers.processes import early_processes, end_all

if TYPE_CHECKING:
    from tasearch.search.prepare import Prepared

SHOW_CURSOR = b"\x1b[?25h"


def run_shown(
    study: Study,
    *,
    trials: int,
    runs_dir: Path,
    device: str,
    latency_from: str | None,
    workers: str,
    retry_failed: bool,
) -> tuple[bool, Path]:
    """Prepare and search, and show it.

    Args:
        study: what to search.
        trials: chains to try in all.
        runs_dir: where runs are kept.
        device: "auto", "cpu" or "cuda".
        latency_from: the run whose latencies to take; None to measure.
        workers: a number, or "auto".
        retry_failed: whether to try again all that failed.

    Returns:
        Whether it came to its end, and the run's folder.

    Raises:
        TasearchError: whatever is wrong with the study, its data, its models or its run.
    """
    check_early(study, runs_dir=runs_dir, device=device, workers=workers, latency_from=latency_from)
    runs_dir = runs_dir.absolute()  # code of the user's may change the current folder
    with Stop() as stop:
        most = study.search.max_concurrent
        least = int(bool(study.own_functions))
        processes = early_processes(workers, device, study.training.threads, most, least=least)
        words = f"preparing {study.name}: data, models, latencies"
        if not err.is_terminal:
            out.print(words, soft_wrap=True)
        with err.status(words) as status, _lasting():
            with stop.later():
                from tasearch.models.numerics import keep_freed_memory
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
        with contextlib.closing(prepared):
            return _search(prepared, trials, retry_failed, stop), prepared.run.path


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


class Stop:
    """Ctrl-C (or SIGTERM, or a terminal that closes) asks for an end after this epoch; a second one
    ends at once, and so does the first while nothing is trained yet. One more ends the process,
    whatever it is at: a user's code may catch all that is raised, or be in C for ever."""

    def __init__(self) -> None:
        self.asked = False
        self.training = False
        self._later = False
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if os.name == "posix" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # by nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._before[number] = self._arm(number)
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

    def _arm(self, number: int) -> Any:
        """Handle the next signal of a number; where Python does not come to do so, for a call in C
        goes on, the system ends this process at one more.

        Returns:
            What handled it before.
        """
        before = signal.signal(number, self._ask)
        with contextlib.suppress(Exception):  # not on this system
            once = ctypes.CDLL(None).sysv_signal  # which forgets the handler when it is called
            once.argtypes, once.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
            once(number, once(number, int(signal.SIG_IGN)))
        return before

    def _give_up(self) -> None:
        err.print("stopped while preparing")
        raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._arm(number)
        self._count += 1
        if self._count > (2 if self.training else 1):
            end_all()
            if out.is_terminal:
                os.write(1, SHOW_CURSOR)
            end_process(INTERRUPTED)
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


def _search(prepared: Prepared, trials: int, retry_failed: bool, stop: Stop) -> bool:
    """Show a search to its end; False where it was stopped."""
    from tasearch.cli.progress import LiveView, Plain, Words
    from tasearch.runs.journal import read_trials
    from tasearch.search.run_search import search
    from tasearch.search.file_watch import watched

    space, manifest = prepared.space, prepared.manifest
    for notice in prepared.notices:
        out.print(f"notice: {notice}", soft_wrap=True)
    words = Words(manifest.measured, _telling(space, manifest.study))
    out.print(
        f"chains within the budget: {space.size:,}; trials: {trials}, on {prepared.device}"
        f"{_several(prepared.workers)}; latency: {manifest.device}",
        soft_wrap=True,
    )
    earlier = []
    with contextlib.suppress(TasearchError):  # the search tells what is wrong, or mends it
        earlier = read_trials(prepared.run)
    view = LiveView(out, words, earlier) if out.is_terminal else Plain(out, words)
    events = watched(prepared.run, search(prepared, trials, retry_failed))
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
