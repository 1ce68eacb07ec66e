"""Replicates of one hop that several workers train: their events merged into those of one hop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tasearch.runs.accuracies import mean_of_known
from tasearch.runs.events import EpochDone, HopEnded, HopEvent, HopStarted

Numbers = tuple[int, ...]  # numbers of replicates


def average(values: Iterable[float]) -> float:
    """The mean; exact for a single value."""
    listed = [*values]
    return sum(listed) / len(listed)


class ReplicateMerger:
    """Merges the events of several workers that each train some replicates of one hop.

    Args:
        shares: Numbers of the replicates that each worker trains; every replicate is in one share.
    """

    def __init__(self, shares: list[Numbers]) -> None:
        self._shares = shares
        self._started: dict[Numbers, int] = {}  # epochs done before, by share
        self._epochs: dict[int, dict[Numbers, EpochDone]] = {}  # epochs that some shares lack
        self._ended: dict[Numbers, HopEnded] = {}

    @property
    def over(self) -> bool:
        """Whether all shares have ended."""
        return len(self._ended) == len(self._shares)

    def merge(self, share: Numbers, event: HopEvent) -> HopEvent | None:
        """The event of the whole hop, once every share has reported its own; None until then.

        A share that starts again, because its worker has died, is not reported twice, and neither
        are its epochs.
        """
        if isinstance(event, HopStarted):
            known = share in self._started
            self._started[share] = event.epoch
            if known or len(self._started) < len(self._shares):
                return None
            return replace(event, epoch=min(self._started.values()))
        if isinstance(event, EpochDone):
            done = self._epochs.setdefault(event.epoch, {})
            done[share] = event
            if len(done) < len(self._shares):
                return None
            del self._epochs[event.epoch]
            return self._mean(done)
        if isinstance(event, HopEnded):
            self._ended[share] = event
            return self._end() if self.over else None
        return event

    def _mean(self, done: dict[Numbers, EpochDone]) -> EpochDone:
        """The mean over replicates; shares differ in size."""
        each = [done[share] for share in self._shares for _ in share]
        return replace(
            each[0],
            loss=average(event.loss for event in each),
            accuracy=mean_of_known(event.accuracy for event in each),
        )

    def _end(self) -> HopEnded:
        """The end of the share that was trained least: it decides what the hop ends with."""
        ended = [self._ended[share] for share in self._shares]
        least = min(ended, key=lambda end: (end.outcome == "complete", end.epoch))
        return replace(least, seconds=round(sum(end.seconds for end in ended), 3))
