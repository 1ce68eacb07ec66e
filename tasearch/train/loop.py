"""The training loop: from a fresh or a half-trained model to a trained one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tasearch.chain import Recipe, derived_seed
from tasearch.errors import TrainingError
from tasearch.train.losses import Loss

EVALUATION_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One finished epoch.

    Args:
        epoch: 1 .. epochs.
        epochs: of the recipe.
        loss: mean over the epoch's steps.
        accuracy: of the validation part, at rungs; None between.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float | None


@dataclass(kw_only=True)
class State:
    """A model in training; what a checkpoint holds.

    Args:
        net: on the device.
        optimizer: over its parameters.
        epoch: epochs done.
        rungs: epochs at which it was evaluated so far.
        curve: validation accuracy at those.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    rungs: list[int] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)


def rung_epochs(epochs: int, rungs: int) -> list[int]:
    """Evenly spaced epochs, the last one among them; at most one a rung."""
    return sorted({math.ceil(epochs * i / rungs) for i in range(1, rungs + 1)})


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; vectors (norms and biases) have no weight decay."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to zero; a function of the step alone."""
    warm = recipe.warmup * steps
    rise = min(1.0, (step + 1) / warm) if warm else 1.0
    fall = max(0.0, step - warm) / max(1.0, steps - warm)
    return recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * fall))


def train(
    state: State,
    *,
    x: Tensor,
    y: Tensor,
    targets: Tensor | None,
    validation: tuple[Tensor, Tensor],
    recipe: Recipe,
    loss: Loss,
    rungs: int,
    noise: tuple[int, ...],
) -> Iterator[Progress]:
    """Train to the end of the recipe, one epoch for each value yielded.

    Stopping between two values loses nothing: a state put back goes on, bit for bit on CPU. The
    order of samples and the noise within models depend on `noise` and the epoch alone.

    Args:
        state: changed in place.
        x: float32 (samples, *in_shape), standardized, on the device.
        y: int64 (samples,).
        targets: (samples, classes), the ancestor's logits on x; None without an ancestor.
        validation: (x, y) likewise.
        recipe: of the pupil.
        loss: what the recipe names.
        rungs: number of evaluations.
        noise: what seeds derive from.

    Raises:
        TrainingError: where the loss is not finite.
    """
    size = min(recipe.batch_size, len(x))
    steps = len(x) // size  # a rest too small for a batch waits for another epoch's order
    milestones = set(rung_epochs(recipe.epochs, rungs))
    groups = state.optimizer.param_groups
    while state.epoch < recipe.epochs:
        epoch = state.epoch
        order = torch.Generator().manual_seed(derived_seed("order", *noise, epoch))
        permutation = torch.randperm(len(x), generator=order).to(x.device)
        total = torch.zeros((), device=x.device)
        state.net.train()
        with seeded(derived_seed("noise", *noise, epoch), x.device):
            for step in range(steps):
                rate = learning_rate(epoch * steps + step, recipe.epochs * steps, recipe)
                for group in groups:
                    group["lr"] = rate
                batch = permutation[step * size : (step + 1) * size]
                logits = state.net(x[batch])
                guide = None if targets is None else targets[batch]
                value = loss(logits, y[batch], guide, recipe)
                state.optimizer.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]
                state.optimizer.step()
                total += value.detach()
        mean = float(total) / steps
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss became {mean} in epoch {epoch + 1} of {recipe.epochs} ({recipe.words})"
            )
        state.epoch = epoch + 1
        accuracy = None
        if state.epoch in milestones:
            accuracy = evaluate(state.net, *validation)
            state.rungs.append(state.epoch)
            state.curve.append(accuracy)
        yield Progress(epoch=state.epoch, epochs=recipe.epochs, loss=mean, accuracy=accuracy)


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


def pack(state: State) -> dict[str, Tensor]:
    """A state's tensors by name."""
    tensors = {f"net.{name}": t for name, t in state.net.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    return tensors


def unpack(state: State, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of `pack` back."""
    state.net.load_state_dict(
        {name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")}
    )
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".", 2)
            slots.setdefault(int(index), {})[slot] = tensor
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
