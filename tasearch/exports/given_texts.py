"""Texts that an exported student is given, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasearch.data.tokenizer import TextTokenizer
from tasearch.errors import ExportError, quoted


def are_texts(x: Any) -> bool:
    """Whether these are strings, or sequences of strings, and no numbers."""
    if isinstance(x, str):
        return True
    first = x.tolist() if hasattr(x, "tolist") else x
    while isinstance(first, Sequence) and not isinstance(first, str) and len(first):
        first = first[0]
    return isinstance(first, str)


def ids_of_texts(x: Any, text: TextTokenizer) -> np.ndarray:
    """Token ids of texts, int32 (texts, length).

    Args:
        x: Strings, or pairs of strings where the student takes pairs; one text alone is a string,
            or a tuple of two.
        text: How texts become token ids.

    Raises:
        ExportError: These are no such texts.
        DataError: The package `tokenizers` is missing.
    """
    pairs = len(text.columns) == 2
    listed = x.tolist() if hasattr(x, "tolist") else x
    alone = isinstance(listed, tuple) and [*map(type, listed)] == [str, str]
    if isinstance(listed, str) or (pairs and alone):
        listed = [listed]
    made: list[Any] = []
    for row, one in enumerate(listed):
        parts = [one] if isinstance(one, str) else [*one] if isinstance(one, list | tuple) else []
        whole = len(parts) == len(text.columns) and all(isinstance(part, str) for part in parts)
        if not whole:
            what = f"a pair of strings, {' and '.join(text.columns)}" if pairs else "a string"
            raise ExportError(f"x[{row}]: should be {what}, found {quoted(one)}")
        made.append(tuple(parts) if pairs else parts[0])
    return text.encode(made).ids
