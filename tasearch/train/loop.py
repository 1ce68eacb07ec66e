"""The training loop: from fresh or half-trained models to trained ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasearch.chain import derived_seed
from tasearch.errors import TrainingError
from tasearch.train.layout import arranged, input_format
from tasearch.train.lesson import Epoch, Lesson
from tasearch.train.optimizer import SCHEDULES, set_rates
from tasearch.train.state import Group, State

EVALUATION_BATCH = 64  # a larger one is slower: it outgrows the processor's caches


def rung_epochs(epochs: int, rungs: int) -> list[int]:
    """Evenly spaced epochs, the last one among them; at most one a rung."""
    return sorted({math.ceil(epochs * i / rungs) for i in range(1, rungs + 1)})


@dataclass(frozen=True, kw_only=True)
class Lap:
    """One epoch of one pupil.

    Args:
        loss: mean over the epoch's steps.
        accuracy: of the validation part, at rungs; None between.
        fault: why the pupil is good for nothing any more; empty where it is.
    """

    loss: float
    accuracy: float | None
    fault: str


def train(
    states: Sequence[State], lessons: Sequence[Lesson], *, seats: int | None
) -> Iterator[list[Lap]]:
    """Train pupils abreast to the end of their recipe, one epoch of each for a value yielded.

    Stopping between two values loses nothing: states put back go on, bit for bit on CPU. The order
    of samples and the noise within models depend on a lesson's noise and the epoch alone. States
    are up to date at rungs, and where a pupil has a fault, which is none of its neighbours'.

    Args:
        states: of one architecture, at one epoch; changed in place.
        lessons: of each.
        seats: of one wide model, a multiple of this; pupils that repeat the last one fill it up.
            None trains each in turn, an epoch at a time.
    """
    recipe, device, epoch = states[0].recipe, lessons[0].y.device, states[0].epoch
    schedule, milestones = SCHEDULES[recipe.schedule], rung_epochs(recipe.epochs, lessons[0].rungs)
    layout = input_format(states[0].net, lessons[0].views.shape, device)
    fused, together = seats is not None, [[i] for i in range(len(states))]
    if seats is not None:
        together = [[*range(len(states)), *[len(states) - 1] * (-len(states) % seats)]]
    groups = [Group([states[i] for i in members], fused=fused) for members in together]
    while epoch < recipe.epochs:
        losses: list[float] = []
        for group, members in zip(groups, together, strict=True):
            net, flat, optimizer = group.body.net, group.body.flat, group.body.optimizer
            noise, bf16 = lessons[members[0]].noise, lessons[members[0]].bf16
            lesson = Epoch(group, [lessons[i] for i in members], epoch)
            total = torch.zeros(len(members) if fused else (), device=device)
            first = step = epoch * lesson.steps
            net.train()
            with seeded(derived_seed("noise", *noise, epoch), device):
                for x, rows in lesson.batches():
                    set_rates(optimizer, *schedule(step, recipe.epochs * lesson.steps, recipe))
                    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                        logits = net(arranged(x, layout))
                    if fused:
                        logits = logits.view(len(x), len(members), -1).transpose(0, 1)
                    value = lesson.value(logits.float(), rows, step - first)
                    flat.zero_grad()
                    value.sum().backward()  # type: ignore[no-untyped-call]
                    if recipe.clip is not None:
                        group.clip(recipe.clip)
                    optimizer.step()
                    if group.body.average is not None:
                        group.body.average.update(step)
                    total += value.detach()
                    step += 1
            losses += (total / lesson.steps).view(-1).tolist()
        epoch += 1
        for state in states:
            state.epoch = epoch
        losses = losses[: len(states)]
        if epoch in milestones or not all(map(math.isfinite, losses)):
            for group in groups:
                group.hand_back()
        yield [
            _lap(state, lesson, loss, epoch in milestones)
            for state, lesson, loss in zip(states, lessons, losses, strict=True)
        ]


def _lap(state: State, lesson: Lesson, loss: float, graded: bool) -> Lap:
    """A pupil after an epoch; evaluated at a rung, which it notes."""
    recipe, accuracy = state.recipe, None
    if not math.isfinite(loss):
        fault = f"the loss became {loss} in epoch {state.epoch} of {recipe.epochs} ({recipe.words})"
        return Lap(loss=loss, accuracy=None, fault=fault)
    if graded:
        try:
            with state.result() as net:
                accuracy = evaluate(net, *lesson.validation)
        except TrainingError as error:
            return Lap(loss=loss, accuracy=None, fault=str(error))
        state.rungs.append(state.epoch)
        state.curve.append(accuracy)
    return Lap(loss=loss, accuracy=accuracy, fault="")


@torch.inference_mode()
def predict(net: nn.Module, x: Tensor) -> Tensor:
    """Logits (samples, classes) of a model in eval mode, in batches."""
    net.eval()
    return torch.cat([net(part) for part in torch.split(x, EVALUATION_BATCH)])


def evaluate(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of samples whose largest logit is their label's.

    Raises:
        TrainingError: where a logit is not finite.
    """
    logits = predict(net, x)
    if not logits.isfinite().all():
        raise TrainingError("the model's outputs are not finite")
    return int((logits.argmax(dim=1) == y).sum()) / len(y)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generators drawn from `seed`, and put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
