"""Functions and models that are given from Python, as the functions that a study names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from tasearch.config.module_copies import module_copies
from tasearch.config.values import PACKAGES
from tasearch.config.written_code import importable, is_users_module
from tasearch.errors import StudyError, quoted, raised
from tasearch.models.live_code import LiveCode, teacher_code


class Objects:
    """Objects by their names, with the files that they are made from.

    Attributes:
        files: The content of each file by its path.
        words: What another content of each file would be, for messages: "another build".
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.words: dict[str, str] = {}
        self._made: set[str] = set()

    def name(self, value: Any, where: str) -> str:
        """The name of a function for a study.

        Args:
            value: A function; or its name, as a study file has it.
            where: The argument that it is given as.

        Raises:
            StudyError: It is no function, or cannot be kept in the run.
        """
        if isinstance(value, str):
            package, colon, _ = value.partition(":")
            if not colon or package in PACKAGES or value in self._made:
                return value
            value = _imported(value, where)
        if isinstance(value, nn.Module):
            maker = "the function that makes it: build(width, *, in_shape, num_classes)"
            wanted = maker if where == "build" else "a function"
            raise StudyError(f"{where}: is a module ({type(value).__name__}); bring {wanted}")
        if not callable(value):
            raise StudyError(f"{where}: should be a function or a name, found {quoted(value)}")
        place = importable(value)
        if place is not None:
            module = place.partition(":")[0]
            self._copy({module} if is_users_module(module) else ())
            return place
        name = getattr(value, "__name__", "")
        name = name if name.isidentifier() else where.rpartition(".")[2]
        code = LiveCode(where)
        code.add(name, value)
        return f"{self._write(code, name, where)}:{name}"

    def teacher(self, net: nn.Module) -> str:
        """The name of a factory that makes a copy of a trained teacher.

        Args:
            net: The teacher, on the CPU and in eval mode.

        Raises:
            StudyError: It is in train mode, on another device, or cannot be kept in the run.
        """
        made = f"{self._write(teacher_code(net), 'teacher', 'teacher')}:make"
        self._made.add(made)
        return made

    def _write(self, code: LiveCode, name: str, where: str) -> str:
        """Add the files of a module, and return its name."""
        module, number = f"own_{name}", 2
        while True:
            files = code.files(module)
            if all(self.files.get(file, content) == content for file, content in files.items()):
                break
            module, number = f"own_{name}_{number}", number + 1
        self._add(files, dict.fromkeys(files, f"another {where}"))
        self._copy(code.modules)
        return module

    def _copy(self, modules: Any) -> None:
        files = module_copies(modules)
        self._add(files, {file: f"another {file}" for file in files})

    def _add(self, files: Mapping[str, bytes], words: Mapping[str, str]) -> None:
        self.files |= files
        self.words |= words


def _imported(name: str, where: str) -> Any:
    """The function of a name `"package.module:function"`."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's module may raise anything
        raise StudyError(f"{where}: {name!r}: importing it raised {raised(error)}") from error
