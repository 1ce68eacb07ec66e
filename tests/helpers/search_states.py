"""States of a search, made of a finished run and of events."""

from __future__ import annotations

from collections.abc import Iterator

import tasearch
from tasearch.cli.search_state import SearchState
from tasearch.cli.words import Words
from tasearch.report.progress import Progress
from tasearch.runs.events import EpochDone, Event, HopEnded, HopStarted, TrialDone, TrialStarted


def search_state(run: tasearch.Run, *, seconds: Iterator[float] | None = None) -> SearchState:
    """The state before the first event of a run's search; each look at its clock takes a second."""
    manifest = run.manifest
    clock = seconds or iter(map(float, range(10**6)))
    return SearchState(
        Words.of_run(manifest),
        Progress(manifest),
        manifest.space,
        clock=lambda: next(clock),
    )


def events_again(run: tasearch.Run) -> Iterator[Event]:
    """Events that a finished run may have had: its trials one after the other."""
    total = sum(not trial.free for trial in run.trials)
    done, trained = 0, set[str]()
    for trial in run.trials:
        yield TrialStarted(number=trial.number, label=trial.label, done=done, trials=total)
        for i, use in enumerate(trial.hops):
            if use.key in trained or not use.trained:
                continue
            trained.add(use.key)
            lineage = [u.width for u in trial.hops[: i + 1]]
            name = " → ".join(map(str, lineage))
            key, epochs = use.key, use.epochs
            yield HopStarted(key=key, label=name, epoch=0, epochs=epochs, recipe=None)
            for epoch in range(1, use.trained + 1):
                accuracy = use.accuracy if epoch == use.trained else None
                yield EpochDone(
                    key=key, label=name, epoch=epoch, epochs=epochs, loss=0.5, accuracy=accuracy
                )
            yield HopEnded(key=key, label=name, outcome="complete", epoch=use.trained, seconds=1.0)
        done += not trial.free
        yield TrialDone(record=trial, done=done, trials=total)
