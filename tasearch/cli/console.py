"""The two consoles that all words for people go through; what they print is safe on a terminal."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any, NoReturn

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment

from tasearch.errors import printable


class SafeConsole(Console):
    """A console that shows control characters as escapes, wherever in an output they stand."""

    @property
    def size(self) -> ConsoleDimensions:
        """As rich's; some terminals say that they have no columns."""
        width, height = super().size
        return ConsoleDimensions(width if width > 0 else 80, height)

    @size.setter
    def size(self, size: tuple[int, int]) -> None:
        self._width, self._height = size

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's; strings are made printable before rich drops what it takes for codes."""
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich's; every segment but rich's own codes is made printable."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def on_broken_pipe(self) -> NoReturn:
        """Tell the caller, which ends in its own way; rich would exit with 1."""
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more")


out = SafeConsole(highlight=False, markup=False)
err = SafeConsole(stderr=True, highlight=False, markup=False)
