"""Texts that are given from Python."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from tasearch.data.given import Given
from tasearch.data.given_texts import are_texts, text_columns, text_files
from tasearch.errors import DataError


def given(x: Any, y: Any, **parts: Any) -> Given:
    return Given(x=x, y=y, **{"validation": None, "test": None, **parts})


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (["a", "b"], True),
        (np.array(["a", "b"]), True),
        ([("a", "b")], True),
        ([["a", "b"]], True),
        (pd.Series(["a", "b"]), True),
        (np.zeros((2, 2)), False),
        (torch.zeros(2, 2), False),
        (np.array(3.0), False),
        ([[1.0]], False),
        ([], False),
        (None, False),
    ],
)
def test_texts_are_told_from_numbers(x: Any, expected: bool) -> None:
    assert are_texts(x) is expected


def test_texts_become_files_of_parts() -> None:
    files = text_files(given(["a", "b"], np.array([1, 0]), test=(["c"], [1])))
    assert [*files] == ["texts/train.parquet", "texts/test.parquet"]
    table = pq.read_table(io.BytesIO(files["texts/train.parquet"]))
    assert table.to_pydict() == {"text": ["a", "b"], "label": [1, 0]}


def test_pairs_become_two_columns() -> None:
    pairs = [("a", "b"), ["c", "d"]]
    assert text_columns(pairs) == ("first", "second")
    files = text_files(given(pairs, ["x", "y"]))
    table = pq.read_table(io.BytesIO(files["texts/train.parquet"]))
    assert table.to_pydict() == {"first": ["a", "c"], "second": ["b", "d"], "label": ["x", "y"]}


@pytest.mark.parametrize(
    ("x", "y", "parts", "words"),
    [
        (["a", 3], [0, 1], {}, r"x\[1\]: should be a string, found 3"),
        ([("a", "b"), "c"], [0, 1], {}, r"x\[1\]: should be a pair of strings, found 'c'"),
        (["a", "b"], None, {}, "y: labels are missing; bring one for each text"),
        (["a", "b"], [0], {}, "x and y: should have the same length, found 2 and 1"),
        (["a"], [0], {"unlabelled": ["b"]}, "unlabelled: goes with samples of numbers"),
        (["a"], [0], {"test": ([1], [0])}, r"test\[0\]\[0\]: should be a string, found 1"),
    ],
)
def test_wrong_texts_are_refused(x: Any, y: Any, parts: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        text_files(given(x, y, **parts))
