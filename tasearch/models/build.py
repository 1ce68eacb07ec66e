"""Building models by width, and checking that a family keeps its contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from tasearch import plugins
from tasearch.chain import Pupil
from tasearch.data import Dataset
from tasearch.errors import ModelError
from tasearch.models import cnn, mlp, plain, resnet
from tasearch.models.checkpoint import file_digest, load_checkpoint
from tasearch.study import Study

Build = Callable[..., nn.Module]

FAMILIES: dict[str, Build] = {
    "cnn": cnn.build,
    "mlp": mlp.build,
    "plain": plain.build,
    "resnet": resnet.build,
}


class _Scaled(nn.Module):
    """A model with the scale of the training part.

    Args:
        net: the model.
        mean: broadcastable to one sample.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)


class Standardized(_Scaled):
    """A model of standardized samples, on raw ones."""

    def forward(self, x: Tensor) -> Tensor:
        """Raw float32 (samples, *in_shape) to logits (samples, num_classes)."""
        logits: Tensor = self.net((x - self.mean) / self.std)
        return logits


class FromRaw(_Scaled):
    """A model of raw samples, on standardized ones."""

    def forward(self, x: Tensor) -> Tensor:
        """Standardized float32 (samples, *in_shape) to logits (samples, num_classes)."""
        logits: Tensor = self.net(x * self.std + self.mean)
        return logits


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of one study.

    Args:
        study: names the family and the teacher.
        in_shape: (channels, height, width) or (features,).
        num_classes: length of the logits.
        mean: of the training part, for a teacher that takes raw samples.
        std: likewise.
    """

    study: Study
    in_shape: tuple[int, ...]
    num_classes: int
    mean: Tensor
    std: Tensor

    @staticmethod
    def of(study: Study, data: Dataset) -> Models:
        return Models(
            study=study,
            in_shape=data.in_shape,
            num_classes=data.num_classes,
            mean=torch.from_numpy(data.mean),
            std=torch.from_numpy(data.std),
        )

    @property
    def family(self) -> str:
        """What identifies the family: its name, and what its models depend on besides.

        That is the digest of the source of a user's own, and a multiplier other than 1.
        """
        self._family()
        section = self.study.model
        name = plugins.identity(section.family, self.study.root)
        return name if section.multiplier == 1 else f"{name} x{section.multiplier}"

    def teacher(self) -> Pupil:
        """The first pupil of every chain."""
        section = self.study.teacher
        origin = []
        if section.factory is not None:
            self._factory(section.factory)
            origin.append(plugins.identity(section.factory, self.study.root))
        if section.checkpoint is not None:
            origin += [file_digest(self.checkpoint_path()), section.inputs]
        return Pupil(
            width=section.width,
            recipe=self.study.teacher_recipe(),
            origin="+".join(origin) or None,
        )

    def checkpoint_path(self) -> Path:
        assert self.study.teacher.checkpoint is not None
        return Path(self.study.root) / self.study.teacher.checkpoint

    def build(self, width: int, seed: int = 0) -> nn.Module:
        """The model of a width, on CPU, its weights drawn from `seed`; a loaded teacher's loaded.

        Raises:
            ModelError: where the user's function or checkpoint breaks its contract.
        """
        teacher = self.study.teacher
        own = width == teacher.width
        if own and teacher.factory is not None:
            path, name, args = "teacher.factory", teacher.factory, ()
            function = self._factory(teacher.factory)
        else:
            path, name, args = "model.family", self.study.model.family, (width,)  # type: ignore[assignment]
            function = self._family()
        net = self._call(function, args, path=path, name=name, seed=seed)
        if own and teacher.checkpoint is not None:
            load_checkpoint(net, self.checkpoint_path())
            if teacher.inputs == "raw":
                net = FromRaw(net, self.mean, self.std)
        return net

    def check(self, widths: Sequence[int]) -> None:
        """Build every width once; each must learn, and sizes must fall along the ladder.

        Args:
            widths: strictly decreasing.
        """
        sizes = []
        for width in widths:
            net = self.build(width)
            sizes.append(sum(p.numel() for p in net.parameters()))
            self._learns(net, width)
            if len(sizes) > 1 and sizes[-1] >= sizes[-2]:
                wider = widths[len(sizes) - 2]
                if wider == self.study.teacher.width and self.study.teacher.factory is not None:
                    raise ModelError(
                        f"teacher.factory: {self.study.teacher.factory!r}: the teacher should have "
                        f"more parameters than any other model, found {sizes[-2]:,} and "
                        f"{sizes[-1]:,} at width {width}"
                    )
                raise ModelError(
                    f"model.family: {self.study.model.family!r}: parameters should fall with the "
                    f"width, found {sizes[-2]:,} at width {wider} and {sizes[-1]:,} at {width}"
                )

    def _family(self) -> Build:
        name = self.study.model.family
        return plugins.resolve(name, FAMILIES, path="model.family", root=self.study.root)

    def _factory(self, name: str) -> Build:
        return plugins.resolve(name, {}, path="teacher.factory", root=self.study.root)

    def _call(
        self, function: Build, args: tuple[int, ...], *, path: str, name: str, seed: int
    ) -> nn.Module:
        shapes: dict[str, Any] = {"in_shape": self.in_shape, "num_classes": self.num_classes}
        if args:
            shapes |= self.study.model.options()
        wanted = "(width, *, in_shape, num_classes)" if args else "(*, in_shape, num_classes)"
        try:
            signature = inspect.signature(function)
            signature.bind(*args, **shapes)
        except TypeError as error:
            raise ModelError(
                f"{path}: {name!r} should take {wanted}, takes {signature}: {error}"
            ) from None
        at = f" at width {args[0]}" if args else ""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                net = function(*args, **shapes)
        except ModelError as error:  # a family of ours says what it refuses
            raise ModelError(f"{path}: {name!r}: {error}") from None
        except Exception as error:  # the user's function may raise anything
            raise ModelError(
                f"{path}: {name!r}{at} raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(net, nn.Module):
            raise ModelError(
                f"{path}: {name!r}{at} should return a torch.nn.Module, "
                f"returned {type(net).__name__}"
            )
        if any(isinstance(p, UninitializedParameter) for p in net.parameters()):
            raise ModelError(f"{path}: {name!r}{at} has lazy modules; give them their sizes")
        return net

    def _learns(self, net: nn.Module, width: int) -> None:
        """A batch of two goes forward and its gradient backward."""
        where = f"the model of width {width}"
        x = torch.linspace(-1, 1, 2 * torch.Size(self.in_shape).numel())
        try:
            with torch.random.fork_rng(devices=[]):
                logits = net.train()(x.reshape(2, *self.in_shape))
        except Exception as error:  # the user's model may raise anything
            raise ModelError(
                f"{where} failed on a batch of shape {(2, *self.in_shape)}: "
                f"{type(error).__name__}: {error}"
            ) from error
        expected = (2, self.num_classes)
        if not isinstance(logits, Tensor) or logits.shape != expected:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(f"{where} should give logits of shape {expected}, gave {found}")
        if not logits.dtype.is_floating_point or not logits.requires_grad:
            raise ModelError(
                f"{where} should give floating-point logits with a gradient, "
                f"gave {logits.dtype}, requires_grad={logits.requires_grad}"
            )
