"""The split into training, validation and test set: seeded and stratified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.data.arrays import Split
from tasearch.data.labels import may_be_numbers, smallest_class
from tasearch.errors import DataError, quoted


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Where the samples of a part are.

    Args:
        source: The part of the source that has them.
        numbers: Their numbers in it, int64 (samples,), rising; None for all of it.
    """

    source: Split
    numbers: np.ndarray | None = None

    @property
    def y(self) -> np.ndarray:
        """Their labels, int64 (samples,)."""
        return self._own(self.source.y)

    @property
    def teacher(self) -> np.ndarray | None:
        """Logits of a teacher that is given by them alone."""
        return None if self.source.teacher is None else self._own(self.source.teacher)

    def in_memory(self) -> Split:
        """The part with its samples, which are copied unless it is all of the source's."""
        return Split(x=self._own(self.source.x), y=self.y, teacher=self.teacher)

    def _own(self, values: np.ndarray) -> np.ndarray:
        return values if self.numbers is None else values[self.numbers]


def split(
    parts: Mapping[str, Split], *, section: DataSection, class_names: Sequence[str], where: str
) -> dict[str, Rows]:
    """Split what is missing off the training set; the parts that a source has stay as they are.

    The test set is drawn first, so that it does not depend on the validation set's fraction. The
    training set is limited last, so that neither of them depends on its limit.

    Args:
        parts: The source's parts: "train", and perhaps "val" and "test".
        section: The `[data]` section of the study file, with fractions, limit and seed.
        class_names: Names of the classes, for messages.
        where: File or function that the data come from, for messages.

    Returns:
        The samples of the parts "train", "val" and "test"; none is copied yet.

    Raises:
        DataError: A class has too few samples to be in every part.
    """
    both = "val" not in parts and "test" not in parts
    if both and section.validation + section.test >= 1:
        raise DataError(
            f"data.validation + data.test: should be below 1, "
            f"found {section.validation} + {section.test}"
        )
    made = {name: Rows(source=part) for name, part in parts.items()}
    seed, names = section.split_seed, class_names
    whole = len(parts["train"])
    for name, key in (("test", "test"), ("val", "validation")):
        if name not in made:
            count = round(getattr(section, key) * whole)
            made["train"], made[name] = _draw(
                made["train"], count, seed, names, f"{where}: data.{key}"
            )
    most = section.limit
    if most is not None and most < len(made["train"].y):
        _, made["train"] = _draw(made["train"], most, seed, names, f"{where}: data.limit")
    return made


def _draw(
    part: Rows, count: int, seed: int, class_names: Sequence[str], where: str
) -> tuple[Rows, Rows]:
    """The rest of a part, and `count` samples drawn from it."""
    from sklearn.model_selection import train_test_split  # slow to import; workers need none of it

    y = part.y
    try:
        rest, drawn = train_test_split(
            np.arange(len(y)), test_size=count, stratify=y, random_state=seed
        )
    except ValueError:  # scikit-learn's message names none of the study's keys
        name, samples = smallest_class(y, class_names)
        rare = f"; class {quoted(name)} has only 1" if samples == 1 else ""
        raise DataError(
            f"{where}: {count:,} of {len(y):,} samples cannot be drawn with every class among "
            f"them and among the rest{rare}; bring more samples, or parts of your own"
            f"{may_be_numbers(class_names)}"
        ) from None
    return _some(part, np.sort(rest)), _some(part, np.sort(drawn))


def _some(part: Rows, places: np.ndarray) -> Rows:
    numbers = places if part.numbers is None else part.numbers[places]
    return Rows(source=part.source, numbers=numbers)
