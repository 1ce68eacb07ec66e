"""Texts that an exported student is given, as token ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasearch.data.given_texts import listed
from tasearch.data.tokenizer import TextTokenizer
from tasearch.errors import ExportError, quoted


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
    given = listed(x)
    alone = isinstance(given, tuple) and [*map(type, given)] == [str, str]
    if isinstance(given, str) or (pairs and alone):
        given = [given]
    made: list[Any] = []
    for row, one in enumerate(given):
        parts = [one] if isinstance(one, str) else [*one] if isinstance(one, list | tuple) else []
        whole = len(parts) == len(text.columns) and all(isinstance(part, str) for part in parts)
        if not whole:
            what = f"a pair of strings, {' and '.join(text.columns)}" if pairs else "a string"
            raise ExportError(f"x[{row}]: should be {what}, found {quoted(one)}")
        made.append(tuple(parts) if pairs else parts[0])
    return text.encode(made).ids
