"""The outputs of a teacher of which there is no model: arrays that the data bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tasearch.data.arrays import OUTPUTS, Split
from tasearch.errors import DataError, shown

LARGEST = 65504.0  # largest float16, in which soft targets are kept
FLOOR = 1e-6  # least probability whose logarithm is taken; a forest gives exact zeros
SLACK = 1e-3  # what the sum of a sample's probabilities may differ from 1 by


def with_outputs(
    parts: Mapping[str, Split],
    arrays: Mapping[str, np.ndarray],
    outputs: str,
    classes: int,
    where: str,
) -> dict[str, Split]:
    """The parts of the data, with the logits of the teacher.

    Args:
        parts: The source's parts: "train", and perhaps "val" and "test".
        arrays: The source's arrays: `teacher_train`, `teacher_val` if there is a validation set,
            and perhaps `teacher_test`; numbers, (samples, classes).
        outputs: What the arrays hold: "logits" or "probabilities".
        classes: Number of classes.
        where: File or function that the data come from, for messages.

    Raises:
        DataError: An array is missing or breaks a rule.
    """
    found = dict(parts)
    for array in OUTPUTS:
        owner = array.removeprefix("teacher_")
        if array in arrays and owner not in parts:
            raise DataError(f"{where}: array {array!r} goes with 'x_{owner}', which is missing")
    for name, part in parts.items():
        array = f"teacher_{name}"
        if array in arrays:
            logits = _logits(arrays[array], outputs, (len(part), classes), f"{where}: {array}")
            found[name] = replace(part, teacher=logits)
        elif name != "test":  # without it, agreement on the test set is not known
            raise DataError(
                f"{where}: array {array!r} is missing, which teacher.outputs = {outputs!r} needs: "
                f"the teacher's {outputs} for x_{name}"
            )
    return found


def tell_scaled(parts: Mapping[str, Split], outputs: str, warn: Callable[[str], None]) -> None:
    """Tell of logits that may be probabilities times a number, such as the votes of a forest.

    Args:
        parts: The source's parts, from `with_outputs`.
        outputs: What the arrays hold: "logits" or "probabilities".
        warn: Called with the notice.
    """
    logits = parts["train"].teacher
    if outputs != "logits" or logits is None:
        return
    sums = logits.sum(axis=1, dtype=np.float64)
    if logits.min() >= 0 and sums[0] > 0 and np.abs(sums / sums[0] - 1).max() <= SLACK:
        warn(
            f"the teacher's logits are 0 or more, and those of each sample sum to {sums[0]:g}: if "
            f"they are probabilities or votes, divide them by it, and set teacher.outputs = "
            f'"probabilities"'
        )


def _logits(given: np.ndarray, outputs: str, shape: tuple[int, int], where: str) -> np.ndarray:
    """Logits, float32 (samples, classes)."""
    if given.dtype.kind not in "fiu" or given.shape != shape:
        raise DataError(
            f"{where}: should be outputs of shape {shape}, a number for each class, found "
            f"{shown(given.dtype)} of shape {given.shape}"
        )
    values = given.astype(np.float64)
    wrong = ~(np.isfinite(values) & (np.abs(values) <= LARGEST))
    if wrong.any():
        raise DataError(
            f"{where}{_first(wrong)}: should be finite and of at most {LARGEST:,.0f} in size, "
            f"found {values[wrong][0]:g}"
        )
    inside = (values >= 0) & (values <= 1)
    sums = values.sum(axis=1)
    if outputs == "logits":
        if inside.all() and np.abs(sums - 1).max() <= SLACK:
            raise DataError(
                f"{where}: should be logits, found probabilities: all lie in 0 .. 1, and those of "
                f'each sample sum to 1; set teacher.outputs = "probabilities"'
            )
        return values.astype(np.float32)
    if not inside.all():
        raise DataError(
            f"{where}{_first(~inside)}: should be a probability in 0 .. 1, found "
            f"{values[~inside][0]:g}"
        )
    off = np.abs(sums - 1) > SLACK
    if off.any():
        raise DataError(
            f"{where}{_first(off)}: probabilities of a sample should sum to 1, found "
            f"{sums[off][0]:g}"
        )
    return np.log(np.maximum(values, FLOOR)).astype(np.float32)


def _first(wrong: np.ndarray) -> list[int]:
    """The first place that is wrong, as an index."""
    return [int(i) for i in np.argwhere(wrong)[0]]
