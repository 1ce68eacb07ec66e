"""Objects of a running program as the source of a module that makes them again.

A function of a notebook is written with all that it needs: the functions and classes that it names,
plain values, and imports of whatever a module has. What is made of anything else is refused.
"""

from __future__ import annotations

import enum
import functools
import inspect
import math
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NoReturn

from tasearch.config.live_source import LiveSource, NoSource, live_source
from tasearch.config.module_files import OURS, is_installed, origin
from tasearch.config.syntax import imported_by
from tasearch.errors import StudyError

PLAIN = (type(None), bool, int, str, bytes, type(...), range)
BRACKETS: dict[type, str] = {list: "[]", set: "{}", tuple: "()", frozenset: "()"}
TORCH = {"Size": "", "dtype": "", "device": "torch."}  # what their repr lacks
MODULE = "put the function into a module, a .py file, and import it from there"
MOST_DEPTH = 50  # of values within values


class WrittenCode:
    """The source of a module, made of objects.

    Args:
        where: The argument that the objects come from, for messages.
        remedy: What to do about an object that cannot be written, for messages.

    Attributes:
        modules: Names of the modules that it imports and that are the user's.
    """

    def __init__(self, where: str, remedy: str = MODULE) -> None:
        self._where, self._remedy = where, remedy
        self.modules: set[str] = set()
        self._imports: list[str] = []
        self._body: list[str] = []
        self._known: dict[str, Any] = {}
        self._postponed = False

    def text(self, *lead: str) -> str:
        """The module's source.

        Args:
            lead: Statements that go before all others but imports.
        """
        lines = [f'"""Written by tasearch.search: its argument {self._where}."""']
        lines += ["from __future__ import annotations"] if self._postponed else []
        lines += sorted(set(self._imports))
        return "\n".join(lines) + "\n\n\n" + "\n\n\n".join([*lead, *self._body]) + "\n"

    def add(self, name: str, value: Any) -> None:
        """Let a name stand for a value.

        Raises:
            StudyError: The value cannot be written, or the name stands for another one already.
        """
        if name in self._known:
            if self._known[name] is not value:
                self.refuse(name, "stands for different things in several functions; rename one")
            return
        self._known[name] = value
        place = importable(value)
        if isinstance(value, ModuleType):
            self._import(value.__name__, f"import {value.__name__}", name, value.__name__)
        elif place is not None:
            module, _, attribute = place.partition(":")
            self._import(module, f"from {module} import {attribute}", name, attribute)
        elif isinstance(_unwrapped(value), FunctionType | type):
            self._define(name, value)
        else:
            self._body.append(f"{name} = {self.expression(value, name)}")

    def expression(self, value: Any, name: str = "") -> str:
        """An expression whose value is equal to a value.

        Args:
            value: The value.
            name: What it is called, for messages.

        Raises:
            StudyError: The value cannot be written.
        """
        kind = type(value)
        if kind in PLAIN:
            return repr(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if kind is complex:
            return f"complex({self.expression(value.real)}, {self.expression(value.imag)})"
        if name.count(".") > MOST_DEPTH:
            self.refuse(name, "is nested too deeply")
        if kind in BRACKETS or kind is dict:
            return self._container(value, f"{name}.")
        if kind.__module__ == "torch" and kind.__name__ in TORCH:
            self.add("torch", sys.modules["torch"])
            return f"{TORCH[kind.__name__]}{value!r}"
        if isinstance(value, enum.Enum):
            return f"{self.expression(kind, name)}[{value.name!r}]"
        if kind is functools.partial:
            inner = [self.expression(value.func, name), *self._list(value.args, name)]
            inner += [f"{key}={self.expression(v, name)}" for key, v in value.keywords.items()]
            return f"{self.expression(functools.partial)}({', '.join(inner)})"
        if isinstance(value, ModuleType) or importable(value) is not None:
            return self._named(value)
        if isinstance(_unwrapped(value), FunctionType | type):
            return self._named(value)
        return self.other(value, name)

    def other(self, value: Any, name: str) -> str:
        """An expression for a value that is neither plain nor has a source.

        Args:
            value: The value.
            name: What it is called, for messages.

        Raises:
            StudyError: The value cannot be written.
        """
        kind = type(value)
        words = kind.__qualname__
        if kind.__module__ != "builtins":
            words = f"{kind.__module__}.{words}"
        self.refuse(name, f"is of type {words}, which no run can keep: {self._remedy}")

    def _container(self, value: Any, name: str) -> str:
        if isinstance(value, dict):
            items = value.items()
            pairs = [f"{self.expression(k, name)}: {self.expression(v, name)}" for k, v in items]
            return "{" + ", ".join(pairs) + "}"
        ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        inner = ", ".join(self._list(ordered, name))
        if isinstance(value, frozenset):
            return f"frozenset([{inner}])"
        if isinstance(value, set) and not value:
            return "set()"
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        begin, end = BRACKETS[type(value)][0], BRACKETS[type(value)][1]
        return f"{begin}{inner}{comma}{end}"

    def _list(self, values: Any, name: str) -> list[str]:
        return [self.expression(value, name) for value in values]

    def _named(self, value: Any) -> str:
        """A name for a function, class or module that has none here yet."""
        for known, other in self._known.items():
            if other is value:
                return known
        own = getattr(value, "__name__", "value").rpartition(".")[2]
        free = own == "<lambda>" or importable(value) is not None
        own = own if own.isidentifier() else "function"
        if own in self._known and free:
            own = f"{own}_{len(self._known)}"
        self.add(own, value)
        return own

    def _import(self, module: str, line: str, name: str, own: str) -> None:
        if module == "__main__":
            self.refuse(name, "is __main__, which no other process can import")
        self._imports.append(line if name == own else f"{line} as {name}")
        if is_users_module(module):
            self.modules.add(module)

    def _define(self, name: str, value: Any) -> None:
        """Write the definition of a function or class, after what it needs to be defined."""
        inner = _unwrapped(value)
        try:
            source = live_source(inner)
        except NoSource as error:
            self.refuse(name, str(error).replace("REMEDY", self._remedy))
        self._postponed |= source.postponed
        self._import_inner(source)
        own, (at_once, later) = inner.__name__, source.needs()
        if source.decorated and source.names.get(own) is not value:
            self.refuse(name, "is not what the decorators in its source make: leave them out")
        if own == "<lambda>":
            own, text = name, f"{name} = {source.text}"
        else:
            text = source.text
        if own != name:
            self.add(own, value)  # defines it; the name is one more for it
            self._body.append(f"{name} = {own}")
            return
        for needed in at_once:
            if needed != name and not self._add_needed(needed, source.names):
                self.refuse(
                    name,
                    f"needs {needed!r}, which only the function around it knows: {self._remedy}",
                )
        self._body.append(text)
        for needed in later:
            if needed != name or source.names.get(name) is not value:
                self._add_needed(needed, source.names)

    def _import_inner(self, source: LiveSource) -> None:
        """Import what is read of packages, and note the modules that a function imports itself."""
        for name, *attributes in source.dotted():
            module = source.names.get(name)
            inner = module.__name__ if isinstance(module, ModuleType) else ""
            for attribute in attributes if inner else ():
                if origin(f"{inner}.{attribute}") is None:
                    break
                inner += f".{attribute}"
                line = f"import {inner} as _{inner.replace('.', '_')}"
                self._import(inner, line, name, name)
        for other in imported_by(source.text.encode(), "own", is_package=False):
            if is_users_module(other):
                self.modules.add(other)

    def _add_needed(self, name: str, names: Any) -> bool:
        """Let a name stand for what it stands for around a definition, if that is known."""
        if name in names:
            self.add(name, names[name])
            return True
        builtins = names.get("__builtins__", {})
        return name in (builtins if isinstance(builtins, dict) else vars(builtins))

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise the error for what cannot be written.

        Args:
            name: What it is called.
            why: The rest of the sentence.
        """
        name = name.removeprefix(f"{self._where}.").strip(".")
        itself = ("", self._where, next(iter(self._known), ""))
        subject = "" if name in itself else f" uses {name!r}, which"
        raise StudyError(f"{self._where}:{subject} {why}")


def importable(value: Any) -> str | None:
    """Where a function or class can be imported from, as `"package.module:name"`; None: nowhere."""
    name, module = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    if isinstance(value, BuiltinFunctionType):  # torch.relu says of itself that it is in a class
        name = value.__name__
        held = (m for m, of in sorted(sys.modules.items()) if vars(of).get(name) is value)
        module = next(held, None)
    if not isinstance(name, str) or not name.isidentifier() or not isinstance(module, str):
        return None
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not value:
        return None
    return f"{module}:{name}"


def is_users_module(name: str) -> bool:
    """Whether a module is of a file of the user's, which is not installed."""
    file = origin(name)
    if file is None or name.partition(".")[0] == "tasearch":
        return False
    place = file.resolve()
    foreign = {"site-packages", "dist-packages"} & {*place.parts} or place.is_relative_to(OURS)
    return not (foreign or is_installed(place) or is_installed(file))


def _unwrapped(value: Any) -> Any:
    """A function without what decorators have put around it."""
    return inspect.unwrap(value) if callable(value) else value
