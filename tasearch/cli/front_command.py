"""The front of a run as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from tasearch.cli.console import err, print_json, print_line
from tasearch.cli.tables import add_cells, number_table, print_table
from tasearch.errors import NothingFits, printable
from tasearch.pareto.metric import ACCURACY
from tasearch.report.evidence import damage_text
from tasearch.report.front_table import front_and_shipped
from tasearch.report.numbers import flat_numbers, student_numbers
from tasearch.report.rows import Row, rows_of
from tasearch.report.text import ends_text
from tasearch.runs.run import Run

SHIPPED, FRESH = ">", "*"  # marks in the table


def show_front(run: Run, *, as_json: bool, as_csv: bool) -> None:
    """Print the members of the front and what verdicts ship, the smallest first.

    Args:
        run: The run.
        as_json: Whether to print a JSON object with all numbers.
        as_csv: Whether to print all numbers as CSV.

    Raises:
        NothingFits: No student is finished.
    """
    if run.verdicts_damage:
        err.print(f"notice: {damage_text(run)}", soft_wrap=True)
    rows = front_and_shipped(rows_of(run))
    if not rows:
        raise NothingFits(f"{run.path}: no student was trained to the end; run it further")
    if as_json:
        print_json({"run": str(run.place), "front": [student_numbers(run, row) for row in rows]})
    elif as_csv:
        print(front_csv([flat_numbers(run, row) for row in rows]), end="")
    else:
        lengths = [head for head in front_heads(rows) if head.startswith("ms, ")]
        least = ("as good", *lengths, "95 % interval", "trial", "ms", "params")
        for note in _notes(rows, print_table(front_table(rows), least)):
            print_line(note)


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


def front_heads(rows: Sequence[Row]) -> tuple[str, ...]:
    """The heads of the table."""
    metric = rows[0].metric if rows else ACCURACY
    lengths = rows[0].by_length[:-1] if rows else ()
    more = (*(f"ms, {length} tokens" for length, _ in lengths), "as good")
    return ("trial", "chain", metric.words, "95 % interval", "params", "ms", *more)


def front_table(rows: Sequence[Row]) -> Table:
    """Members of the front as a table, with accuracies on fresh seeds where there are any."""
    metric = rows[0].metric if rows else ACCURACY
    table = number_table(front_heads(rows), ("chain",), least=16)
    for row in rows:
        accuracy, interval = row.known
        trial = f"{SHIPPED if row.shipped else ''} {row.trial}".strip()
        fresh = FRESH if row.confirmed else " "
        cells = [trial, row.label, f"{metric.text(accuracy)}{fresh}"]
        cells.append(ends_text(interval, metric))
        cells += [f"{row.params:,}", f"{row.latency_ms:.4g}"]
        cells += [f"{ms:.4g}" for _, ms in row.by_length[:-1]]
        add_cells(table, [*cells, "" if row.smaller is None else str(row.smaller)])
    return table


def _notes(rows: Sequence[Row], heads: Sequence[str]) -> Iterator[str]:
    """What the marks of the table mean, a line each.

    Args:
        rows: The rows of the table.
        heads: The heads of its columns.
    """
    if "trial" in heads and any(row.shipped for row in rows):
        beaten = "" if all(row.front for row in rows) else "; not all are on the search's front"
        yield f"{SHIPPED} what `tasearch confirm` ships of this width{beaten}"
    seeds = sorted({row.confirmed.seeds for row in rows if row.confirmed})
    if seeds:
        count = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        others = "" if all(row.confirmed for row in rows) else "; the others in the search"
        yield f"{FRESH} mean {rows[0].metric.words} on {count} fresh seeds{others}"
    if "ms" in heads and rows[0].by_length:
        yield f"ms: of texts of {rows[0].by_length[-1][0]} tokens, which count"
    if "as good" in heads:
        yield "as good: the trial of the smallest student that cannot be told apart from this one"
