"""A rare class, 5 % of a table, by balanced accuracy: from its file to verdict and export."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.data import load_data, load_test
from tasearch.runs.events import Event, Notice
from tests.helpers.example_studies import example_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder with its table."""
    return example_study("rare", "make_parts.py", tmp_path_factory)


@pytest.fixture(scope="module")
def run(folder: Path) -> tasearch.Run:
    run = tasearch.run(folder / "study.toml", runs_dir=folder / "runs")
    tasearch.confirm(run)
    return tasearch.Run.open(run.path)


@pytest.fixture(scope="module")
def winner(run: tasearch.Run, folder: Path) -> Path:
    tasearch.export(run, folder / "winner")
    return folder / "winner"


def command(*arguments: str | Path) -> str:
    """What a command prints."""
    found = subprocess.run(
        [sys.executable, "-m", "tasearch", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    return found.stdout


def test_students_find_the_rare_class(run: tasearch.Run) -> None:
    """The front is of balanced accuracies, which guessing has at 50 %, and recalls are kept."""
    best = run.best()
    assert run.metric.name == "balanced-accuracy"
    assert best.accuracy > 0.65
    for trial in run.trials:
        if trial.state == "complete":
            assert trial.accuracy is not None
            assert len(trial.recalls) == 2 and None not in trial.recalls
            assert np.mean([r or 0.0 for r in trial.recalls]) == pytest.approx(
                trial.accuracy, abs=1e-4
            )
            assert 0 < trial.errors[0] < 0.1
    assert run.manifest.reference_box.accuracy == 0.5


def test_verdict_is_of_balanced_accuracy(run: tasearch.Run) -> None:
    found = run.confirmations[-1]
    assert found.finished
    for comparison in found.comparisons:
        for arm in (comparison.first, comparison.second):
            assert arm.quality is not None and arm.quality.score is not None
            recalls = [r or 0.0 for r in arm.quality.class_accuracies]
            assert arm.quality.score == pytest.approx(np.mean(recalls))
            assert arm.test_accuracy == pytest.approx(arm.quality.score)
            assert arm.quality.accuracy != pytest.approx(arm.quality.score)
            assert len(arm.errors) == arm.seeds


def test_every_view_names_the_metric(run: tasearch.Run, folder: Path) -> None:
    best = command("best", run.path)
    assert "balanced accuracy" in best
    assert not re.search(r"(?<!balanced )accuracy", best)
    assert "balanced accuracy" in command("front", run.path)
    assert "teacher" in command("status", run.path)
    numbers = json.loads(command("best", run.path, "--json"))
    assert numbers["metric"] == "balanced-accuracy"
    assert [*numbers["recalls"]] == [*run.trials[numbers["trial"]].recalls]
    page = folder / "page.html"
    command("report", run.path, "--out", page)
    html = page.read_text("utf-8")
    for words in (
        "<dt>metric</dt><dd>balanced accuracy</dd>",
        "Recall of each class",
        "class faulty",
    ):
        assert words in html
    assert "validation samples of class" not in html


def test_export_tells_recalls_of_the_test_part(
    run: tasearch.Run, winner: Path, folder: Path
) -> None:
    """The figures of the card are those of the ONNX file on the test part, by scikit-learn."""
    study = run.manifest.study
    test = load_test(study)
    numbers = json.loads((winner / "metrics.json").read_text())
    data = load_data(study)
    model = tasearch.load(winner)
    found = model.predict(test.x)
    predicted = [data.class_names.index(label) for label in found.labels]
    known = balanced_accuracy_score(test.y, predicted)
    assert numbers["metric"] == "balanced-accuracy"
    assert numbers["test_accuracy"] == numbers["test"]["score"] == pytest.approx(known)
    assert numbers["test"]["accuracy"] == pytest.approx(np.mean(np.equal(predicted, test.y)))
    recalls = recall_score(test.y, predicted, average=None)
    assert [c["recall"] for c in numbers["test"]["per_class"]] == pytest.approx([*recalls])
    assert [c["samples"] for c in numbers["test"]["per_class"]] == [*np.bincount(test.y)]
    low, high = numbers["test_interval"]
    assert low < known < high
    card = (winner / "README.md").read_text()
    assert f"| test balanced accuracy | {known:.1%}" in card
    assert "| class | recall | samples |" in card
    assert f"| faulty | {recalls[data.class_names.index('faulty')]:.1%} |" in card
    assert onnxruntime.InferenceSession(winner / "student.onnx").get_inputs()
    pinned = load_study(winner / "chain.toml")
    assert pinned.objective.metric == "balanced-accuracy"
    assert pinned.training.class_weights == "balanced"


@pytest.fixture(scope="module")
def by_accuracy(folder: Path) -> tuple[tasearch.Run, list[Event]]:
    """The same study as it would be without a thought of the rare class."""
    events: list[Event] = []
    study = load_study(folder / "study.toml")
    plain = Study.model_validate(
        {
            **study.model_dump(),
            "name": "plain",
            "objective": {},
            "training": {},
            "search": {"trials": 2},
            "student": {**study.student.model_dump(), "widths": (2,), "epochs": 3},
        }
    )
    return tasearch.run(plain, runs_dir=folder / "runs", on_event=events.append), events


def test_majority_is_told_of_at_the_start_and_at_the_end(
    by_accuracy: tuple[tasearch.Run, list[Event]], folder: Path
) -> None:
    run, events = by_accuracy
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any(
        "95.0% of the validation part are of class 'fine', so always guessing it is right in 95.0%"
        in notice
        for notice in notices
    )
    best = run.best()
    assert best.accuracy == pytest.approx(0.95, abs=0.01)
    assert 0 in run.trials[best.trial].recalls
    words = "finds no validation sample of class 'faulty' (recall 0)"
    assert words in command("best", run.path)
    page = folder / "plain.html"
    command("report", run.path, "--out", page)
    assert words.replace("'", "&#x27;") in page.read_text("utf-8")
    assert not any(math.isnan(r) for r in run.trials[best.trial].recalls if r is not None)
