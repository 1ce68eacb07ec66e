"""Calling a user's own source, and making arrays of what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tasearch.data.converted import as_array
from tasearch.data.decoding import Progress
from tasearch.data.pairs import arrays_of, is_dataset, pair_of
from tasearch.data.part_files import PARTS
from tasearch.errors import DataError, raised

WANTED = (
    "a dict of arrays, (samples, labels), a map-style dataset of torch, or a dict of such by part"
)


def returned_arrays(
    function: Callable[[], Any], name: str, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Call a user's source.

    Args:
        function: Function without arguments. It returns a mapping of arrays by name, a pair of
            samples and labels, a map-style dataset of torch, or a mapping from "train",
            "validation" and "test" to pairs or datasets. Arrays may be all that numpy converts to
            arrays: lists of numbers, torch tensors, columns of pandas. Labels may be strings.
        name: Name of the function in the study file, for messages.
        progress: Called with (done, total) while a dataset is read.

    Raises:
        DataError: The function raises, exits, or returns anything else.
    """
    where = f"data.source: {name!r}"
    try:
        returned = function()
        given = {**returned} if isinstance(returned, Mapping) else returned
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # it may raise anything, and call sys.exit()
        raise DataError(f"{where} raised {raised(error)}") from error
    if isinstance(given, tuple) or is_dataset(given):
        return _pair(given, "train", where, progress)
    if not isinstance(given, dict):
        raise DataError(f"{where} should return {WANTED}; returned {type(given).__name__}")
    for key in given:
        if not isinstance(key, str):
            raise DataError(
                f"{where}: the names of arrays should be text, found {type(key).__name__}"
            )
    if given and {*given} <= {*PARTS}:
        return _parts(given, where, progress)
    return {key: as_array(value, f"{where}: {key}") for key, value in given.items()}


def _parts(
    given: Mapping[str, Any], where: str, progress: Progress | None
) -> dict[str, np.ndarray]:
    """The arrays of pairs and datasets by part."""
    arrays: dict[str, np.ndarray] = {}
    for name, pair in given.items():
        part = PARTS[name]
        if f"x_{part}" in arrays:
            raise DataError(f"{where}: returned the part {part!r} twice; found {sorted(given)}")
        arrays |= _pair(pair, part, f"{where}: {name}", progress)
    return arrays


def _pair(pair: Any, part: str, where: str, progress: Progress | None) -> dict[str, np.ndarray]:
    """The arrays of one part."""
    x, y = pair_of(pair, where)
    names = (where, where) if y is None else (f"{where}[0]", f"{where}[1]")
    arrays = arrays_of(x, y, names, progress)
    return {f"{axis}_{part}": array for axis, array in zip("xy", arrays, strict=True)}
