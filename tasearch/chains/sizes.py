"""Sizes with names: widths that stand for several arguments of a model, and are shown by a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class Size(int):
    """A width with a name: the place of a size in its ladder, 1 for the smallest.

    It compares, hashes and is stored as this number, and is shown as the name.

    Args:
        place: Its place in the ladder.
        name: Its name.

    Example:
        >>> f"{Size(2, 'm')}", Size(2, "m") > Size(1, "s"), Size(2, "m") == 2
        ('m', True, True)
    """

    name: str

    def __new__(cls, place: int, name: str) -> Size:
        size = super().__new__(cls, place)
        size.name = name
        return size

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.name

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


def plain(width: Any) -> Any:
    """A value as a study file has it: the name of a size that has one."""
    return width.name if isinstance(width, Size) else width


def sized(*widths: int) -> str:
    """Widths in a sentence.

    Example:
        >>> sized(8), sized(12, 8, 6), sized(Size(2, "m"), Size(1, "s"))
        ('width 8', 'widths 12, 8 and 6', 'sizes m and s')
    """
    kind = "size" if any(isinstance(width, Size) for width in widths) else "width"
    *most, last = map(str, widths)
    return f"{kind}s {', '.join(most)} and {last}" if most else f"{kind} {last}"


def size_names(widths: Iterable[int]) -> list[str]:
    """The names of some widths, in order, for a file that holds the numbers; empty without names.

    Example:
        >>> size_names([64, Size(1, "s")]), size_names([64, 8])
        (['64', 's'], [])
    """
    found = [*widths]
    return [*map(str, found)] if any(isinstance(width, Size) for width in found) else []


def with_names(widths: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    """The widths that were stored as numbers, beside what `size_names` said of them."""
    if not names:
        return tuple(widths)
    pairs = zip(widths, names, strict=True)
    return tuple(width if name == str(width) else Size(width, name) for width, name in pairs)
