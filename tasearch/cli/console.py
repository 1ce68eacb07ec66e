"""The two consoles for all text that people read; what they print is safe on a terminal."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tasearch.errors import printable


class SafeConsole(Console):
    """A console that shows control characters as escapes, in every part of the output."""

    @property
    def size(self) -> ConsoleDimensions:
        """The size in characters; 80 columns if the terminal reports none."""
        width, height = super().size
        return ConsoleDimensions(width if width > 0 else 80, height)

    @size.setter
    def size(self, size: tuple[int, int]) -> None:
        self._width, self._height = size

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; strings are escaped before rich removes what it takes for codes."""
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does; all segments but rich's own codes are escaped."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def on_broken_pipe(self) -> NoReturn:
        """Raise an error for `exit_codes`; rich would exit with 1."""
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, "the output is closed")


out = SafeConsole(highlight=False, markup=False)
err = SafeConsole(stderr=True, highlight=False, markup=False)


def print_line(line: str, console: Console = out) -> None:
    """Print a line, which only a terminal breaks, between words and with the line's indent."""
    words = line.lstrip(" ")
    indent = len(line) - len(words)
    if not indent or not console.is_terminal:
        console.print(line, soft_wrap=not console.is_terminal)
        return
    console.print(Padding(Text(printable(words)), (0, 0, 0, indent), expand=False))


def print_json(value: Mapping[str, Any]) -> None:
    """Print in ASCII, without any character that a terminal acts on."""
    print(json.dumps(value, indent=1).replace("\x7f", "\\u007f"))


def print_named(rows: Iterable[tuple[str, str]], *, width: int = 10) -> None:
    """Print values with their names, which are aligned.

    A terminal breaks a long value within its column; elsewhere each row is one line.

    Args:
        rows: Pairs of a name and its value.
        width: Characters of the column of names.
    """
    if not out.is_terminal:
        for name, value in rows:
            print_line(f"{name:<{width}} {value}")
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(width=width, style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(printable(value)))
    out.print(table)
