"""The training loop, one model at a time: from fresh or half-trained weights to the last epoch.

`tasearch.train.fast` trains several models at once, with the same results; nothing here needs it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasearch.chains.rungs import rung_epochs
from tasearch.errors import TrainingError
from tasearch.models.hidden import read_hidden
from tasearch.models.wrappers import pad_of
from tasearch.runs import heartbeat
from tasearch.train.augmentation import AugmentedData
from tasearch.train.batches import Batch, EpochPlan, TrainingJob
from tasearch.train.layout import evaluation_batch, input_format, to_format
from tasearch.train.lengths import predict_texts
from tasearch.train.losses import Loss, Terms, training_loss
from tasearch.train.metrics import Score, accuracy
from tasearch.train.optimizer import clip, set_rates
from tasearch.train.schedules import SCHEDULES
from tasearch.train.state import State

NOT_FINITE = "the model's outputs are not finite"


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """The result of one epoch of one model.

    Args:
        loss: Mean loss over the epoch's steps; None where the epoch was done before.
        accuracy: Score on the validation set at a rung, the accuracy in 0..1 unless the study has
            another metric; None at other epochs.
        fault: Why the model cannot be trained further; empty where it can.
    """

    loss: float | None
    accuracy: float | None
    fault: str


def train(state: State, job: TrainingJob) -> Iterator[EpochResult]:
    """Train a model to the end of its recipe; one value for each epoch.

    Closing the iterator between two values loses nothing: a state that is restored from a
    checkpoint continues bit for bit on CPU. The order of samples and the noise within the model
    depend on the job's seeds and the epoch alone.

    Args:
        state: The model, changed in place.
        job: What the model learns from.
    """
    recipe, device = state.recipe, job.y.device
    rungs = rung_epochs(recipe.epochs, job.rungs)
    for epoch in range(state.epoch, recipe.epochs):
        with seeded(job.seed("noise", epoch), device):
            loss = _train_epoch(state, job, epoch)
        state.epoch = epoch + 1
        at_rung = state.epoch in rungs and math.isfinite(loss)
        yield epoch_result(state, loss, _result_score(state, job) if at_rung else None)


def _train_epoch(state: State, job: TrainingJob, epoch: int) -> float:
    """Train a model for one epoch; the mean loss over its steps."""
    recipe, device = state.recipe, job.y.device
    schedule, plan = SCHEDULES[recipe.schedule], EpochPlan(recipe, job, epoch)
    layout = input_format(state.net, job.views.shape, device)
    hidden = job.hidden(epoch) if job.hidden else None
    total = torch.zeros((), device=device)  # on the device: reading it would wait for each step
    state.net.train()
    for step, batch in enumerate(heartbeat.each(plan.batches()), start=epoch * plan.steps):
        set_rates(state.optimizer, *schedule(step, recipe.epochs * plan.steps, recipe))
        total += train_step(
            state, batch, job.loss, plan.terms, bf16=job.bf16, layout=layout, hidden=hidden
        )
        if state.average is not None:
            state.average.update(step)
    return float(total / plan.steps)


def train_step(
    state: State,
    batch: Batch,
    loss: Loss,
    terms: Terms,
    *,
    bf16: bool,
    layout: torch.memory_format,
    hidden: nn.Module | None = None,
) -> Tensor:
    """One optimizer step: forward, backward, update.

    Args:
        state: The model in training mode, changed in place; its optimizer has the step's rates.
        batch: The samples to learn from.
        loss: The loss to minimize.
        terms: Weights of the loss's terms.
        bf16: Whether the forward pass runs under bfloat16 autocast.
        layout: Memory format of the inputs.
        hidden: The model whose hidden layers the model learns from; None for logits alone.

    Returns:
        The loss before the step, ().
    """
    x = to_format(batch.x, layout)
    with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=bf16):
        logits, own = (state.net(x), None) if hidden is None else read_hidden(state.net, x)
    value = training_loss(loss, logits.float(), batch.labels, batch.targets, terms, batch.kept)
    if hidden is not None and state.hidden is not None and own is not None:
        value = value + state.recipe.hidden_weight * state.hidden.of_batch(own, hidden, x)
    state.flat.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    if state.recipe.clip is not None:
        clip(state.flat, state.recipe.clip)
    state.optimizer.step()
    return value.detach()


def train_in_turn(
    states: Sequence[State], jobs: Sequence[TrainingJob]
) -> Iterator[list[EpochResult]]:
    """Train models one after another, an epoch at a time; one value for each epoch.

    Args:
        states: The models, changed in place; those that are ahead wait for the others.
        jobs: What each model learns from.

    Yields:
        The result of the epoch for each model.
    """
    trainings = [train(state, job) for state, job in zip(states, jobs, strict=True)]
    for epoch in range(least_epoch(states), states[0].recipe.epochs):
        yield [
            past_result(state, epoch + 1) if state.epoch > epoch else next(training)
            for state, training in zip(states, trainings, strict=True)
        ]


def least_epoch(states: Sequence[State]) -> int:
    """The number of epochs that all models have done."""
    return min(state.epoch for state in states)


def past_result(state: State, epoch: int) -> EpochResult:
    """The result of an epoch that the model had done before.

    Args:
        state: The model.
        epoch: Number of epochs done after it.
    """
    known = dict(zip(state.rungs, state.curve, strict=True))
    return EpochResult(loss=None, accuracy=known.get(epoch), fault="")


def epoch_result(state: State, loss: float, accuracy: float | None) -> EpochResult:
    """The result of the epoch that the model has just done; at a rung the state notes it.

    Args:
        state: The model.
        loss: Mean loss over the epoch's steps.
        accuracy: Validation score at a rung, NaN where a logit is not finite; None elsewhere.
    """
    recipe = state.recipe
    if not math.isfinite(loss):
        fault = f"the loss became {loss} in epoch {state.epoch} of {recipe.epochs} ({recipe.words})"
        return EpochResult(loss=loss, accuracy=None, fault=fault)
    if accuracy is None:
        return EpochResult(loss=loss, accuracy=None, fault="")
    if math.isnan(accuracy):
        return EpochResult(loss=loss, accuracy=None, fault=NOT_FINITE)
    state.rungs.append(state.epoch)
    state.curve.append(accuracy)
    return EpochResult(loss=loss, accuracy=accuracy, fault="")


@torch.no_grad()  # not inference mode: a model may keep a tensor, and train with it later
def predict(net: nn.Module, x: Tensor | AugmentedData) -> Tensor:
    """Logits (samples, classes) of a model in eval mode, computed in batches."""
    net.eval()
    pad = pad_of(net)
    if pad is not None and isinstance(x, Tensor):
        return predict_texts(net, x, pad)
    parts = x.split(evaluation_batch(x.device))
    return torch.cat([net(part) for part in heartbeat.each(parts)])


def evaluate(
    net: nn.Module, x: Tensor | AugmentedData, y: Tensor, score: Score = accuracy
) -> float:
    """Score of a model: by default its accuracy.

    Raises:
        TrainingError: If a logit is not finite.
    """
    found = float(score_on_device(net, x, y, score))
    if math.isnan(found):
        raise TrainingError(NOT_FINITE)
    return found


def score_on_device(net: nn.Module, x: Tensor | AugmentedData, y: Tensor, score: Score) -> Tensor:
    """Score of a model, float64 (), on its device; NaN where a logit is not finite."""
    logits = predict(net, x)
    return torch.where(logits.isfinite().all(), score(logits, y), torch.nan)


def _result_score(state: State, job: TrainingJob) -> float:
    with state.result() as net:
        return float(score_on_device(net, *job.validation, job.score))


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A context with torch's global generators seeded; their states are restored afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
