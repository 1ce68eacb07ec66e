"""What the views show of a running search, brought up to date by its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasearch.cli.words import Words
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.report.outcomes import outcome_text
from tasearch.report.progress import Progress
from tasearch.report.time_left import left_text
from tasearch.runs.events import (
    EpochDone,
    Event,
    HopEnded,
    HopStarted,
    SearchFinished,
    TrialDone,
    TrialStarted,
)
from tasearch.runs.leads import direct_trial
from tasearch.runs.records import TrialRecord, candidates


@dataclass(kw_only=True)
class HopState:
    """A hop in training.

    Args:
        words: The hop, with the searched fields of its recipe.
        epoch: Number of epochs done.
        epochs: Number of epochs of its recipe; 0 for a teacher that is loaded.
        loss: Mean training loss of the last epoch; None before the first.
        accuracy: Validation accuracy at the last rung, 0..1; None before the first.
    """

    words: str
    epoch: int
    epochs: int
    loss: float | None = None
    accuracy: float | None = None

    def take(self, event: EpochDone) -> None:
        """Take in an epoch."""
        self.epoch, self.loss = event.epoch, event.loss
        self.accuracy = self.accuracy if event.accuracy is None else event.accuracy


class SearchState:
    """A search as far as its events have told.

    Args:
        words: The words for its trials.
        progress: Its training so far.
        space: Number of chains that it may try.
        earlier: Trials of earlier searches.
        clock: Function that returns the time in seconds.

    Attributes:
        hops: The hops in training, by key.
        front: The front so far.
        done: Number of trials that have ended.
        trials: Number of trials that are asked for.
        finished: Why the search has ended; empty while it goes on.
        best: The most accurate student so far, with its gain over direct distillation, in words.
        outcome: How the trials have ended, in words.
    """

    def __init__(
        self,
        words: Words,
        progress: Progress,
        space: int,
        earlier: Sequence[TrialRecord] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.words, self._progress, self._space = words, progress, space
        self._clock, self._begun = clock, clock()
        self._records = {trial.number: trial for trial in earlier}
        self.hops: dict[str, HopState] = {}
        self.front = Front(candidates(earlier, words.measured, words.metric))
        self.done = self.trials = 0
        self.finished = ""
        self.best, self.outcome = self._best(), outcome_text(earlier)

    def take(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, TrialStarted):
            self.done, self.trials = event.done, event.trials
        elif isinstance(event, HopStarted):
            self._progress.start(event.key, event.label, event.epoch, self.seconds)
            words = self.words.hop(event)
            self.hops[event.key] = HopState(words=words, epoch=event.epoch, epochs=event.epochs)
        elif isinstance(event, EpochDone):
            self._progress.reach(event.key, event.epoch, self.seconds)
            self.hops[event.key].take(event)
        elif isinstance(event, HopEnded):
            self.hops.pop(event.key, None)
        elif isinstance(event, TrialDone):
            self.done, self.trials = event.done, event.trials
            self._progress.end_trial(event.record)
            self._records[event.record.number] = event.record
            new = candidates([event.record], self.words.measured, self.words.metric)
            self.front = Front([*self.front.candidates, *new])
            self.best, self.outcome = self._best(), outcome_text(self._records.values())
        elif isinstance(event, SearchFinished):
            self.finished, self.done = event.reason, event.done
            self.trials = max(self.trials, event.done)  # of a search that had nothing to do

    @property
    def seconds(self) -> float:
        """Seconds since the search has begun."""
        return self._clock() - self._begun

    @property
    def left(self) -> str:
        """The time left in words: `1 to 2 min left`."""
        remaining = min(self.trials, self._space) - self.done
        if self.finished or not self.trials:
            return ""
        return left_text(self._progress.left(self.seconds, max(0, remaining)))

    def _best(self) -> str:
        """The most accurate student so far, and its gain over direct distillation, in words."""
        if not self.front.candidates:
            return "no student is trained yet"
        best = self.front.candidates[0]
        value = self.words.metric.text(best.accuracy)
        accuracy = f"{best.label}: {value}, {best.params:,} params"
        return f"{accuracy}; {self._gain(best)}" if len(best.chain) > 2 else accuracy

    def _gain(self, best: Candidate) -> str:
        direct = direct_trial(self._records.values(), best)
        if direct is None or direct.accuracy is None:
            return "no finished direct chain"
        gain = self.words.metric.difference_words(best.accuracy - direct.accuracy)
        return f"{gain} over direct"
