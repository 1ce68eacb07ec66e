"""Training a hop: from what the store has of it to its end, telling all the while."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

from tasearch.chain import Hop
from tasearch.errors import OutOfMemoryError
from tasearch.numerics import cpu_threads
from tasearch.skyline import Bar, falls_short
from tasearch.train.loop import train
from tasearch.train.messages import HopBegun, HopEnded, HopEpoch, Message, Outcome
from tasearch.train.trainer import Trainer


def train_hop(trainer: Trainer, hop: Hop, bars: Sequence[Bar | None] = ()) -> Iterator[Message]:
    """Train a hop to its end, from its last saved rung; its ancestors must be stored.

    Each rung is saved before it is told of, so that closing the iterator, or killing the process,
    loses no finished rung. A loaded teacher is evaluated and stored.

    Args:
        trainer: with the store.
        hop: all its replicates.
        bars: of each rung, below which it stops; none to let it run to its end.

    Yields:
        `HopBegun`, `HopEpoch` for each epoch, `HopEnded`.

    Raises:
        Exception: whatever is neither the hop's nor a user's own fault.
    """
    key, begun, epoch = trainer.key(hop), time.perf_counter(), 0
    steps = _training(trainer, hop, key, bars)

    def ended(outcome: Outcome, reason: str = "") -> HopEnded:
        seconds = round(time.perf_counter() - begun, 3)
        return HopEnded(key=key, outcome=outcome, epoch=epoch, seconds=seconds, reason=reason)

    while True:
        try:  # the caller's threads are its own while it has control
            with cpu_threads(trainer.study.training.threads, flush_denormals=True):
                message = next(steps)
        except StopIteration as end:
            yield ended(end.value)
            return
        except Exception as error:
            found = trainer.explained(hop, error)
            yield ended("memory" if isinstance(found, OutOfMemoryError) else "failed", str(found))
            return
        epoch = message.epoch if isinstance(message, HopBegun) else message.progress.epoch
        yield message


def _training(
    trainer: Trainer, hop: Hop, key: str, bars: Sequence[Bar | None]
) -> Generator[HopBegun | HopEpoch, None, Outcome]:
    """The same without its end, which it returns."""
    learning = trainer.begin(hop)
    if learning is None:
        yield HopBegun(key=key, epoch=0)
        return "end"
    states, lessons = learning
    yield HopBegun(key=key, epoch=states[0].epoch)
    for progress in train(states, lessons, fused=trainer.fuses(hop)):
        if progress.accuracy is not None:
            trainer.keep(hop, states)
        yield HopEpoch(key=key, progress=progress)
        rung = len(states[0].curve) - 1
        bar = bars[rung] if progress.accuracy is not None and rung < len(bars) else None
        if bar is not None and falls_short(progress.accuracy, bar):  # type: ignore[arg-type]
            return "stopped"
    return "end"
