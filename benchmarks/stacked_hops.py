"""Hops of several replicates, trained as one stacked model by a plain loop.

Losses, optimizer, schedule and the cnn family are tasearch's; recipes are those of a study file.
The loop can do what the trainer cannot: initial weights from the teacher, and losses of hidden
layers. Within a replicate all trainings of a width have the same random initial weights and the
same order of samples. There is no augmentation, so that what the teacher computes is computed once;
a trainer with augmentation would compute its features anew in each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.feature_losses import KEPT, PROJECTED, Projection, attention_transfer
from benchmarks.inheritance import inherit
from tasearch.chains.keys import derived_seed
from tasearch.chains.recipe import LABELS_ONLY, Recipe
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.models import FAMILIES
from tasearch.profiling.counts import forward_flops
from tasearch.train.fast.norms import fuse_norms
from tasearch.train.fast.stacking import stacked_model, tensor_pairs
from tasearch.train.loop import evaluate
from tasearch.train.losses import LOSSES, Terms
from tasearch.train.optimizer import set_rates
from tasearch.train.schedules import cosine
from tasearch.train.state import State

Nets = list[nn.Sequential]  # of one width, one for each replicate


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a model is trained, beside its epochs.

    Args:
        loss: A name in `tasearch.train.losses.LOSSES`.
        inherits: Whether it starts from its teacher's most important channels.
        feature: A name in `feature_losses.KEPT`; None for no feature loss.
        weight: Weight of the feature loss at each layer.
        rate: Factor of the study's learning rate.
    """

    loss: str
    inherits: bool = False
    feature: str | None = None
    weight: float = 0.0
    rate: float = 1.0

    def __str__(self) -> str:
        start = "inherits" if self.inherits else "random"
        feature = f", {self.feature} x {self.weight:g}" if self.feature else ""
        return f"{self.loss}, {start}{feature}, rate x {self.rate:g}"


FROM_LABELS = Method(loss=LABELS_ONLY)


