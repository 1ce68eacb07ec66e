"""Functions and models of a running program as source, with a file of the tensors that they use."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from tasearch.config.written_code import MODULE, WrittenCode
from tasearch.errors import raised
from tasearch.models.rebuilt import Tensors, rebuilt

KEPT = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")  # of a module
MAKE = """def make(*, in_shape, num_classes):
    return copy.deepcopy(teacher)"""
TEACHER = "bring a function that makes it, as teacher=make"


class LiveCode(WrittenCode):
    """The source of a module, made of objects that may be tensors, arrays and models.

    Args:
        where: The argument that the objects come from, for messages.
        remedy: What to do about an object that cannot be written, for messages.
    """

    def __init__(self, where: str, remedy: str = MODULE) -> None:
        super().__init__(where, remedy)
        self._tensors: dict[str, Tensor] = {}
        self._written: dict[int, tuple[Any, str]] = {}  # objects, kept alive, and expressions

    def files(self, name: str) -> dict[str, bytes]:
        """The files of the module: its source and, if there are any, its tensors.

        Args:
            name: The module's name.
        """
        if not self._tensors:
            return {f"{name}.py": self.text().encode()}
        blob = save(self._tensors)
        digest = hashlib.sha256(blob).hexdigest()[:32]
        source = self.text(f"TENSORS = Tensors(__file__, {digest!r})")
        return {f"{name}.py": source.encode(), f"{name}.safetensors": blob}

    def make(self, net: nn.Module) -> None:
        """Write a function `make` that makes a copy of a model.

        Raises:
            StudyError: A part of the model cannot be written.
        """
        self.add("copy", copy)
        self.other(net, "teacher")
        self._body.append(MAKE)

    def other(self, value: Any, name: str) -> str:
        if id(value) not in self._written:
            if isinstance(value, nn.Module):
                made = self._module(value, name)
            elif isinstance(value, Tensor):
                made = self._tensor(value, name)
            elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                made = f"{self._tensor(self._of_numpy(value, name), name)}.numpy()"
            else:
                return super().other(value, name)
            self._written[id(value)] = value, made
        return self._written[id(value)][1]

    def _of_numpy(self, value: Any, name: str) -> Tensor:
        try:
            return torch.tensor(value)
        except Exception as error:  # a dtype that torch lacks
            self.refuse(name, f"is an array that no run can keep: {raised(error)}")

    def _tensor(self, value: Tensor, name: str) -> str:
        if value.device.type != "cpu":
            self.refuse(name, f"is on the device {str(value.device)!r}; move it with .cpu()")
        if value.layout != torch.strided or value.is_quantized or value.is_nested:
            return super().other(value, name)
        key = name.strip(".")
        while key in self._tensors:
            key += "_"
        self._tensors[key] = value.detach().clone().contiguous()
        self.add("Tensors", Tensors)
        kind = type(value)
        if kind is nn.Parameter:
            return f"TENSORS.parameter({key!r})"
        return f"TENSORS[{key!r}]" if kind is Tensor else super().other(value, name)

    def _module(self, net: nn.Module, name: str) -> str:
        """A variable that holds a model, made before."""
        self.add("rebuilt", rebuilt)
        plain = vars(nn.Module())
        for key in plain.keys() - {*KEPT, "training"}:
            if vars(net).get(key):
                self.refuse(name, "has hooks, which no run can keep: remove them first")
        own = {k: v for k, v in vars(net).items() if k not in plain or k == "training"}
        parts = [own, net._parameters, net._buffers, net._modules]
        kind = self.expression(type(net), f"{name}.__class__")
        written = [self._named_values(part, name) for part in parts]
        unsaved = sorted(net._non_persistent_buffers_set)
        if unsaved:
            written.append(repr(unsaved))
        variable = "teacher" if name == "teacher" else f"module_{len(self._written)}"
        self._body.append(f"{variable} = rebuilt({', '.join([kind, *written])})")
        return variable

    def _named_values(self, values: Any, name: str) -> str:
        inner = [f"{k!r}: {self.expression(v, f'{name}.{k}')}" for k, v in values.items()]
        return "{" + ", ".join(inner) + "}"


def teacher_code(net: nn.Module) -> LiveCode:
    """A module with a function `make` that makes a copy of a trained teacher.

    Args:
        net: The teacher, on the CPU and in eval mode.

    Raises:
        StudyError: The teacher is in train mode, on another device, or of parts that have no
            source.
    """
    code = LiveCode("teacher", TEACHER)
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        if value.device.type != "cpu":
            place = str(value.device)
            code.refuse(name, f"is on the device {place!r}; bring teacher.cpu()")
    for name, module in net.named_modules():
        if module.training:
            part = f"its part {name!r} is" if name else "is"
            code.refuse("", f"{part} in train mode, where it answers otherwise: call .eval() first")
    code.make(net)
    return code
