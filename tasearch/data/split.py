"""The split into training, validation and test set: seeded and stratified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.data.arrays import Split
from tasearch.data.labels import smallest_class
from tasearch.errors import DataError, quoted


def split(
    parts: dict[str, Split], *, section: DataSection, class_names: Sequence[str], where: str
) -> dict[str, Split]:
    """Split what is missing off the training set; the parts that a source has stay as they are.

    The test set is drawn first, so that it does not depend on the validation set's fraction. The
    training set is limited last, so that neither of them depends on its limit.

    Args:
        parts: The source's parts: "train", and perhaps "val" and "test".
        section: The `[data]` section of the study file, with fractions, limit and seed.
        class_names: Names of the classes, for messages.
        where: File or function that the data come from, for messages.

    Returns:
        The parts "train", "val" and "test".

    Raises:
        DataError: A class has too few samples to be in every part.
    """
    both = "val" not in parts and "test" not in parts
    if both and section.validation + section.test >= 1:
        raise DataError(
            f"data.validation + data.test: should be below 1, "
            f"found {section.validation} + {section.test}"
        )
    made = dict(parts)
    seed, names = section.split_seed, class_names
    whole = len(made["train"])
    for name, key in (("test", "test"), ("val", "validation")):
        if name not in made:
            count = round(getattr(section, key) * whole)
            made["train"], made[name] = _draw(
                made["train"], count, seed, names, f"{where}: data.{key}"
            )
    most = section.limit
    if most is not None and most < len(made["train"]):
        _, made["train"] = _draw(made["train"], most, seed, names, f"{where}: data.limit")
    return made


def _draw(
    part: Split, count: int, seed: int, class_names: Sequence[str], where: str
) -> tuple[Split, Split]:
    """The rest of a part, and `count` samples drawn from it."""
    from sklearn.model_selection import train_test_split  # slow to import; workers need none of it

    try:
        rest, drawn = train_test_split(
            np.arange(len(part)), test_size=count, stratify=part.y, random_state=seed
        )
    except ValueError:  # scikit-learn's message names none of the study's keys
        name, samples = smallest_class(part.y, class_names)
        rare = f"; class {quoted(name)} has only 1" if samples == 1 else ""
        raise DataError(
            f"{where}: {count:,} of {len(part):,} samples cannot be drawn with every class among "
            f"them and among the rest{rare}; bring more samples, or parts of your own"
        ) from None
    return _take(part, np.sort(rest)), _take(part, np.sort(drawn))


def _take(part: Split, indices: np.ndarray) -> Split:
    teacher = None if part.teacher is None else part.teacher[indices]
    return Split(x=part.x[indices], y=part.y[indices], teacher=teacher)
