"""The training loop of several models at once: as stacked models, and by CUDA graphs.

`tasearch.train.loop` is the plain loop, which trains one model at a time with the same results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tasearch.chains.rungs import rung_epochs
from tasearch.runs import heartbeat
from tasearch.train.batches import TrainingJob
from tasearch.train.fast.cuda_graphs import Graphs
from tasearch.train.fast.group import Group
from tasearch.train.fast.stacked_batches import StackedPlan
from tasearch.train.layout import input_format
from tasearch.train.loop import (
    EpochResult,
    epoch_result,
    least_epoch,
    past_result,
    score_on_device,
    seeded,
    train_in_turn,
)
from tasearch.train.optimizer import set_rates
from tasearch.train.schedules import SCHEDULES
from tasearch.train.state import State


def train_models(
    states: Sequence[State],
    jobs: Sequence[TrainingJob],
    *,
    slots: int | None,
    most: int | None = None,
    graphs: Graphs | None = None,
) -> Iterator[list[EpochResult]]:
    """Train models of one architecture to the end of their recipe; one value for each epoch.

    Closing the iterator between two values loses nothing: states that are restored from
    checkpoints continue bit for bit on CPU. States are up to date at rungs, and where a model has
    a fault, which does not affect the others.

    Args:
        states: The models, changed in place. They are at one epoch, unless each trains alone: then
            the models that are ahead wait for the others.
        jobs: What each model learns from.
        slots: Number of which the slots of a stacked model are a multiple; the last model is
            repeated in slots that are left over. None trains the models one after another.
        most: Largest number of slots for which there is memory; more models are trained as several
            stacked models, one after another. None for no limit.
        graphs: Recorded steps on CUDA; None launches each operation by itself. A model that cannot
            be copied is trained without graphs, and so is one whose samples the host makes.

    Yields:
        The result of the epoch for each model.
    """
    if graphs is not None and (jobs[0].views.on_host or not graphs.can_copy(states[0].net)):
        graphs = None
    if graphs is None and slots is None:
        yield from train_in_turn(states, jobs)
        return
    if graphs is not None:
        graphs.release()
    chunks = _chunks(states, jobs, _members(len(states), slots, most), slots is not None, graphs)
    epochs = states[0].recipe.epochs
    rungs = rung_epochs(epochs, jobs[0].rungs)
    for epoch in range(least_epoch(states), epochs):
        losses = [loss for chunk in chunks for loss in chunk.train_epoch(epoch)][: len(states)]
        for state in states:
            state.epoch = max(epoch + 1, state.epoch)
        at_rung = epoch + 1 in rungs
        if at_rung or not all(loss is None or math.isfinite(loss) for loss in losses):
            for holder in (graphs,) if graphs else chunks:
                holder.hand_back()
        yield _epoch_results(states, jobs, losses, epoch + 1, at_rung=at_rung)


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Models that are one stacked model, or one model alone.

    Args:
        states: The models; the last one may be repeated.
        jobs: What each model learns from.
        stacked: Whether they are a stacked model.
        graphs: Recorded steps; None to launch each operation by itself.
        group: The models where `graphs` is None.
    """

    states: list[State]
    jobs: list[TrainingJob]
    stacked: bool
    graphs: Graphs | None
    group: Group | None

    def train_epoch(self, epoch: int) -> list[float | None]:
        """Train for one epoch; the mean loss of each model, None where it has done the epoch."""
        if self.states[0].epoch > epoch:
            return [None] * len(self.states)
        with seeded(self.jobs[0].seed("noise", epoch), self.jobs[0].y.device):
            if self.graphs is not None:
                losses = self.graphs.epoch(self.states, self.jobs, epoch, stacked=self.stacked)
            else:
                assert self.group is not None
                losses = _stacked_epoch(self.group, self.jobs, epoch)
            return [*losses.view(-1).tolist()]

    def hand_back(self) -> None:
        """Bring the states up to date."""
        assert self.group is not None
        self.group.hand_back()


def _chunks(
    states: Sequence[State],
    jobs: Sequence[TrainingJob],
    members: list[list[int]],
    stacked: bool,
    graphs: Graphs | None,
) -> list[_Chunk]:
    """The models that are trained as one, given by their indices."""
    chunks = []
    for indices in members:
        own = [states[i] for i in indices]
        chunk = _Chunk(
            states=own,
            jobs=[jobs[i] for i in indices],
            stacked=stacked,
            graphs=graphs,
            group=None if graphs else Group(own, stacked=stacked),
        )
        chunks.append(chunk)
    return chunks


def _members(models: int, slots: int | None, most: int | None) -> list[list[int]]:
    """Indices of the models in each chunk; the last model may be repeated to fill slots."""
    if slots is None:
        return [[i] for i in range(models)]
    size = max(models, slots) if most is None else most
    multiple = min(slots, size)
    chunks = [[*range(models)[start : start + size]] for start in range(0, models, size)]
    return [[*chunk, *[chunk[-1]] * (-len(chunk) % multiple)] for chunk in chunks]


def _stacked_epoch(group: Group, jobs: Sequence[TrainingJob], epoch: int) -> Tensor:
    """Train a stacked model for one epoch; the mean loss of each model, (models,)."""
    recipe, live, device = group.states[0].recipe, group.live, jobs[0].y.device
    schedule = SCHEDULES[recipe.schedule]
    layout = input_format(group.states[0].net, jobs[0].views.shape, device)
    plan = StackedPlan([s.recipe for s in group.states], jobs, epoch, stacked=True)
    total = torch.zeros(len(group.states), device=device)
    live.net.train()
    for step, batch in enumerate(heartbeat.each(plan.batches())):
        done = epoch * plan.steps + step
        set_rates(live.optimizer, *schedule(done, recipe.epochs * plan.steps, recipe))
        total += group.step(plan, batch, step, bf16=jobs[0].bf16, layout=layout)
        if live.average is not None:
            live.average.update(done)
    return total / plan.steps


def _epoch_results(
    states: Sequence[State],
    jobs: Sequence[TrainingJob],
    losses: Sequence[float | None],
    epoch: int,
    *,
    at_rung: bool,
) -> list[EpochResult]:
    """The results of an epoch; models are evaluated if it is a rung."""
    accuracies: list[float | None] = [None] * len(states)
    whole = [i for i, loss in enumerate(losses) if loss is not None and math.isfinite(loss)]
    if at_rung and whole:
        found = []
        for i in whole:
            with states[i].result() as net:
                found.append(score_on_device(net, *jobs[i].validation, jobs[i].score))
        # the host waits for the device once, not once for each model
        for i, accuracy in zip(whole, torch.stack(found).tolist(), strict=True):
            accuracies[i] = accuracy
    return [
        past_result(state, epoch) if loss is None else epoch_result(state, loss, accuracy)
        for state, loss, accuracy in zip(states, losses, accuracies, strict=True)
    ]