class Hops:
    """The replicates of a study, and how its models are trained.

    Args:
        study: A study of images without augmentation.
        numbers: Numbers of the replicates.
    """

    def __init__(self, study: Study, numbers: Sequence[int]) -> None:
        assert study.training.augment == "none" and study.training.schedule == "cosine"
        data = load_data(study)
        self.study, self.numbers = study, numbers
        self.in_shape, self.classes = data.in_shape, data.num_classes

        def standardized(x: np.ndarray) -> Tensor:
            return torch.from_numpy(((x - data.mean) / data.std).astype(np.float32))

        self.x, self.y = standardized(data.train.x), torch.tensor(data.train.y)
        self.validation = standardized(data.validation.x), torch.tensor(data.validation.y)

    def recipe(self, method: Method, epochs: int) -> Recipe:
        """The study's recipe of a student, with the method's loss and learning rate."""
        first, *_ = self.study.recipes("student").one_per_loss()
        rate = method.rate * first.learning_rate
        return replace(first, loss=method.loss, epochs=epochs, learning_rate=rate)

    def drawn(self, width: int) -> Nets:
        """Models with random weights, which depend on replicate and width alone."""
        nets = []
        for number in self.numbers:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derived_seed("initial", number, width))
                build = FAMILIES[self.study.model.family]
                nets.append(build(width, in_shape=self.in_shape, num_classes=self.classes))
        return nets  # type: ignore[return-value]  # family cnn returns nn.Sequential

    def train(
        self, width: int, method: Method, epochs: int, teacher: Trained | None = None
    ) -> Trained:
        """Train models of all replicates.

        Args:
            width: Their width.
            method: How they are trained.
            epochs: Passes over the training set.
            teacher: Their teachers; None for labels alone.
        """
        nets, recipe = self.drawn(width), self.recipe(method, epochs)
        if method.inherits and teacher is not None:
            for net, own in zip(nets, teacher.nets, strict=True):
                inherit(net, own)
        projects = teacher is not None and method.feature == PROJECTED
        wanted = teacher.channels if projects and teacher is not None else []
        stack = Stack(nets, wanted, self._seeds("projection", width)).train()
        state, loss = State(stack, recipe), LOSSES[method.loss]
        terms = Terms(temperature=recipe.temperature, alpha=recipe.alpha)
        steps = epochs * (len(self.x) // recipe.batch_size)
        for step, samples in enumerate(self._batches(width, recipe)):
            set_rates(state.optimizer, *cosine(step, steps, recipe))
            logits, features = stack(self.x[samples])
            targets = None if teacher is None else teacher.logits(samples)
            losses = loss(logits, self.y[samples], targets, terms)
            if teacher is not None and method.feature:
                given = teacher.features(samples, method.feature)
                losses = losses + method.weight * stack.feature_loss(features, given)
            state.flat.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            state.optimizer.step()
        stack.hand_back(nets)
        return Trained(nets, self.x)

    def accuracies(self, trained: Trained) -> list[float]:
        """Validation accuracy of each model, in percent."""
        return [100 * evaluate(net, *self.validation) for net in trained.nets]

    def restored(self, width: int, states: Sequence[dict[str, Tensor]]) -> Trained:
        """Trained models from their state dicts."""
        nets = self.drawn(width)
        for net, state in zip(nets, states, strict=True):
            net.load_state_dict(state)
        return Trained(nets, self.x)

    def flops(self, width: int) -> int:
        """FLOPs of a forward pass of one sample."""
        return forward_flops(self.drawn(width)[0], self.in_shape)

    def projection_flops(self, width: int, wanted: int) -> int:
        """FLOPs of projecting all features of one sample.

        Args:
            width: Width of the student.
            wanted: Width of the teacher.
        """
        nets = (self.drawn(w)[0].eval() for w in (width, wanted))
        own, other = (_logits_and_features(net, self.x[:1])[1] for net in nets)
        return sum(2 * f.numel() * wide.shape[1] for f, wide in zip(own, other, strict=True))

    def _seeds(self, purpose: str, *parts: int) -> list[int]:
        return [derived_seed(purpose, number, *parts) for number in self.numbers]

    def _batches(self, width: int, recipe: Recipe) -> Iterator[Tensor]:
        """Sample numbers of each step, int64 (models, batch); a part of a batch is left out."""
        size = recipe.batch_size
        for epoch in range(recipe.epochs):
            generators = map(torch.Generator().manual_seed, self._seeds("order", width, epoch))
            orders = [torch.randperm(len(self.x), generator=g) for g in generators]
            whole = len(self.x) // size * size
            yield from torch.split(torch.stack(orders)[:, :whole], size, dim=1)


class Trained:
    """Trained models of all replicates, and what they compute of the training set.

    Args:
        nets: The models, in eval mode.
        x: The training set.
    """

    def __init__(self, nets: Nets, x: Tensor) -> None:
        self.nets, self._x = [net.eval() for net in nets], x

    def logits(self, samples: Tensor) -> Tensor:
        """Logits of samples of each model, (models, batch, classes).

        Args:
            samples: Their numbers, int64 (models, batch).
        """
        return _gathered([logits for logits, _ in self._outputs], samples)

    def features(self, samples: Tensor, loss: str) -> list[Tensor]:
        """What a feature loss needs of each layer, (models, batch, ...).

        Args:
            samples: Numbers of samples of each model, int64 (models, batch).
            loss: Name of the feature loss.
        """
        return [_gathered(layer, samples) for layer in self._kept(loss)]

    @cached_property
    def channels(self) -> list[int]:
        """Number of channels of each layer that has features."""
        return [m.num_features for m in self.nets[0] if isinstance(m, nn.BatchNorm2d)]

    @cached_property
    def _outputs(self) -> list[tuple[Tensor, list[Tensor]]]:
        return [_logits_and_features(net, self._x) for net in self.nets]

    @cache  # noqa: B019  # as long as the models
    def _kept(self, loss: str) -> list[list[Tensor]]:
        """By layer, the kept features of each model."""
        layers = zip(*(features for _, features in self._outputs), strict=True)
        return [[KEPT[loss](own[None])[0] for own in layer] for layer in layers]


def _gathered(values: list[Tensor], samples: Tensor) -> Tensor:
    """The values of some samples, (models, batch, ...)."""
    return torch.stack([own[s] for own, s in zip(values, samples, strict=True)])


@torch.no_grad()
def _logits_and_features(net: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits and features of all samples."""
    cut, logits, features = cuts(net), [], []
    for part in torch.split(x, 256):
        own = []
        for block in cut[:-1]:
            part = block(part)
            own.append(part)
        features.append(own)
        logits.append(cut[-1](part))
    return torch.cat(logits), [torch.cat(own) for own in zip(*features, strict=True)]


def cuts(net: nn.Sequential) -> list[nn.Sequential]:
    """A network in parts: each ends with a ReLU, whose outputs are features, or is the head."""
    parts: list[list[nn.Module]] = [[]]
    for module in net:
        parts[-1].append(module)
        if isinstance(module, nn.ReLU):
            parts.append([])
    return [nn.Sequential(*modules) for modules in parts]


class Stack(nn.Module):
    """Models of one width as one model, with their features.

    Args:
        nets: The models, which stay as they are.
        wanted: Channels of the teachers' features at each layer, to project to; empty without a
            projection.
        seeds: Seeds of the projections, one for each model.
    """

    def __init__(self, nets: Nets, wanted: list[int], seeds: list[int]) -> None:
        super().__init__()
        self.models = len(nets)
        wide = stacked_model(nets[0], self.models).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for own, parts, per_model in tensor_pairs(wide, nets):  # type: ignore[arg-type]
            if per_model:
                own.data.copy_(torch.stack(parts).detach())
        self.__dict__["_wide"] = wide  # its modules are those of the parts
        self.parts = nn.ModuleList(cuts(wide))
        channels = [m.num_features // self.models for m in wide if isinstance(m, nn.BatchNorm2d)]
        self.projections = nn.ModuleList(
            Projection(seeds, own, other) for own, other in zip(channels, wanted, strict=False)
        )
        fuse_norms(self)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (models, batch, classes), and features of each layer.

        Args:
            x: Samples of each model, (models, batch, channels, height, width).
        """
        x = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        features = []
        *blocks, head = self.parts
        for block in blocks:
            x = block(x)
            features.append(x.view(len(x), self.models, -1, *x.shape[2:]).transpose(0, 1))
        return head(x).view(len(x), self.models, -1).transpose(0, 1), features

    def feature_loss(self, features: list[Tensor], wanted: list[Tensor]) -> Tensor:
        """The feature loss of each model, the sum over layers, (models,)."""
        losses: list[Any] = [*self.projections] or [attention_transfer] * len(features)
        layers = zip(losses, features, wanted, strict=True)
        return torch.stack([loss(own, other) for loss, own, other in layers]).sum(0)

    @torch.no_grad()
    def hand_back(self, nets: Nets) -> None:
        """Copy the weights to single models."""
        for own, parts, per_model in tensor_pairs(self._wide, nets):  # type: ignore[arg-type]
            for value, part in zip(own if per_model else [own] * len(parts), parts, strict=True):
                part.copy_(value)
