"""The mean of a student's quality over replicates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasearch.runs.quality import Quality, mean_quality

ONE = Quality(
    samples=4,
    accuracy=0.5,
    ece=0.1,
    nll=0.2,
    agreement=None,
    class_samples=(1, 3, 0),
    class_accuracies=(1.0, 0.0, None),
)
OTHER = replace(ONE, accuracy=1.0, ece=0.3, nll=None, agreement=0.5, class_accuracies=(1, 1, None))


def test_mean_leaves_missing_values_out() -> None:
    found = mean_quality([ONE, None, OTHER])
    assert found == replace(
        ONE,
        accuracy=0.75,
        ece=pytest.approx(0.2),
        agreement=0.5,
        class_accuracies=(1.0, 0.5, None),
    )


def test_mean_of_one_replicate_is_that_replicate() -> None:
    assert mean_quality([None, ONE]) == ONE
    assert mean_quality([None]) is None
    assert mean_quality([]) is None


def test_classes_are_listed_from_the_worst() -> None:
    assert ONE.by_accuracy == [(1, 0.0), (0, 1.0)]


def test_json_has_every_class() -> None:
    assert ONE.as_json(["a", "b", "c"]) == {
        "accuracy": 0.5,
        "samples": 4,
        "ece": 0.1,
        "nll": 0.2,
        "agreement_with_teacher": None,
        "per_class": [
            {"class": 0, "name": "a", "samples": 1, "accuracy": 1.0, "recall": 1.0},
            {"class": 1, "name": "b", "samples": 3, "accuracy": 0.0, "recall": 0.0},
            {"class": 2, "name": "c", "samples": 0, "accuracy": None, "recall": None},
        ],
    }
