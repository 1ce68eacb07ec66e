"""A table of a user's own, from its file to an export that takes rows as they are."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import tasearch
from tasearch.data import load_data, load_test
from tasearch.errors import DataError, ExportError
from tests.helpers.example_studies import example_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder with its table."""
    return example_study("own-table", "make_table.py", tmp_path_factory)


@pytest.fixture(scope="module")
def run(folder: Path) -> tasearch.Run:
    return tasearch.run(folder / "study.toml", runs_dir=folder / "runs", trials=8)


@pytest.fixture(scope="module")
def winner(run: tasearch.Run, folder: Path) -> Path:
    tasearch.export(run, folder / "winner")
    return folder / "winner"


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "customers.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_students_learn_more_than_the_larger_class(run: tasearch.Run, folder: Path) -> None:
    test = load_test(run.manifest.study)
    assert run.best().accuracy > max(test.y.mean(), 1 - test.y.mean()) + 0.05


def test_onnx_takes_rows_as_they_are(winner: Path, folder: Path) -> None:
    """ONNX Runtime alone, on all rows, gives what the student in torch gives."""
    rows = rows_of(folder)
    session = onnxruntime.InferenceSession(winner / "student.onnx")
    kinds = {each.name: each.type for each in session.get_inputs()}
    assert kinds == {
        "age": "tensor(float)",
        "months": "tensor(float)",
        "plan": "tensor(string)",
        "town": "tensor(string)",
        "calls": "tensor(float)",
        "price": "tensor(float)",
    }
    feed = {}
    for name, kind in kinds.items():
        texts = [row[name] for row in rows]
        if kind == "tensor(string)":
            feed[name] = np.array(texts, dtype=object)[:, None]
        else:
            numbers = [float(text) if text else np.nan for text in texts]
            feed[name] = np.array(numbers, dtype=np.float32)[:, None]
    (logits,) = session.run(None, feed)
    model = tasearch.load(winner)
    found = model.predict(rows_with_gaps(rows))
    expected = torch.tensor(logits).softmax(dim=1)
    torch.testing.assert_close(found.probabilities, expected, rtol=0, atol=1e-4)
    right = [a == row["left"] for a, row in zip(found.labels, rows, strict=True)]
    assert np.mean(right) > 0.75


def rows_with_gaps(rows: list[dict[str, str]]) -> list[dict[str, str | None]]:
    return [{name: text or None for name, text in row.items()} for row in rows]


def test_model_takes_features_as_well(winner: Path, run: tasearch.Run, folder: Path) -> None:
    data = load_data(run.manifest.study)
    assert data.table is not None
    model = tasearch.load(winner)
    by_features = model.predict(data.validation.x).probabilities
    columns = data.table.validation.to_pydict()
    torch.testing.assert_close(model.predict(columns).probabilities, by_features)


def test_wrong_rows_are_refused_in_words(winner: Path) -> None:
    model = tasearch.load(winner)
    row = {"age": 42, "months": 7, "plan": "plus", "town": None, "calls": 3, "price": 17.9}
    assert len(model.predict(row).labels) == len(model.predict([row]).labels) == 1
    for wrong in ([], [["a", 1]], "text", None, 3):
        with pytest.raises(ExportError, match="x: should be rows of the table: a DataFrame"):
            model.predict(wrong)
    names = ", ".join(map(repr, model.features.names[:20]))
    few = r"samples of shape \(n, \d+\), found shape \(2, 6\); bring rows by the names of their"
    with pytest.raises(ExportError, match=few) as error:
        model.predict([[42, 7, 0, 0, 3, 17.9]] * 2)
    assert f"these features in their order (features.names): {names}" in str(error.value)
    with pytest.raises(ExportError, match=r"x\[1\]: should be finite numbers"):
        model.predict([row, {**row, "price": math.inf}])
    with pytest.raises(DataError, match="row 1 lacks column 'age'"):
        model.predict([row, {name: row[name] for name in row if name != "age"}])


def test_code_of_the_card_runs(winner: Path) -> None:
    text = (winner / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    found = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=winner, check=True, capture_output=True, text=True
        ).stdout
        for code in blocks
    ]
    label = re.search(r"'(yes|no)'", found[0])
    assert label is not None
    assert f"('{label[1]}',)" in found[1]


def test_card_has_no_row_of_the_data(winner: Path, folder: Path) -> None:
    """Rows may be about people: the example is made up of medians and first values."""
    assert tasearch.load(winner).features is not None
    text = (winner / "README.md").read_text()
    assert "made up" in text
    assert '"plan": "basic"' in text and '"town": "Aachen"' in text
