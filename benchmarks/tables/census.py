"""Census income: 14 columns of a person, and whether the income is above 50,000 dollars.

Each value of a category is a column; a missing one is a value too. Gains and losses of capital,
mostly 0, are taken as logarithms. Nothing is fitted here: tasearch standardizes by the training
part.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from sklearn.feature_extraction import DictVectorizer

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "adult"
NUMBERS = ("age", "education_num", "hours_per_week")
LOGARITHMS = ("capital_gain", "capital_loss")
CATEGORIES = (
    "workclass",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native_country",
)


def load() -> dict[str, np.ndarray]:
    """The published training and test parts, as flat features.

    Raises:
        FileNotFoundError: The data are not there; they are not part of this repository.
    """
    train, test = (_rows(FOLDER / f"{part}.csv") for part in ("train", "test"))
    vectorizer = DictVectorizer(sparse=False, dtype=np.float32)
    vectorizer.fit([_features(row) for row in train])
    return {
        f"{kind}_{part}": array
        for part, rows in (("train", train), ("test", test))
        for kind, array in (
            ("x", vectorizer.transform([_features(row) for row in rows])),
            ("y", np.array([row["income"].startswith(">50K") for row in rows], dtype=np.int64)),
        )
    }


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _features(row: dict[str, str]) -> dict[str, float | str]:
    """What one row tells, by name; a category is text."""
    numbers = {name: float(row[name]) for name in NUMBERS}
    logarithms = {name: float(np.log1p(float(row[name]))) for name in LOGARITHMS}
    return numbers | logarithms | {name: row[name] for name in CATEGORIES}
