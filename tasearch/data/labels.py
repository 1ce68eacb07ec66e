"""Labels as users have them: any class names become 0 .. classes - 1, and the names are kept.

Labels are integers, booleans or strings. The classes are those of the training set, in sorted
order: integers by value, strings by code point. Labels 0 .. classes - 1 stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasearch.errors import DataError, nearest, quoted, short, shown

KINDS = {"b": "booleans", "i": "integers", "u": "integers", "U": "strings"}  # by numpy's kind
LARGEST = 2**63  # labels are kept as int64
LISTED = 10  # classes that a message names
MANY = 20  # classes above which whole numbers may be no classes
REGRESSION = "regression is not there"


def numbered(count: int) -> tuple[str, ...]:
    """The names of classes that have none of their own: "0", "1" and so on."""
    return tuple(map(str, range(count)))


def are_numbers(class_names: Sequence[str]) -> bool:
    """Whether the names say no more than the numbers of the classes do."""
    return tuple(class_names) == numbered(len(class_names))


def number_classes(
    labels: Mapping[str, np.ndarray], where: str, column: str | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Number the classes of labels.

    Args:
        labels: Labels (samples,) of each part, "train" among them.
        where: File or function that the labels come from, for messages.
        column: Name of their column in a table; None for arrays `y_train` and so on.

    Returns:
        The labels as int64 in 0 .. classes - 1, and the names of the classes by number.

    Raises:
        DataError: Labels are none of a classifier, or a class is not in the training set.
    """
    if column is None:
        said = {part: f"y_{part}" for part in labels}
    else:
        said = {part: f"column {quoted(column)}, {part}" for part in labels}
        _refuse_floats(labels, where, column)
    plain = {part: _plain(y, f"{where}: {said[part]}") for part, y in labels.items()}
    train = plain["train"]
    values, numbers = np.unique(train, return_inverse=True)
    names = tuple(map(str, values.tolist()))
    if len(names) < 2:
        raise DataError(
            f"{where}: {said['train']}: should have at least two classes, found only class "
            f"{names[0]!r}"
        )
    for name in names:
        _check_name(name, f"{where}: {said['train']}")
    numbers_of = {"train": numbers.astype(np.int64)}
    for part, y in plain.items():
        if KINDS[y.dtype.kind] != KINDS[train.dtype.kind]:
            raise DataError(
                f"{where}: {said[part]}: labels should be {KINDS[train.dtype.kind]} as in "
                f"{said['train']}, found {KINDS[y.dtype.kind]}"
            )
        if part != "train":
            numbers_of[part] = _places(y, values, f"{where}: {said[part]}", names)
    return numbers_of, names


def _places(y: np.ndarray, values: np.ndarray, where: str, names: Sequence[str]) -> np.ndarray:
    """The places of labels among the sorted values of the training set, int64 (samples,)."""
    places = np.searchsorted(values, y).clip(max=len(values) - 1)
    other = values[places] != y
    if other.any():
        first = int(other.argmax())
        found = str(y[first].item())
        raise DataError(
            f"{where}[{first}]: class {quoted(found)} is not in the training part"
            f"{_known(found, names)}"
        )
    return places.astype(np.int64)


def _known(found: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown class: the closest one, or all, or how many."""
    if len(names) <= LISTED:
        return nearest(found, [short(shown(name)) for name in names])
    return f", which has {len(names):,} classes"


def _plain(y: np.ndarray, where: str) -> np.ndarray:
    """Labels as int64, booleans or strings (samples,), at least one."""
    if y.ndim != 1 or y.dtype.kind not in KINDS:
        raise DataError(
            f"{where}: labels should be classes, one a sample: integers, booleans or strings of "
            f"shape (samples,), found {shown(y.dtype)} of shape {y.shape}{_advice(y)}"
        )
    if len(y) == 0:
        raise DataError(f"{where}: has no samples")
    if y.dtype.kind == "u" and y.max() >= LARGEST:
        raise DataError(
            f"{where}[{int(y.argmax())}]: labels should be below 2**63, found {y.max()}"
        )
    if y.dtype.kind == "U" and (y == "").any():
        raise DataError(f"{where}[{int((y == '').argmax())}]: is an empty string, not a class")
    return y.astype(np.int64) if y.dtype.kind in "iu" else y


def _refuse_floats(labels: Mapping[str, np.ndarray], where: str, column: str) -> None:
    """Refuse a column of labels with a point, in the words of a table."""
    for y in labels.values():
        if y.dtype.kind == "f" and len(y):
            some = np.unique(y)[:2].tolist()
            classes = f"write {_listed([round(v) for v in some])} if these are classes"
            advice = classes if _are_whole(y) else REGRESSION
            raise DataError(
                f"{where}: column {quoted(column)}: labels should be classes, found numbers such "
                f"as {_listed(some)}; {advice}"
            )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(map(str, values))


def _check_name(name: str, where: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: class {name!r} should be text that UTF-8 can hold") from None


def _advice(y: np.ndarray) -> str:
    """What to bring instead of labels that are refused, as the end of a message."""
    if y.dtype.kind == "S":
        return "; bring y.astype(str)"
    if y.dtype.kind not in "biuf" or y.ndim not in (1, 2) or y.size == 0:
        return ""
    if y.ndim == 2 and y.shape[1] == 1:
        return "; bring y[:, 0]"
    if y.ndim == 2:
        one_hot = bool((np.isin(y, (0, 1))).all() and (y.sum(axis=1) == 1).all())
        return "; bring y.argmax(axis=1)" if one_hot else "; several labels a sample are not there"
    return "; bring y.astype(int) if these are classes" if _are_whole(y) else f"; {REGRESSION}"


def _are_whole(y: np.ndarray) -> bool:
    return bool(np.isfinite(y).all() and (y == np.rint(y)).all())


def may_be_numbers(class_names: Sequence[str]) -> str:
    """What to say of classes that may be numbers to predict, as the end of a message.

    Args:
        class_names: Names of the classes.
    """
    if len(class_names) <= MANY or not all(n.removeprefix("-").isdecimal() for n in class_names):
        return ""
    return f"; if the {len(class_names):,} classes are numbers to predict, {REGRESSION}"


def smallest_class(y: np.ndarray, class_names: Sequence[str]) -> tuple[str, int]:
    """The name of the class with the fewest samples, and their number.

    Args:
        y: Labels, int64 (samples,), in 0 .. classes - 1.
        class_names: Names of the classes.
    """
    counts: Any = np.bincount(y, minlength=len(class_names))
    return class_names[int(counts.argmin())], int(counts.min())
