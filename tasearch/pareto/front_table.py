"""A front as a table: in a notebook, and for pandas."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from tasearch.errors import TasearchError
from tasearch.pareto.candidate import Candidate

if TYPE_CHECKING:
    import pandas

HEAD = ("trial", "chain", "accuracy", "params", "bytes", "latency")  # "accuracy": the metric
FIRST = ("label", "accuracy", "params")  # of the columns for pandas, which prints both ends
LAST = ("latency_ms", "trial", "bytes")
FIELDS = [*FIRST[1:], *LAST, "chain", "teacher"]


def html_table(candidates: Sequence[Candidate]) -> str:
    """A table of students in HTML, without scripts and without colours of its own.

    Args:
        candidates: The students, in the order of the rows.
    """
    names = {"accuracy": candidates[0].metric.words} if candidates else {}
    head = "".join(f"<th>{escape(names.get(name, name))}</th>" for name in HEAD)
    rows = "".join(f"<tr>{''.join(map(_cell, _cells(c)))}</tr>" for c in candidates)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def data_frame(candidates: Sequence[Candidate]) -> pandas.DataFrame:
    """Students as a table of pandas: the fields of `Candidate`, and the chain in words.

    The recipe has a column for each of its values that differs between the students: of the student
    under its own name, such as `temperature`, of the assistants as `assistants_temperature`. For a
    single student all values are there.

    Of a wide table pandas prints the first and the last columns. So it begins with label, accuracy
    and parameters, and ends with latency, trial and bytes, which are narrow.

    The column `metric` names the metric of the column `accuracy`, if that is another one.

    Args:
        candidates: The students, in the order of the rows.

    Raises:
        TasearchError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise TasearchError("to_pandas() needs pandas: pip install pandas") from None
    rows = [_row(candidate) for candidate in candidates]
    frame = pandas.DataFrame(rows, columns=None if rows else [FIRST[0], *FIELDS])
    if len(rows) > 1:
        recipes = [name for name in frame if name not in (FIRST[0], *FIELDS)]
        frame = frame.drop(columns=[n for n in recipes if frame[n].map(repr).nunique() == 1])
    if not all(candidate.metric.is_accuracy for candidate in candidates):
        frame["metric"] = [candidate.metric.name for candidate in candidates]
    return frame[[*FIRST, *(name for name in frame if name not in (*FIRST, *LAST)), *LAST]]


def _row(candidate: Candidate) -> dict[str, object]:
    """The columns of a student by name."""
    row: dict[str, object] = {"label": candidate.label}
    row |= {name: getattr(candidate, name) for name in FIELDS}
    row |= candidate.recipe.get("student") or {}
    assistants = candidate.recipe.get("assistants") or {}
    return row | {f"assistants_{name}": value for name, value in assistants.items()}


def _cells(candidate: Candidate) -> tuple[str, ...]:
    return (
        str(candidate.trial),
        candidate.label,
        candidate.metric.text(candidate.accuracy),
        f"{candidate.params:,}",
        f"{candidate.bytes:,}",
        f"{candidate.latency_ms:.4g} ms",
    )


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"
