"""The members of the front as numbers."""

from __future__ import annotations

from typing import Any

from tasearch.report.rows import Row


def front_rows(rows: tuple[Row, ...]) -> list[Row]:
    """The members of the front, the smallest first.

    Args:
        rows: A run's rows.
    """
    return sorted((row for row in rows if row.front), key=lambda row: (row.params, row.latency_ms))


def row_numbers(row: Row) -> dict[str, Any]:
    """The numbers of a finished student, each under a name of its own; None for what is not known.

    Accuracies are those of the validation set, 0 to 1, and so are their intervals and differences.

    Args:
        row: The row of its trial.
    """
    assert row.interval is not None
    confirmed = row.confirmed
    return {
        "trial": row.trial,
        "chain": row.label,
        "teaching": row.teaching,
        "accuracy": row.accuracy,
        "low": row.interval[0],
        "high": row.interval[1],
        "replicates": row.replicates,
        "params": row.params,
        "bytes": row.bytes,
        "latency_ms": row.latency_ms,
        "latency_p95_ms": row.latency_p95_ms,
        "as_good_as": row.smaller,
        "over_direct": row.over_direct,
        "over_labels": row.over_labels,
        "confirmed_accuracy": confirmed.accuracy if confirmed else None,
        "confirmed_low": confirmed.interval[0] if confirmed else None,
        "confirmed_high": confirmed.interval[1] if confirmed else None,
        "confirmed_seeds": confirmed.seeds if confirmed else None,
        "recipe": row.recipe,
    }
