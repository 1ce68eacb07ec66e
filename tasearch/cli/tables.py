"""Tables that fit 80 columns: numbers stay whole, long names are broken within their column."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Column, Table
from rich.text import Text

from tasearch.cli.console import out
from tasearch.errors import printable

COLUMNS = 80  # characters of the widest table
GAP = 2  # characters between columns


def number_table(columns: Sequence[str], names: Sequence[str] = (), least: int = 1) -> Table:
    """An empty table.

    Args:
        columns: Heads of the columns.
        names: Those of them that hold names, which may be broken; the others hold numbers.
        least: Characters that a column of names keeps at least, for `print_table`.
    """
    table = _empty_table()
    for column in columns:
        if column in names:
            table.add_column(column, overflow="fold", min_width=least)
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def add_cells(table: Table, cells: Sequence[str]) -> None:
    """Add a row to a table."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def print_table(table: Table, least: Sequence[str] = ()) -> list[str]:
    """Print a table that fits 80 columns, or the terminal if it has fewer.

    Columns without any cell are left out.

    Args:
        table: The table.
        least: Heads of columns that are left out, one after another, where it is too wide.

    Returns:
        The heads of the columns that are printed.
    """
    width = min(COLUMNS, out.width)
    empty = [c.header for c in table.columns if table.rows and not any(map(str, c.cells))]
    for head in (*empty, *least):
        if head in empty or _narrowest(table) > width:
            table = _without(table, head)
    if _narrowest(table) > width:
        for column in table.columns:
            column.min_width = None  # names are broken before a number is cut
    out.print(table, width=width)
    return [str(column.header) for column in table.columns]


def _narrowest(table: Table) -> int:
    """The least characters of a table; there is no space behind its last column."""
    return sum(map(_least_width, table.columns)) - GAP


def _least_width(column: Column) -> int:
    """The least characters of a column, the space behind it included."""
    texts = (str(text) for text in (column.header, *column.cells))
    return GAP + (max(map(cell_len, texts)) if column.no_wrap else column.min_width or 1)


def _empty_table(*columns: Column) -> Table:
    return Table(*columns, box=None, padding=(0, GAP, 0, 0), pad_edge=False)


def _without(table: Table, head: object) -> Table:
    """A table without a column; the columns of the given one become its own."""
    kept = _empty_table(*(column for column in table.columns if column.header != head))
    kept.rows = table.rows
    return kept
