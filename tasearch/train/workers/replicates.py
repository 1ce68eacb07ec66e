"""A hop in parts: some of its replicates each, trained apart, told of as the one hop that it is."""

from __future__ import annotations

from dataclasses import replace

from tasearch.train.messages import (
    HopBegun,
    HopEnded,
    HopEpoch,
    Message,
    Progress,
    average,
    average_known,
)

Numbers = tuple[int, ...]  # of replicates


class ReplicateMerger:
    """What the parts of one hop tell, put together.

    Args:
        parts: of it, in order; each replicate in one of them.
    """

    def __init__(self, parts: list[Numbers]) -> None:
        self._parts = parts
        self._begun: dict[Numbers, int] = {}  # epochs done before
        self._epochs: dict[int, dict[Numbers, Progress]] = {}  # not all parts have done
        self._ended: dict[Numbers, HopEnded] = {}

    @property
    def over(self) -> bool:
        """Whether all parts have ended."""
        return len(self._ended) == len(self._parts)

    def take(self, part: Numbers, message: Message) -> Message | None:
        """The hop's own message, once all parts have told theirs.

        One that begins anew, for its worker has died, has been told of; so have its epochs.
        """
        if isinstance(message, HopBegun):
            known = part in self._begun
            self._begun[part] = message.epoch
            if known or len(self._begun) < len(self._parts):
                return None
            return replace(message, epoch=min(self._begun.values()))
        if isinstance(message, HopEpoch):
            done = self._epochs.setdefault(message.progress.epoch, {})
            done[part] = message.progress
            if len(done) < len(self._parts):
                return None
            del self._epochs[message.progress.epoch]
            return replace(message, progress=self._mean(done))
        if isinstance(message, HopEnded):
            self._ended[part] = message
            return self._end() if self.over else None
        return message

    def _mean(self, done: dict[Numbers, Progress]) -> Progress:
        """Over the replicates, which are not as many in each part."""
        each = [done[part] for part in self._parts for _ in part]
        return replace(
            each[0],
            loss=average(progress.loss for progress in each),
            accuracy=average_known(progress.accuracy for progress in each),
        )

    def _end(self) -> HopEnded:
        """Of the part that went least far, and so is what the hop would have ended with."""
        ended = [self._ended[part] for part in self._parts]
        first = min(ended, key=lambda end: (end.outcome == "end", end.epoch))
        return replace(first, seconds=round(sum(end.seconds for end in ended), 3))
