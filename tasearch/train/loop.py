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
from tasearch.train.batches import EpochPlan, TrainingJob
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
class EpochResult:
    """One epoch of one model.

    Args:
        loss: mean over the epoch's steps; None where the model had done it before.
        accuracy: of the validation part, at rungs; None between.
        fault: why the model is good for nothing any more; empty where it is.
    """

    loss: float | None
    accuracy: float | None
    fault: str


def train(
    states: Sequence[State],
    jobs: Sequence[TrainingJob],
    *,
    slots: int | None,
    most: int | None = None,
    graphs: Graphs | None = None,
) -> Iterator[list[EpochResult]]:
    """Train models side by side to the end of their recipe, one epoch of each for a value yielded.

    Stopping between two values loses nothing: states put back go on, bit for bit on CPU. The order
    of samples and the noise within models depend on a job's noise and the epoch alone. States
    are up to date at rungs, and where a model has a fault, which is none of its group'.

    Args:
        states: of one architecture, changed in place; at one epoch, unless each trains alone: then
            those that are ahead wait for the others.
        jobs: of each.
        slots: of one wide model, a multiple of this; models that repeat the last one fill it up.
            None trains each in turn, an epoch at a time.
        most: slots of one wide model that there is memory for; several are trained in turn.
        graphs: make the steps on CUDA; None makes them one by one, here, as they are of a model
            that cannot be copied.
    """
    recipe, device, epoch = states[0].recipe, jobs[0].y.device, least_epoch(states)
    schedule, milestones = SCHEDULES[recipe.schedule], rung_epochs(recipe.epochs, jobs[0].rungs)
    layout, bf16 = input_format(states[0].net, jobs[0].views.shape, device), jobs[0].bf16
    if graphs is not None and not graphs.can_copy(states[0].net):
        graphs = None
    stacked, together = slots is not None, _together(len(states), slots, most)
    chunks = [([states[i] for i in m], [jobs[i] for i in m]) for m in together]
    groups = [] if graphs else [Group(own, stacked=stacked) for own, _ in chunks]
    if graphs is not None:
        graphs.release()
    while epoch < recipe.epochs:
        losses: list[float | None] = []
        for place, (own, own_jobs) in enumerate(chunks):
            if own[0].epoch > epoch:
                losses.append(None)
                continue
            with seeded(own_jobs[0].seed("noise", epoch), device):
                if graphs is not None:
                    losses += graphs.epoch(own, own_jobs, epoch, stacked=stacked).view(-1).tolist()
                    continue
                group, recipes = groups[place], [state.recipe for state in own]
                plan = EpochPlan(recipes, own_jobs, epoch, stacked=stacked)
                total = torch.zeros(len(own) if stacked else (), device=device)
                group.live.net.train()
                for step, batch in enumerate(heartbeat.each(plan.batches())):
                    done, all_ = epoch * plan.steps + step, recipe.epochs * plan.steps
                    set_rates(group.live.optimizer, *schedule(done, all_, recipe))
                    total += learn(group, plan, batch, step, bf16=bf16, layout=layout)
                    if group.live.average is not None:
                        group.live.average.update(done)
                losses += (total / plan.steps).view(-1).tolist()
        epoch += 1
        for state in states:
            state.epoch = max(epoch, state.epoch)
        losses = losses[: len(states)]
        if epoch in milestones or not all(loss is None or math.isfinite(loss) for loss in losses):
            for holder in (graphs,) if graphs else groups:
                holder.hand_back()
        yield _epoch_results(states, jobs, losses, epoch, graded=epoch in milestones)


def _together(models: int, slots: int | None, most: int | None) -> list[list[int]]:
    """Who trains in one model, the last one of them in several slots."""
    if slots is None:
        return [[i] for i in range(models)]
    size = max(models, slots) if most is None else most
    multiple = min(slots, size)
    chunks = [[*range(models)[start : start + size]] for start in range(0, models, size)]
    return [[*chunk, *[chunk[-1]] * (-len(chunk) % multiple)] for chunk in chunks]


def least_epoch(states: Sequence[State]) -> int:
    """Epochs that all models have done."""
    return min(state.epoch for state in states)


def _epoch_results(
    states: Sequence[State],
    jobs: Sequence[TrainingJob],
    losses: Sequence[float | None],
    epoch: int,
    *,
    graded: bool,
) -> list[EpochResult]:
    """Models after an epoch; evaluated at a rung, which they note."""
    accuracies = [math.nan] * len(states)
    whole = [i for i, loss in enumerate(losses) if loss is not None and math.isfinite(loss)]
    if graded and whole:
        found = []
        for i in whole:
            with states[i].result() as net:
                found.append(_accuracy(net, *jobs[i].validation))
        for i, accuracy in zip(whole, torch.stack(found).tolist(), strict=True):
            accuracies[i] = accuracy
    models = zip(states, losses, accuracies, strict=True)
    return [
        _past(state, epoch) if loss is None else _epoch_result(state, loss, accuracy, graded)
        for state, loss, accuracy in models
    ]


def _past(state: State, epoch: int) -> EpochResult:
    """An epoch that a model had done before."""
    known = dict(zip(state.rungs, state.curve, strict=True))
    return EpochResult(loss=None, accuracy=known.get(epoch), fault="")


def _epoch_result(state: State, loss: float, accuracy: float, graded: bool) -> EpochResult:
    recipe = state.recipe
    if not math.isfinite(loss):
        fault = f"the loss became {loss} in epoch {state.epoch} of {recipe.epochs} ({recipe.words})"
        return EpochResult(loss=loss, accuracy=None, fault=fault)
    if not graded:
        return EpochResult(loss=loss, accuracy=None, fault="")
    if math.isnan(accuracy):
        return EpochResult(loss=loss, accuracy=None, fault=NOT_FINITE)
    state.rungs.append(state.epoch)
    state.curve.append(accuracy)
    return EpochResult(loss=loss, accuracy=accuracy, fault="")


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
