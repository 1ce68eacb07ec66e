"""Tables that fit 80 columns: numbers stay whole, long names are broken within their column."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tasearch.cli.console import out
from tasearch.errors import printable

COLUMNS = 80  # characters of the widest table


def number_table(columns: Sequence[str], names: Sequence[str] = ()) -> Table:
    """An empty table.

    Args:
        columns: Heads of the columns.
        names: Those of them that hold names, which may be broken; the others hold numbers.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        if column in names:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def add_cells(table: Table, cells: Sequence[str]) -> None:
    """Add a row to a table."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def print_table(table: Table) -> None:
    """Print a table that fits 80 columns, or the terminal if it has fewer."""
    out.print(table, width=min(COLUMNS, out.width))
