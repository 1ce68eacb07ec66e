"""What a user should know of a table before it is used: columns that may not be what they seem."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import pyarrow as pa

from tasearch.errors import quoted

THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([,' \u00a0\u202f]\d{3})+(\.\d*)?")  # 77,516
MANY_VALUES = 20  # from which on a category may be an identifier


def warn_of_numbers(
    rows: pa.Table, categories: Collection[str], warn: Callable[[str], None]
) -> None:
    """Tell of numbers that are a category because some of them cannot be read as numbers.

    Args:
        rows: Columns of float64 or string; null is missing.
        categories: Names of columns that shall be categories.
        warn: Called with each notice.
    """
    for name in rows.column_names:
        if rows.schema.field(name).type != pa.string() or name in categories:
            continue
        texts = rows.column(name).drop_null().to_pylist()
        odd = [text for text in texts if not is_number(text)]
        grouped = sum(bool(THOUSANDS.fullmatch(text)) for text in odd)
        alike = len(texts) - len(odd) + max(grouped, sum(_has_commas(text) for text in odd))
        if odd and alike > len(texts) / 2:
            apart = grouped > len(odd) / 2
            mend = "write them without thousands separators" if apart else "mend them"
            warn(
                f"column {quoted(name)} is a category: {len(odd):,} of its {len(texts):,} values "
                f"cannot be read as numbers, such as {quoted(odd[0])}; {mend}, name them in "
                f"data.missing if they are gaps, or the column in data.categories"
            )


def warn_of_identifier(name: str, values: int, rows: int, warn: Callable[[str], None]) -> None:
    """Tell of a category that has a value of its own in most rows.

    Args:
        name: Name of the column.
        values: Number of its values in the training part.
        rows: Number of rows of the training part.
        warn: Called with the notice.
    """
    if values > max(MANY_VALUES, rows / 2):
        warn(
            f"column {quoted(name)} has {values:,} values in {rows:,} rows: if it is an "
            f"identifier, name it in data.drop"
        )


def is_number(text: str) -> bool:
    """Whether a text can be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _has_commas(text: str) -> bool:
    """Whether a text is a number with a comma for the point, or between thousands."""
    return "," in text and is_number(text.replace(",", ""))
