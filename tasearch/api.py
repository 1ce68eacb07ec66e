"""From Python: run a study, step by step or to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tasearch.search.driver import search
from tasearch.search.events import Event
from tasearch.search.prepare import prepare
from tasearch.search.results import Run
from tasearch.study import Study
from tasearch.studyfile import load_study


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
        runs_dir: the run lands in its folder `study.name`.
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
    study = study if isinstance(study, Study) else load_study(study)
    events = steps(
        study,
        runs_dir=runs_dir,
        trials=trials,
        device=device,
        latency_from=latency_from,
        workers=workers,
        retry_failed=retry_failed,
    )
    for event in events:
        if on_event is not None:
            on_event(event)
    return Run.open(Path(runs_dir) / study.name)


def steps(
    study: Study | str | Path,
    *,
    runs_dir: str | Path = "runs",
    trials: int | None = None,
    device: str = "auto",
    latency_from: str | Path | None = None,
    workers: int | str = 1,
    retry_failed: bool = False,
) -> Iterator[Event]:
    """The same as an iterator of events, which may be closed at any time and begun again."""
    study = study if isinstance(study, Study) else load_study(study)
    prepared = prepare(
        study, runs_dir=runs_dir, device=device, latency_from=latency_from, workers=workers
    )
    target = study.search.trials if trials is None else trials
    yield from search(prepared, target, retry_failed)
