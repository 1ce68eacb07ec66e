"""From a row of a table to numbers: gaps filled, categories as columns of 0 and 1.

All of it is fitted on the training part alone: the medians that fill gaps, the values that a
category has. A number whose column has gaps there gets a second feature, 1 where it is missing. A
category's missing value is one of its values, if it occurs there; a value that does not occur has 0
in all columns. Features are standardized like all others, later.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasearch.data.table_notices import warn_of_identifier
from tasearch.errors import DataError, quoted

MOST_VALUES = 1_000  # of a category; more look like names or identifiers
NUMBER, CATEGORY = "number", "category"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table, and the features that it becomes.

    Args:
        name: Its name.
        kind: "number" or "category".
        gap: Whether values are missing in the training part, which is a feature then.
        fill: The median of the training part, for a missing number.
        values: The values of a category, sorted by code point.
    """

    name: str
    kind: str
    gap: bool
    fill: float = 0.0
    values: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """Names of the features, in their order."""
        own = [self.name] if self.kind == NUMBER else [f"{self.name}={v}" for v in self.values]
        return [*own, f"{self.name} missing"] if self.gap else own

    def numbers(self, column: Any) -> np.ndarray:
        """The features of a column, float32 (rows, features).

        Args:
            column: Values of float64 or string; null is missing.
        """
        missing = np.asarray(column.is_null()).astype(np.float32)
        if self.kind == NUMBER:
            filled = np.asarray(column.fill_null(self.fill), dtype=np.float32)
            return np.stack([filled, missing], axis=1) if self.gap else filled[:, None]
        known = pa.array(self.values, pa.string())
        places = np.asarray(pc.index_in(column, known).fill_null(len(self.values)))
        places = np.where(missing > 0, len(self.values), places)
        found: np.ndarray = np.eye(len(self.values) + 1, dtype=np.float32)[places]
        found[:, -1] = missing
        return found if self.gap else found[:, :-1]


@dataclass(frozen=True, kw_only=True)
class Features:
    """How rows of a table become features.

    Args:
        columns: The columns, in the order of their features.
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls, rows: pa.Table, where: str, warn: Callable[[str], None] = lambda notice: None
    ) -> Features:
        """The features of a training part.

        Args:
            rows: Columns of float64 or string; null is missing.
            where: File that they come from, for messages.
            warn: Called with each notice for the user.

        Raises:
            DataError: A column cannot be a feature.
        """
        columns = tuple(_fitted(rows, name, where) for name in rows.column_names)
        for column in columns:
            warn_of_identifier(column.name, len(column.values), rows.num_rows, warn)
        return cls(columns=columns)

    @property
    def names(self) -> list[str]:
        """Names of the features, in their order."""
        return [name for column in self.columns for name in column.features]

    def transform(self, rows: pa.Table) -> np.ndarray:
        """The features of rows, float32 (rows, features)."""
        found = [c.numbers(rows.column(c.name).combine_chunks()) for c in self.columns]
        return np.ascontiguousarray(np.concatenate(found, axis=1))

    def table(self, rows: Any) -> pa.Table:
        """Rows as a user has them, as columns of float64 and string.

        Args:
            rows: A mapping from the name of a column to its values, such as a DataFrame or a dict
                of lists, or a list of mappings, one a row; a mapping to single values is one row.
                None and NaN are missing; other columns are ignored.

        Raises:
            DataError: A column is missing, or has values of another kind.
        """
        if isinstance(rows, Sequence):
            rows = self._by_column(rows)
        made = {}
        for column in self.columns:
            if column.name not in rows:
                raise DataError(f"rows: column {quoted(column.name)} is missing")
            made[column.name] = _values(rows[column.name], column)
        lengths = {name: len(values) for name, values in made.items()}
        if len({*lengths.values()}) > 1:
            raise DataError(f"rows: columns should have one length, found {quoted(lengths)}")
        return pa.table(made)

    def _by_column(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Rows as columns; each row has every column."""
        for number, row in enumerate(rows):
            missing = next((c.name for c in self.columns if c.name not in row), None)
            if missing is not None:
                raise DataError(f"rows: row {number} lacks column {quoted(missing)}")
        return {c.name: [row[c.name] for row in rows] for c in self.columns}

    def content(self) -> list[dict[str, Any]]:
        """The columns as plain values."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_content(cls, content: Sequence[Mapping[str, Any]]) -> Features:
        """The features that `content` gives."""
        columns = (Column(**{**c, "values": tuple(c["values"])}) for c in content)
        return cls(columns=tuple(columns))


@dataclass(frozen=True, kw_only=True)
class TableData:
    """What is kept of a table beside its features.

    Args:
        features: How rows become features.
        validation: The rows of the validation set, as columns of float64 and string.
    """

    features: Features
    validation: pa.Table


def _fitted(rows: pa.Table, name: str, where: str) -> Column:
    """How one column becomes features."""
    column = rows.column(name).combine_chunks()
    gap = column.null_count > 0
    known = column.drop_null()
    if len(known) == 0:
        raise DataError(
            f"{where}: column {quoted(name)} has no value in the training part; "
            f"name it in data.drop"
        )
    if column.type == pa.float64():
        values = np.asarray(known)
        wide = np.abs(values) > np.finfo(np.float32).max
        if wide.any():
            found = values[int(wide.argmax())]
            raise DataError(f"{where}: column {quoted(name)}: should be a float32, found {found}")
        return Column(name=name, kind=NUMBER, gap=gap, fill=float(np.median(values)))
    texts = sorted(known.unique().to_pylist())
    if len(texts) > MOST_VALUES:
        raise DataError(
            f"{where}: column {quoted(name)}: a category may have {MOST_VALUES:,} values, found "
            f"{len(texts):,} in {len(column):,} rows; name it in data.drop, or bring it as "
            f'numbers; if it holds texts, set data.source = "text"'
        )
    return Column(name=name, kind=CATEGORY, gap=gap, values=tuple(texts))


def _values(given: Any, column: Column) -> Any:
    """A user's values of a column, as float64 or string."""
    single = given is None or isinstance(given, str | numbers.Number)
    listed = [given] if single else given.tolist() if hasattr(given, "tolist") else list(given)
    known = [None if _is_missing(value) else value for value in listed]
    if column.kind == CATEGORY:
        texts = (value if value is None else _text(value) for value in known)
        return pa.array([text or None for text in texts], pa.string())
    found = []
    for row, value in enumerate(known):
        try:
            found.append(None if value is None else float(value))
        except (TypeError, ValueError):
            raise DataError(
                f"rows: column {quoted(column.name)} should hold numbers, found "
                f"{quoted(value)} in row {row}"
            ) from None
    return pa.array(found, pa.float64())


def _text(value: Any) -> str:
    """A category as text; a whole number that has become a float is one."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or what pandas has in their place."""
    return value is None or type(value).__name__ == "NAType" or value != value
