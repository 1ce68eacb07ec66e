"""Cells of a notebook, executed as IPython executes them."""

from __future__ import annotations

import itertools
import linecache
from types import SimpleNamespace
from typing import Any

_numbers = itertools.count()


class Notebook:
    """A program in cells, which share their names in `__main__`."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, text: str) -> SimpleNamespace:
        """Execute a cell, and return all names so far."""
        file = f"/tmp/ipykernel_0/{next(_numbers)}.py"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        exec(compile(text, file, "exec", dont_inherit=True), self.names)
        return SimpleNamespace(**self.names)


def cell(text: str) -> SimpleNamespace:
    """The names that a single cell defines."""
    return Notebook().run(text)
