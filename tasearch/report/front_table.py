"""The rows of the front."""

from __future__ import annotations

from collections.abc import Iterable

from tasearch.report.rows import Row


def front_rows(rows: tuple[Row, ...]) -> list[Row]:
    """The members of the front, the smallest first.

    Args:
        rows: A run's rows.
    """
    return _by_size(row for row in rows if row.front)


def front_and_shipped(rows: tuple[Row, ...]) -> list[Row]:
    """The members of the front and what the verdicts ship, the smallest first.

    The front is that of the accuracies of the search, so a student that a verdict ships may be
    beaten there, by one that was luckier.

    Args:
        rows: A run's rows.
    """
    return _by_size(row for row in rows if row.front or row.shipped)


def _by_size(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.params, row.latency_ms))
