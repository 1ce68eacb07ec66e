"""The rows of the front."""

from __future__ import annotations

from tasearch.report.rows import Row


def front_rows(rows: tuple[Row, ...]) -> list[Row]:
    """The members of the front, the smallest first.

    Args:
        rows: A run's rows.
    """
    return sorted((row for row in rows if row.front), key=lambda row: (row.params, row.latency_ms))
