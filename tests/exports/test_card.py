"""The section of a model card about quality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasearch.data import Dataset
from tasearch.data.arrays import Split
from tasearch.exports.card import MOST_ROWS, quality_section
from tasearch.exports.input_words import input_words


def measured(classes: int, **changes: Any) -> dict[str, Any]:
    """The object "test" of metrics.json; class i has an accuracy of 1 - i / classes."""
    listed = [
        {"class": i, "name": str(i), "samples": 1000, "recall": 1 - i / classes}
        for i in range(classes)
    ]
    empty = {"class": classes, "name": str(classes), "samples": 0, "recall": None}
    values = {"ece": 0.0123, "nll": 0.08249, "agreement_with_teacher": 0.981}
    return {**values, "per_class": [*listed, empty], **changes}


def test_section_has_figures_in_words() -> None:
    text = quality_section(measured(2))
    assert text == (
        "- It predicts the same class as the teacher for 98.1% of the samples.\n"
        "- Its confidence is 1.2% away from its accuracy (expected calibration error, 15 bins of "
        "equal width).\n"
        "- Negative log-likelihood: 0.0825 nats, mean over the samples.\n"
        "\n"
        "| class | recall | samples |\n"
        "| --- | --- | --- |\n"
        "| 1 | 50.0% | 1,000 |\n"
        "| 0 | 100.0% | 1,000 |"
    )


@pytest.mark.parametrize("classes", [MOST_ROWS, MOST_ROWS + 1, 100])
def test_section_lists_the_worst_classes_first(classes: int) -> None:
    text = quality_section(measured(classes))
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    numbers = [int(row.split()[1]) for row in rows]
    assert numbers == [*range(classes)][::-1][:MOST_ROWS]
    more = f"\n\nThe worst first; {classes - MOST_ROWS} more classes are no worse."
    assert text.endswith(more) == (classes > MOST_ROWS)
    assert ("more classes" in text) == (classes > MOST_ROWS)


def test_section_shows_names_as_they_are() -> None:
    """A name is no markup and stays in its cell."""
    test = measured(1)
    test["per_class"][0]["name"] = "a|b *c* <i>d\n\x1b[1m"
    row = quality_section(test).splitlines()[-1]
    assert row == r"| a\|b \*c\* \<i\>d\\n\\x1b\[1m | 100.0% | 1,000 |"


def test_section_says_what_is_not_known() -> None:
    text = quality_section(measured(2, ece=None, nll=None, agreement_with_teacher=None))
    assert "agreement is not known" in text
    assert "Some of its logits are not finite" in text
    assert "calibration" not in text


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_card_says_what_pixels_are(dtype: str) -> None:
    x = np.arange(8 * 27, dtype=dtype).reshape(8, 3, 3, 3)
    part = Split(x=x, y=np.arange(8) % 2)
    data = Dataset.from_splits(train=part, validation=part, class_names=("0", "1"))
    words = input_words(data)["takes"]
    assert ("values are 0 to 255, as in the training data; standard" in words) == (dtype == "uint8")
