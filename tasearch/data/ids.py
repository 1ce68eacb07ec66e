"""Samples of integers that stay integers, such as token ids: for models with an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasearch.errors import DataError

KINDS = ("int32", "int64")
LARGEST = 2**63  # bound of int64


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What models need to know of token ids; a text's mask is where ids are not `pad`.

    Args:
        vocabulary: Number of ids, which are 0 .. vocabulary - 1.
        pad: Id behind the end of each text.
        cls: Id at the start of each text; None where the tokenizer adds none.
        sep: Id after each text; None where the tokenizer adds none.
        length: Number of ids of a sample, with those of padding.
    """

    vocabulary: int
    pad: int
    cls: int | None
    sep: int | None
    length: int


@dataclass(frozen=True, kw_only=True)
class Ids:
    """What samples of integers hold.

    Args:
        low: Least value; of tokens, the least that there may be.
        high: Greatest value; of tokens, the greatest that there may be.
        dtype: "int32" or "int64".
        tokens: What the integers are if the data are texts; None for other integers.
    """

    low: int
    high: int
    dtype: str
    tokens: Tokens | None = None

    @classmethod
    def of_tokens(cls, tokens: Tokens) -> Ids:
        """What samples of token ids hold."""
        return cls(low=0, high=tokens.vocabulary - 1, dtype="int32", tokens=tokens)


def are_ids(x: np.ndarray) -> bool:
    """Whether samples are such integers; bytes are pixels."""
    return str(x.dtype) in KINDS


def as_ids(x: np.ndarray, where: str) -> np.ndarray:
    """Integers of any type as int32, or int64 where they do not fit.

    Args:
        x: Integers, (samples, length).
        where: Name of the array, for messages.

    Raises:
        DataError: A value does not fit into int64.
    """
    if x.dtype == np.uint64 and x.max() >= LARGEST:
        place = [int(i) for i in np.argwhere(x >= LARGEST)[0]]
        raise DataError(f"{where}{place}: should be below 2**63, found {x.max()}")
    kind = np.int32 if np.can_cast(x.dtype, np.int32) else np.int64
    return np.ascontiguousarray(x, dtype=kind)


def ids_of(parts: Sequence[np.ndarray], held_out: tuple[int, int] | None = None) -> Ids | None:
    """What the samples of several parts hold; None where they are numbers to compute with.

    Args:
        parts: Samples of one type, (samples, ...).
        held_out: The least and the greatest value of the test set, which models must take, too.
    """
    if not are_ids(parts[0]):
        return None
    found = [bounds_of(x) for x in parts] + ([] if held_out is None else [held_out])
    lows, highs = zip(*found, strict=True)
    return Ids(low=min(lows), high=max(highs), dtype=str(parts[0].dtype))


def bounds_of(x: np.ndarray) -> tuple[int, int]:
    """The least and the greatest value of samples of integers."""
    return int(x.min()), int(x.max())
