"""The estimator of scikit-learn: parameters, fit, predictions, pipelines, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tasearch
from tasearch.errors import TasearchError

rng = np.random.default_rng(0)
NAMES = np.array(["ash", "beech", "oak"])
Y = NAMES[np.arange(120) % 3]
X = rng.normal(size=(120, 6)) + 3 * np.eye(3, 6)[np.arange(120) % 3]
SMALL: dict[str, Any] = {
    "build": "mlp",
    "widths": [12, 6, 4],
    "epochs": 30,
    "trials": 2,
    "study": {"training": {"precision": "fp32", "batch_size": 16}, "latency": {"backend": "torch"}},
}


def test_parameters_are_those_that_were_given() -> None:
    made = tasearch.DistilledClassifier(**SMALL, random_state=3)
    assert is_classifier(made)
    same = clone(made)
    assert same.get_params() == made.get_params()
    assert same.set_params(epochs=7).epochs == 7
    with pytest.raises(NotFittedError):
        made.predict(X)


@pytest.mark.slow
def test_student_predicts_labels_and_probabilities(tmp_path: Path) -> None:
    student = tasearch.DistilledClassifier(**SMALL, runs_dir=tmp_path).fit(X, Y)
    assert [*student.classes_] == [*NAMES]
    assert student.score(X, Y) > 0.9
    shares = student.predict_proba(X)
    assert shares.shape == (120, 3)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert student.student_.accuracy == student.run_.best().accuracy
    assert student.front_ == tuple(student.run_.front.members)
    with pytest.raises(ValueError, match="features"):
        student.predict(X[:, :4])


@pytest.mark.slow
def test_same_fit_goes_on_and_other_data_are_another_run(tmp_path: Path) -> None:
    student = tasearch.DistilledClassifier(**SMALL, runs_dir=tmp_path)
    first = student.fit(X, Y).predict_proba(X)
    runs = [*tmp_path.iterdir()]
    assert np.array_equal(clone(student).fit(X, Y).predict_proba(X), first)
    assert [*tmp_path.iterdir()] == runs
    clone(student).fit(X[::-1], Y[::-1])
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.slow
def test_cross_validation_in_a_pipeline_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    made = make_pipeline(StandardScaler(), tasearch.DistilledClassifier(**SMALL))
    scores = cross_val_score(made, X, Y, cv=2)
    assert scores.mean() > 0.8
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("tasearch-", "runs"))]


@pytest.mark.slow
def test_images_with_channels_last(tmp_path: Path) -> None:
    images = np.zeros((60, 8, 8, 3))
    labels = np.arange(60) % 3
    images[np.arange(60), :, :, labels] = 1 + rng.random((60, 1, 1))
    small = SMALL | {"build": "cnn"}
    student = tasearch.DistilledClassifier(**small).fit(images, labels)
    assert student.score(images, labels) > 0.9
    assert not hasattr(student, "run_")


@pytest.mark.slow
def test_wrong_arguments_are_told_as_by_search() -> None:
    with pytest.raises(TasearchError, match="widths"):
        tasearch.DistilledClassifier(**(SMALL | {"widths": [4, 8]})).fit(X, Y)
    with pytest.raises(ValueError, match="Unknown label type"):
        tasearch.DistilledClassifier(**SMALL).fit(X, X[:, 0])
