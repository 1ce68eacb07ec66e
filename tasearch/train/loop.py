"""The training loop: from a fresh or a half-trained model to a trained one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasearch.chain import Recipe, derived_seed
from tasearch.errors import TrainingError
from tasearch.train.layout import arranged, image_format
from tasearch.train.losses import Loss, Terms, dropped, guided_loss, ramp
from tasearch.train.optimizer import OPTIMIZERS, SCHEDULES, Average, Flat, clip, set_rates
from tasearch.train.views import Views

EVALUATION_BATCH = 256
BLOCK_BYTES = 8 * 2**20  # of samples gathered at once, for small batches


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


class State:
    """A model in training; what a checkpoint holds.

    Args:
        net: on the device; its parameters become views of flat ones.
        recipe: of the pupil.

    Attributes:
        epoch: epochs done.
        rungs: epochs at which it was evaluated so far.
        curve: validation accuracy at those.
    """

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        self.net, self.recipe = net, recipe
        self.flat = Flat(net)
        self.optimizer = OPTIMIZERS[recipe.optimizer](self.flat, recipe)
        self.average = Average(self.flat, recipe.ema) if recipe.ema is not None else None
        self.epoch = 0
        self.rungs: list[int] = []
        self.curve: list[float] = []

    @contextlib.contextmanager
    def result(self) -> Iterator[nn.Module]:
        """The net with the weights that count: their average, where there is one."""
        if self.average is not None:
            self.average.swap()
        try:
            yield self.net
        finally:
            if self.average is not None:
                self.average.swap()


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a pupil learns from, and how.

    Args:
        views: the training part.
        y: int64 (samples,), its labels.
        targets: for a slot of the views, the teachers' logits on it, float16 (ancestors, samples,
            classes), the oldest ancestor first; None for labels alone.
        validation: x, float32 standardized (samples, *in_shape), and y.
        loss: what the recipe names.
        rungs: number of evaluations.
        bf16: whether forward passes run under bfloat16 autocast.
        noise: what seeds derive from.
    """

    views: Views
    y: Tensor
    targets: Callable[[int], Tensor] | None
    validation: tuple[Tensor, Tensor]
    loss: Loss
    rungs: int
    bf16: bool
    noise: tuple[int, ...]


def rung_epochs(epochs: int, rungs: int) -> list[int]:
    """Evenly spaced epochs, the last one among them; at most one a rung."""
    return sorted({math.ceil(epochs * i / rungs) for i in range(1, rungs + 1)})


def train(state: State, lesson: Lesson) -> Iterator[Progress]:
    """Train to the end of the recipe, one epoch for each value yielded.

    Stopping between two values loses nothing: a state put back goes on, bit for bit on CPU. The
    order of samples and the noise within models depend on the lesson's noise and the epoch alone.

    Args:
        state: changed in place.
        lesson: what is learned.

    Raises:
        TrainingError: where the loss is not finite.
    """
    net, flat, optimizer, recipe = state.net, state.flat, state.optimizer, state.recipe
    views, device = lesson.views, lesson.y.device
    size = min(recipe.batch_size, len(views))
    steps = len(views) // size  # a rest too small for a batch waits for another epoch's order
    images = image_format(net, device) if len(views.shape) == 3 else torch.contiguous_format
    schedule, milestones = SCHEDULES[recipe.schedule], rung_epochs(recipe.epochs, lesson.rungs)
    while state.epoch < recipe.epochs:
        epoch, slot = state.epoch, views.slot(state.epoch)
        chance = torch.Generator().manual_seed(derived_seed("order", *lesson.noise, epoch))
        order = torch.randperm(len(views), generator=chance)[: steps * size].to(device)
        targets = lesson.targets(slot) if lesson.targets else None
        kept = None
        if targets is not None and len(targets) > 1:
            kept = dropped(len(targets), steps, recipe.drop, chance).to(device)
        terms = Terms(
            temperature=recipe.temperature, alpha=recipe.alpha, ramp=ramp(epoch, recipe.epochs)
        )
        total = torch.zeros((), device=device)
        step = epoch * steps
        net.train()
        with seeded(derived_seed("noise", *lesson.noise, epoch), device):
            for x, y, guides in batches(views, lesson.y, targets, order, slot, size):
                set_rates(optimizer, *schedule(step, recipe.epochs * steps, recipe))
                with torch.autocast(device.type, torch.bfloat16, enabled=lesson.bf16):
                    logits = net(arranged(x, images))
                logits = logits.float()
                if guides is None:
                    value = lesson.loss(logits, y, None, terms)
                elif kept is None:
                    value = lesson.loss(logits, y, guides[0], terms)
                else:
                    mask = kept[step - epoch * steps]
                    value = guided_loss(lesson.loss, logits, y, guides, terms, mask)
                flat.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                if recipe.clip is not None:
                    clip(flat, recipe.clip)
                optimizer.step()
                if state.average is not None:
                    state.average.update(step)
                total += value.detach()
                step += 1
        mean = float(total) / steps
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss became {mean} in epoch {epoch + 1} of {recipe.epochs} ({recipe.words})"
            )
        state.epoch = epoch + 1
        accuracy = None
        if state.epoch in milestones:
            with state.result() as result:
                accuracy = evaluate(result, *lesson.validation)
            state.rungs.append(state.epoch)
            state.curve.append(accuracy)
        yield Progress(epoch=state.epoch, epochs=recipe.epochs, loss=mean, accuracy=accuracy)


def batches(
    views: Views, y: Tensor, targets: Tensor | None, order: Tensor, slot: int, size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Batches (x, y, targets of each ancestor) in an order, gathered several at a time.

    A gather costs about the same call for one batch of a small data set as for all of them.
    """
    sample_bytes = 4 * math.prod(views.shape)
    block = size * max(1, BLOCK_BYTES // (size * sample_bytes))
    for samples in torch.split(order, block):
        x, labels = views.batch(samples, slot), y[samples]
        guides = None if targets is None else targets[:, samples].float()
        for start in range(0, len(samples), size):
            end = start + size
            yield (
                x[start:end],
                labels[start:end],
                None if guides is None else guides[:, start:end],
            )


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
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    for index, value in enumerate(state.average.values if state.average else ()):
        tensors[f"average.{index}"] = value
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
    for position, average in enumerate(state.average.values if state.average else ()):
        average.copy_(tensors[f"average.{position}"])
