"""The training loop: from fresh or half-trained models to trained ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasearch.errors import TrainingError
from tasearch.runs import heartbeat
from tasearch.train.batches import Epoch, Lesson
from tasearch.train.fast.cuda_graphs import Graphs
from tasearch.train.layout import evaluation_batch, input_format
from tasearch.train.optimizer import SCHEDULES, set_rates
from tasearch.train.state import Group, State
from tasearch.train.step import learn

NOT_FINITE = "the model's outputs are not finite"


def rung_epochs(epochs: int, rungs: int) -> list[int]:
    """Evenly spaced epochs, the last one among them; at most one a rung."""
    return sorted({math.ceil(epochs * i / rungs) for i in range(1, rungs + 1)})


@dataclass(frozen=True, kw_only=True)
class Lap:
    """One epoch of one pupil.

    Args:
        loss: mean over the epoch's steps; None where the pupil had done it before.
        accuracy: of the validation part, at rungs; None between.
        fault: why the pupil is good for nothing any more; empty where it is.
    """

    loss: float | None
    accuracy: float | None
    fault: str


def train(
    states: Sequence[State],
    lessons: Sequence[Lesson],
    *,
    seats: int | None,
    most: int | None = None,
    graphs: Graphs | None = None,
) -> Iterator[list[Lap]]:
    """Train pupils abreast to the end of their recipe, one epoch of each for a value yielded.

    Stopping between two values loses nothing: states put back go on, bit for bit on CPU. The order
    of samples and the noise within models depend on a lesson's noise and the epoch alone. States
    are up to date at rungs, and where a pupil has a fault, which is none of its neighbours'.

    Args:
        states: of one architecture, changed in place; at one epoch, unless each trains alone: then
            those that are ahead wait for the others.
        lessons: of each.
        seats: of one wide model, a multiple of this; pupils that repeat the last one fill it up.
            None trains each in turn, an epoch at a time.
        most: seats of one wide model that there is memory for; several are trained in turn.
        graphs: make the steps on CUDA; None makes them one by one, here, as they are of a model
            that cannot be copied.
    """
    recipe, device, epoch = states[0].recipe, lessons[0].y.device, least_epoch(states)
    schedule, milestones = SCHEDULES[recipe.schedule], rung_epochs(recipe.epochs, lessons[0].rungs)
    layout, bf16 = input_format(states[0].net, lessons[0].views.shape, device), lessons[0].bf16
    if graphs is not None and not graphs.can_copy(states[0].net):
        graphs = None
    fused, together = seats is not None, _together(len(states), seats, most)
    seated = [([states[i] for i in m], [lessons[i] for i in m]) for m in together]
    groups = [] if graphs else [Group(own, fused=fused) for own, _ in seated]
    if graphs is not None:
        graphs.release()
    while epoch < recipe.epochs:
        losses: list[float | None] = []
        for place, (own, taught) in enumerate(seated):
            if own[0].epoch > epoch:
                losses.append(None)
                continue
            with seeded(taught[0].seed("noise", epoch), device):
                if graphs is not None:
                    losses += graphs.epoch(own, taught, epoch, fused=fused).view(-1).tolist()
                    continue
                group, recipes = groups[place], [state.recipe for state in own]
                lesson = Epoch(recipes, taught, epoch, fused=fused)
                total = torch.zeros(len(own) if fused else (), device=device)
                group.body.net.train()
                for step, batch in enumerate(heartbeat.each(lesson.batches())):
                    done, all_ = epoch * lesson.steps + step, recipe.epochs * lesson.steps
                    set_rates(group.body.optimizer, *schedule(done, all_, recipe))
                    total += learn(group, lesson, batch, step, bf16=bf16, layout=layout)
                    if group.body.average is not None:
                        group.body.average.update(done)
                losses += (total / lesson.steps).view(-1).tolist()
        epoch += 1
        for state in states:
            state.epoch = max(epoch, state.epoch)
        losses = losses[: len(states)]
        if epoch in milestones or not all(loss is None or math.isfinite(loss) for loss in losses):
            for holder in (graphs,) if graphs else groups:
                holder.hand_back()
        yield _laps(states, lessons, losses, epoch, graded=epoch in milestones)


def _together(pupils: int, seats: int | None, most: int | None) -> list[list[int]]:
    """Who trains in one model, the last one of them in several seats."""
    if seats is None:
        return [[i] for i in range(pupils)]
    size = max(pupils, seats) if most is None else most
    multiple = min(seats, size)
    chunks = [[*range(pupils)[start : start + size]] for start in range(0, pupils, size)]
    return [[*chunk, *[chunk[-1]] * (-len(chunk) % multiple)] for chunk in chunks]


def least_epoch(states: Sequence[State]) -> int:
    """Epochs that all pupils have done."""
    return min(state.epoch for state in states)


def _laps(
    states: Sequence[State],
    lessons: Sequence[Lesson],
    losses: Sequence[float | None],
    epoch: int,
    *,
    graded: bool,
) -> list[Lap]:
    """Pupils after an epoch; evaluated at a rung, which they note."""
    accuracies = [math.nan] * len(states)
    whole = [i for i, loss in enumerate(losses) if loss is not None and math.isfinite(loss)]
    if graded and whole:
        found = []
        for i in whole:
            with states[i].result() as net:
                found.append(_accuracy(net, *lessons[i].validation))
        for i, accuracy in zip(whole, torch.stack(found).tolist(), strict=True):
            accuracies[i] = accuracy
    pupils = zip(states, losses, accuracies, strict=True)
    return [
        _past(state, epoch) if loss is None else _lap(state, loss, accuracy, graded)
        for state, loss, accuracy in pupils
    ]


def _past(state: State, epoch: int) -> Lap:
    """An epoch that a pupil had done before."""
    known = dict(zip(state.rungs, state.curve, strict=True))
    return Lap(loss=None, accuracy=known.get(epoch), fault="")


def _lap(state: State, loss: float, accuracy: float, graded: bool) -> Lap:
    recipe = state.recipe
    if not math.isfinite(loss):
        fault = f"the loss became {loss} in epoch {state.epoch} of {recipe.epochs} ({recipe.words})"
        return Lap(loss=loss, accuracy=None, fault=fault)
    if not graded:
        return Lap(loss=loss, accuracy=None, fault="")
    if math.isnan(accuracy):
        return Lap(loss=loss, accuracy=None, fault=NOT_FINITE)
    state.rungs.append(state.epoch)
    state.curve.append(accuracy)
    return Lap(loss=loss, accuracy=accuracy, fault="")


@torch.no_grad()  # not inference mode, for a model may keep what it makes, and train with it
def predict(net: nn.Module, x: Tensor) -> Tensor:
    """Logits (samples, classes) of a model in eval mode, in batches."""
    net.eval()
    parts = torch.split(x, evaluation_batch(x.device))
    return torch.cat([net(part) for part in heartbeat.each(parts)])


def evaluate(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of samples whose largest logit is their label's.

    Raises:
        TrainingError: where a logit is not finite.
    """
    accuracy = float(_accuracy(net, x, y))
    if math.isnan(accuracy):
        raise TrainingError(NOT_FINITE)
    return accuracy


def _accuracy(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The same, float64 () on the device; NaN where a logit is not finite."""
    logits = predict(net, x)
    right = (logits.argmax(dim=1) == y).sum().double() / len(y)
    return torch.where(logits.isfinite().all(), right, torch.nan)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generators drawn from `seed`, and put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
