"""The front of a run as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from tasearch.cli.console import err, print_json, print_line
from tasearch.cli.tables import add_cells, number_table, print_table
from tasearch.errors import NothingFits, printable
from tasearch.report.evidence import damage_text
from tasearch.report.front_table import front_rows
from tasearch.report.numbers import flat_numbers, student_numbers
from tasearch.report.rows import Row, rows_of
from tasearch.report.text import ends_text
from tasearch.runs.run import Run


def show_front(run: Run, *, as_json: bool, as_csv: bool) -> None:
    """Print the members of the front, the smallest first.

    Args:
        run: The run.
        as_json: Whether to print a JSON object with all numbers.
        as_csv: Whether to print all numbers as CSV.

    Raises:
        NothingFits: No student is finished.
    """
    if run.verdicts_damage:
        err.print(f"notice: {damage_text(run)}", soft_wrap=True)
    rows = front_rows(rows_of(run))
    if not rows:
        raise NothingFits(f"{run.path}: no student was trained to the end; run it further")
    if as_json:
        print_json({"run": str(run.path), "front": [student_numbers(run, row) for row in rows]})
    elif as_csv:
        print(front_csv([flat_numbers(run, row) for row in rows]), end="")
    else:
        print_table(front_table(rows))
        if any(row.smaller is not None for row in rows):
            print_line("as good as: the smallest student that cannot be told apart from it (95 %)")


def front_csv(students: Sequence[Mapping[str, Any]]) -> str:
    """Students as CSV, with a head.

    Args:
        students: What `flat_numbers` gives for each of them.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[*students[0]], lineterminator="\n")
    writer.writeheader()
    for numbers in students:
        texts = {name: printable(numbers[name]) for name in ("label", "recipe")}
        writer.writerow({**numbers, **texts})
    return text.getvalue()


def front_table(rows: Sequence[Row]) -> Table:
    """The members of the front as a table."""
    confirmed = ["confirmed"] * any(row.confirmed for row in rows)
    columns = ["trial", "chain", "accuracy", "95 % interval", "params", "ms", *confirmed]
    table = number_table([*columns, "as good as"], ("chain",))
    for row in rows:
        assert row.interval is not None
        cells = [str(row.trial), row.label, f"{row.accuracy:.1%}"]
        cells.append(ends_text(row.interval))
        cells += [f"{row.params:,}", f"{row.latency_ms:.4g}"]
        if confirmed:
            cells.append(f"{row.confirmed.accuracy:.1%}" if row.confirmed else "")
        add_cells(table, [*cells, "" if row.smaller is None else f"trial {row.smaller}"])
    return table
