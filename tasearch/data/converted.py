"""Making arrays of what users have: lists, tensors, columns of pandas, arrays of numpy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tasearch.errors import DataError, first_line, shown


def as_array(value: Any, where: str) -> np.ndarray:
    """What numpy converts to an array: lists of numbers, torch tensors, columns of pandas.

    Args:
        value: The value.
        where: Where it comes from, for messages.

    Raises:
        DataError: It is no array of numbers or text.
    """
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        if np.ma.isMaskedArray(value):
            masked = int(np.count_nonzero(value.mask))
            if masked:
                raise DataError(f"{where}: should have no masked values, found {masked:,}")
            value = value.data
        array = np.asarray(_numbers(value, where))
    except (KeyboardInterrupt, MemoryError, DataError):
        raise
    except BaseException as error:  # numpy calls methods of the value, which may be a user's
        reason = shown(first_line(error))
        raise DataError(f"{where}: is no array of numbers ({kind}): {reason}") from None
    if array.dtype.hasobject and array.ndim == 1:
        array = _text(array, where)
    if array.dtype.hasobject:
        raise DataError(f"{where}: should be an array of numbers, is {kind}, which holds objects")
    return array


def _text(array: np.ndarray, where: str) -> np.ndarray:
    """Strings, as in columns of pandas and in numpy's StringDType, as numpy's own; others as is.

    Raises:
        DataError: Some values are strings, and some are not, such as a missing label.
    """
    others = [i for i, value in enumerate(array) if type(value) not in (str, np.str_)]
    if len(others) == len(array):
        return array
    if others:
        kind = type(array[others[0]]).__name__
        raise DataError(f"{where}[{others[0]}]: should be text as others are, found {kind}")
    return np.array(array.tolist(), dtype=np.str_)


def _numbers(value: Any, where: str) -> Any:
    """A torch tensor as an array of numpy; anything else as it is."""
    torch = sys.modules.get("torch")  # where it is not imported, no value is a tensor
    if torch is None or not isinstance(value, torch.Tensor):
        return value
    for wrong, words in (
        (value.is_meta, "has no values (device meta)"),
        (value.is_quantized, "is quantized; bring value.dequantize()"),
        (value.is_nested, "is a nested tensor; bring one of a single shape"),
        (value.layout != torch.strided, "is sparse; bring value.to_dense()"),
    ):
        if wrong:
            raise DataError(f"{where}: {words}")
    value = value.detach().cpu().resolve_conj().resolve_neg()
    narrow = value.is_floating_point() and value.dtype.itemsize < 4  # numpy has no bfloat16
    return (value.float() if narrow else value).numpy()
