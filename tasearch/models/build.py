"""Building models by width, and checking that a family keeps its contract."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from tasearch.chains.hop import ModelSpec
from tasearch.config import plugins
from tasearch.config.guard import timely
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.errors import ModelError, StudyError, first_line, raised
from tasearch.models import cnn, mlp, plain, resnet
from tasearch.models.checkpoint import file_digest, load_checkpoint
from tasearch.models.contract import (
    Trial,
    check_loaded,
    check_model,
    check_reload,
    state_digest,
    try_model,
)
from tasearch.models.numerics import same_in_every_process
from tasearch.models.wrappers import FromRaw, OnlyLogits

Build = Callable[..., nn.Module]

FAMILIES: dict[str, Build] = {
    "cnn": cnn.build,
    "mlp": mlp.build,
    "plain": plain.build,
    "resnet": resnet.build,
}


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of one study.

    Args:
        study: names the family and the teacher.
        in_shape: (channels, height, width) or (features,).
        num_classes: length of the logits.
        mean: of the training part, for a teacher that takes raw samples.
        std: likewise.
        whole: whether raw samples are whole numbers.
    """

    study: Study
    in_shape: tuple[int, ...]
    num_classes: int
    mean: Tensor
    std: Tensor
    whole: bool = False

    @classmethod
    def for_study(cls, study: Study, data: Dataset) -> Models:
        return cls(
            study=study,
            in_shape=data.in_shape,
            num_classes=data.num_classes,
            mean=torch.from_numpy(data.mean),
            std=torch.from_numpy(data.std),
            whole=_whole(data.train.x) and _whole(data.validation.x),
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

    def teacher(self) -> ModelSpec:
        """The first model of every chain."""
        section = self.study.teacher
        origin = []
        if section.factory is not None:
            self._factory(section.factory)
            origin.append(plugins.identity(section.factory, self.study.root))
        if section.checkpoint is not None:
            origin.append(self._digest)
        elif section.loaded:
            origin.append(self._loaded[1])
        if section.loaded:
            origin.append(section.inputs)
        return ModelSpec(
            width=section.width,
            recipe=self.study.teacher_recipe(),
            origin="+".join(origin) or None,
        )

    def teacher_words(self) -> str:
        """What is done about the teacher, in one line.

        Raises:
            ModelError: where its model cannot be built.
        """
        section, family = self.study.teacher, self.study.model.family
        name = f"{family.rpartition(':')[2]} {section.width}"
        if section.factory is not None:
            name = section.factory.rpartition(":")[2]
        size = _short(sum(p.numel() for p in self.build(section.width).parameters()))
        if section.loaded:
            return f"teacher {name}, {size}: loaded, frozen, {section.inputs} samples"
        epochs = f"{section.epochs} epoch{'s' * (section.epochs > 1)}"
        return f"teacher {name}, {size}: trained here, {epochs}, standardized samples"

    def checkpoint_path(self) -> Path:
        assert self.study.teacher.checkpoint is not None
        return Path(self.study.root) / self.study.teacher.checkpoint

    def build(self, width: int, seed: int = 0) -> nn.Module:
        """The model of a width, on CPU, its weights drawn from `seed`; of outputs with logits among
        them, these alone.

        A loaded teacher is built once, frozen and in eval mode, and is only to be read.

        Raises:
            ModelError: where the user's function or checkpoint breaks its contract.
        """
        if self._is_loaded(width):
            return self._loaded[0]
        net = self._made(width, seed)
        return _adapted(net, self._trial(width))

    def check(self, widths: Sequence[int]) -> None:
        """Build every width that is trained once; each must learn, and sizes must fall.

        Args:
            widths: strictly decreasing.

        Raises:
            ModelError: where one does not.
        """
        sizes: list[tuple[int, int]] = []
        for width in widths:
            if self._is_loaded(width):
                continue
            net = self.build(width)
            sizes.append((width, sum(p.numel() for p in net.parameters())))
            where = f"the model of width {width}"
            check_model(net, where, self.in_shape, self.num_classes)
            if self._is_users(width):
                check_reload(net, self.build(width, 1), where, self.in_shape)
            if len(sizes) > 1:
                self._falls(*sizes[-2:])

    def check_teacher(self, data: Dataset, device: torch.device) -> None:
        """Have a loaded teacher say what it makes of the validation part.

        Args:
            data: the study's.
            device: where it is called.

        Raises:
            ModelError: where it fails, or gives other things than finite logits.
        """
        section = self.study.teacher
        if not section.loaded:
            return
        where = f"teacher.factory: {section.factory!r}"
        if section.checkpoint is not None:
            where = f"teacher.checkpoint: {self.checkpoint_path()}"
        samples = (torch.tensor(data.validation.x).float() - self.mean) / self.std
        check_loaded(self._loaded[0], f"{where}: the teacher", samples, self.num_classes, device)

    def _falls(self, wide: tuple[int, int], narrow: tuple[int, int]) -> None:
        """Whether sizes fall from one width to the next; each is a width with its parameters."""
        teacher = self.study.teacher
        (wider, most), (width, least) = wide, narrow
        if least < most:
            return
        if wider == teacher.width and teacher.factory is not None:
            raise ModelError(
                f"teacher.factory: {teacher.factory!r}: the teacher should have "
                f"more parameters than any other model, found {most:,} and "
                f"{least:,} at width {width}"
            )
        raise ModelError(
            f"model.family: {self.study.model.family!r}: parameters should fall with the "
            f"width, found {most:,} at width {wider} and {least:,} at {width}"
        )

    def _is_loaded(self, width: int) -> bool:
        return self.study.teacher.loaded and width == self.study.teacher.width

    @cached_property
    def _digest(self) -> str:
        """Of the checkpoint, as it was when it was first asked for."""
        return file_digest(self.checkpoint_path())

    @cached_property
    def _loaded(self) -> tuple[nn.Module, str]:
        """The loaded teacher of standardized samples, and the digest of its weights."""
        section = self.study.teacher
        net = self._made(section.width, 0)
        if section.checkpoint is not None:
            load_checkpoint(net, self.checkpoint_path(), self._digest)
        digest = state_digest(net)
        if self._is_users(section.width):
            net = _adapted(net, try_model(net, self.in_shape, trained=False))
        if section.inputs == "raw":
            net = FromRaw(net, self.mean, self.std, whole=self.whole)
        return net.eval().requires_grad_(False), digest

    @cached_property
    def _tried(self) -> dict[int, Trial]:
        """By width, how models call and answer, as far as it was tried."""
        return {}

    def _trial(self, width: int) -> Trial:
        """How a width's models call and answer; tried with a model for nothing else."""
        if width not in self._tried:
            own = self._is_users(width)
            found = try_model(self._made(width, 0), self.in_shape, trained=True) if own else Trial()
            self._tried[width] = found
        return self._tried[width]

    def _is_users(self, width: int) -> bool:
        """Whether code of the user's makes the model of a width."""
        teacher = self.study.teacher
        own = width == teacher.width and teacher.factory is not None
        return own or ":" in self.study.model.family

    def _made(self, width: int, seed: int) -> nn.Module:
        """What the family or the factory returns."""
        teacher = self.study.teacher
        if width == teacher.width and teacher.factory is not None:
            path, name, args = "teacher.factory", teacher.factory, ()
            with same_in_every_process():  # it may fit what it returns
                return self._call(self._factory(name), args, path=path, name=name, seed=seed)
        path, name = "model.family", self.study.model.family
        return self._call(self._family(), (width,), path=path, name=name, seed=seed)

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
        takes = "what cannot be told"
        try:
            signature = inspect.signature(function)
            takes = str(signature)
            signature.bind(*args, **shapes)
        except (TypeError, ValueError) as error:  # a builtin may have no signature
            raise ModelError(
                f"{path}: {name!r} should take {wanted}, takes {takes}: {first_line(error)}"
            ) from None
        at = f" at width {args[0]}" if args else ""
        try:
            with torch.random.fork_rng(devices=[]), timely(f"{path}: {name!r}{at}"):
                torch.manual_seed(seed)
                net = function(*args, **shapes)
        except StudyError:
            raise
        except ModelError as error:  # a family of ours says what it refuses
            raise ModelError(f"{path}: {name!r}: {error}") from None
        except Exception as error:  # the user's function may raise anything
            raise ModelError(f"{path}: {name!r}{at} raised {raised(error)}") from error
        if not isinstance(net, nn.Module):
            raise ModelError(
                f"{path}: {name!r}{at} should return a torch.nn.Module, "
                f"returned {type(net).__name__}"
            )
        self._check_parameters(net, f"{path}: {name!r}{at}")
        return net

    @cached_property
    def _returned(self) -> dict[int, weakref.ref[nn.Parameter]]:
        """The parameters of models that users' functions returned, by their ids."""
        return {}

    def _check_parameters(self, net: nn.Module, where: str) -> None:
        """Refuse a model that cannot be trained apart from those that were returned before.

        Raises:
            ModelError: saying why.
        """
        try:
            parameters = [*net.parameters()]
        except Exception as error:  # the user's class may do anything
            raise ModelError(f"{where}: its parameters() raised {raised(error)}") from error
        for parameter in parameters:
            if isinstance(parameter, UninitializedParameter):
                raise ModelError(f"{where} has lazy modules; give them their sizes")
            before = self._returned.get(id(parameter), lambda: None)()
            if before is parameter and parameter.requires_grad:
                raise ModelError(
                    f"{where} should return a new model each time, returned parameters that it had "
                    f"returned before"
                )
        self._returned.update({id(p): weakref.ref(p) for p in parameters})


def _adapted(net: nn.Module, trial: Trial) -> nn.Module:
    """A model that gives logits alone and leaves its batch as it is."""
    if trial.overwrites:
        net.register_forward_pre_hook(_with_own_input)
    return OnlyLogits(net) if trial.more else net


def _with_own_input(net: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lets a model overwrite its batch, which others read as well."""
    return tuple(arg.clone() if isinstance(arg, Tensor) else arg for arg in args)


def _short(count: int) -> str:
    """A number of parameters in three digits."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit} parameters"
    return f"{count} parameter{'s' * (count != 1)}"


def _whole(x: np.ndarray) -> bool:
    """Whether all samples are of whole numbers."""
    return x.dtype == np.uint8 or all(np.array_equal(one, np.rint(one)) for one in x)
