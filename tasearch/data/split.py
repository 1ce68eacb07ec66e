"""The split: seeded, stratified, made once."""

from __future__ import annotations

import numpy as np

from tasearch.config.sections import DataSection
from tasearch.data.arrays import Split
from tasearch.errors import DataError


def split(parts: dict[str, Split], *, section: DataSection, where: str) -> dict[str, Split]:
    """Train, validation and test parts; those the source has stay as they are.

    The test part is drawn first, so that it does not depend on the share of the validation part;
    the training part is limited last, so that neither depends on its limit.

    Raises:
        DataError: where a class is too rare to be in every part.
    """
    both = "val" not in parts and "test" not in parts
    if both and section.validation + section.test >= 1:
        raise DataError(
            f"data.validation + data.test: should be below 1, "
            f"found {section.validation} + {section.test}"
        )
    made = dict(parts)
    whole = len(made["train"])
    for name, key in (("test", "test"), ("val", "validation")):
        if name not in made:
            count = round(getattr(section, key) * whole)
            made["train"], made[name] = _draw(made["train"], count, section.split_seed, where, key)
    most = section.limit
    if most is not None and most < len(made["train"]):
        _, made["train"] = _draw(made["train"], most, section.split_seed, where, "limit")
    return made


def _draw(part: Split, count: int, seed: int, where: str, key: str) -> tuple[Split, Split]:
    from sklearn.model_selection import train_test_split  # see `tasearch.data.digits`

    try:
        rest, drawn = train_test_split(
            np.arange(len(part)), test_size=count, stratify=part.y, random_state=seed
        )
    except ValueError:  # in scikit-learn's words
        raise DataError(
            f"{where}: data.{key}: {count:,} of {len(part):,} samples cannot be drawn with every "
            f"class among them and among the rest; bring more samples, or parts of your own "
            f"(x_val, y_val, x_test, y_test)"
        ) from None
    return _take(part, np.sort(rest)), _take(part, np.sort(drawn))


def _take(part: Split, indices: np.ndarray) -> Split:
    return Split(x=part.x[indices], y=part.y[indices])
