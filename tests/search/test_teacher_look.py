"""The first look at a loaded teacher: its accuracy, and a notice where it is poor."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, guesses, load_data
from tasearch.data.guesses import linear_guess, majority_guess
from tasearch.models import Models
from tasearch.search.prepare import prepare
from tasearch.search.teacher_look import CAUSES, CAUSES_OF_TEXTS, UNTRAINED, look_at_teacher
from tests.helpers.studies import tiny

OWN = """
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

def fitted(order, scale=1.0):
    x, y = load_digits(return_X_y=True)
    fit = LogisticRegression(max_iter=300).fit(x, y)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor(fit.coef_[order]) * scale)
        net[1].bias.copy_(torch.tensor(fit.intercept_[order]))
    return net

def good(*, in_shape, num_classes):
    return fitted([*range(10)])

def reordered(*, in_shape, num_classes):
    return fitted([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])

def constant(*, in_shape, num_classes):
    net = fitted([*range(10)], 0.0)
    with torch.no_grad():
        net[1].bias.copy_(2 * torch.eye(10)[3])
    return net

def centers(*, in_shape, num_classes):
    x, y = load_digits(return_X_y=True)
    means = torch.tensor(np.stack([x[y == i].mean(0) for i in range(10)]))
    net = fitted([*range(10)])
    with torch.no_grad():
        net[1].weight.copy_(means)
        net[1].bias.copy_(-means.square().sum(1) / 2)
    return net

def fair(*, in_shape, num_classes):
    net = fitted([*range(10)])
    with torch.no_grad():
        net[1].weight[:5] = 0
    return net
"""

TEXTS_GUESS = """
import torch
from torch import nn

class Guess(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.0, 2.0]))

    def forward(self, ids):
        return self.bias.expand(len(ids), 2)

def make(*, in_shape, num_classes):
    return Guess()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "look.py").write_text(OWN)
    return tmp_path


def study_of(root: Path, name: str, **teacher: Any) -> Study:
    teacher = {"width": 64, "factory": f"look:{name}", "epochs": 0, **teacher}
    study = tiny(teacher=teacher, assistants={"max": 0}, student={"widths": [4], "epochs": 1})
    return study.model_copy(update={"root": str(root)})


def look(root: Path, name: str, **teacher: Any) -> tuple[str, tuple[str, ...]]:
    study = study_of(root, name, **teacher)
    data = load_data(study)
    found = look_at_teacher(Models.for_study(study, data), data, torch.device("cpu"))
    return found.words, found.notices


def test_good_teacher_is_told_with_its_accuracy_alone(root: Path) -> None:
    words, notices = look(root, "good")
    assert not notices
    found = float(words.removeprefix("; right in ").partition("%")[0])
    assert found > 97 and words.endswith("% of the validation part")


def test_wrong_inputs_are_told_with_likely_causes(root: Path) -> None:
    words, (notice,) = look(root, "centers", inputs="standardized")
    assert notice.startswith(f"the teacher is {words.removeprefix('; ')}, ")
    assert notice.endswith(f"likely causes: {UNTRAINED}{CAUSES}")


def test_another_order_of_the_classes_is_recognized(root: Path) -> None:
    _, (notice,) = look(root, "reordered")
    right, _ = look(root, "good")
    accuracy = right.removeprefix("; right in ").partition("%")[0]
    assert f"with its classes in another order it would be right in {accuracy}%: put its" in notice


def test_teacher_of_one_class_is_hardly_better_than_chance(root: Path) -> None:
    _, (notice,) = look(root, "constant")
    assert ", hardly better than chance; " in notice


def test_teacher_below_a_linear_guess_is_poor(root: Path) -> None:
    _, (notice,) = look(root, "fair")
    data = load_data(study_of(root, "fair"))
    assert f", less than the nearest mean of a class, {linear_guess(data):.1%}; " in notice


def test_trained_teacher_is_not_looked_at(root: Path) -> None:
    assert look(root, "good", epochs=1) == ("", ())


def test_guesses_are_those_of_scikit_learn() -> None:
    data = load_data(tiny())
    flat = [
        part.x.reshape(len(part), -1).astype(np.float64) for part in (data.train, data.validation)
    ]
    scale = flat[0].std(axis=0) + 1e-8
    nearest = NearestCentroid().fit(flat[0] / scale, data.train.y)
    expected = float((nearest.predict(flat[1] / scale) == data.validation.y).mean())
    assert linear_guess(data) == pytest.approx(expected, abs=2 / len(data.validation))
    few = replace(
        data.train, x=data.train.x[:100], y=np.where(np.arange(100) < 60, 7, data.train.y[:100])
    )
    skewed: Dataset = replace(data, train=few)
    assert majority_guess(skewed) == float((data.validation.y == 7).mean())


@pytest.mark.slow
def test_accuracy_is_told_before_anything_is_measured(root: Path) -> None:
    study = study_of(root, "centers", inputs="standardized")
    told: list[str] = []
    options = RunOptions(runs_dir=root / "runs")
    with closing(prepare(study, options, say=told.append, step=told.append)) as prepared:
        (line,) = (line for line in told if line.startswith("teacher centers, 650 parameters: "))
        assert told.index(line) < told.index("autotuning")
        assert prepared.teacher == line and " of the validation part" in line
        assert [notice for notice in prepared.notices if notice.endswith(CAUSES)]


def test_weak_member_of_a_teacher_is_told_of(root: Path) -> None:
    """One without a checkpoint may have the random weights of its factory."""
    members = [{"factory": "look:good"}, {"factory": "look:constant"}]
    study = tiny(teacher={"width": 64, "members": members}, assistants={"max": 0})
    study = study.model_copy(update={"root": str(root)})
    data = load_data(study)
    found = look_at_teacher(Models.for_study(study, data), data, torch.device("cpu"))
    *_, notice = found.notices
    assert notice.startswith("constant (2) of the teacher is right in ")
    assert notice.endswith(f"likely causes: {UNTRAINED}{CAUSES}")


def test_guesses_are_made_once_for_all_members(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [{"factory": f"look:{name}"} for name in ("fair", "reordered", "fair")]
    study = tiny(teacher={"width": 64, "members": members}, assistants={"max": 0})
    study = study.model_copy(update={"root": str(root)})
    data, calls = load_data(study), list[Dataset]()

    def counted(asked: Dataset) -> float:
        calls.append(asked)
        return linear_guess(asked)

    monkeypatch.setattr(guesses, "linear_guess", counted)
    found = look_at_teacher(Models.for_study(study, data), data, torch.device("cpu"))
    assert sum(" of the teacher is right in " in notice for notice in found.notices) == 3
    assert len(calls) == 1


def test_poor_teacher_of_texts_is_told_with_causes_of_texts(root: Path) -> None:
    lines = [f"{'good' if i % 2 else 'bad'} film {i}" for i in range(40)]
    (root / "t.csv").write_text("text,label\n" + "".join(f"{t},{t[:3]}\n" for t in lines), "utf-8")
    (root / "guess.py").write_text(TEXTS_GUESS, "utf-8")
    content = {
        "data": {"source": "text", "path": "t.csv", "length": 16, "vocabulary": 300},
        "model": {"family": "transformer"},
        "teacher": {"factory": "guess:make", "epochs": 0, "width": 1_000},
    }
    study = parse_study(content).model_copy(update={"root": str(root)})
    data = load_data(study)
    (notice,) = look_at_teacher(Models.for_study(study, data), data, torch.device("cpu")).notices
    assert notice.endswith(f"likely causes: {UNTRAINED}{CAUSES_OF_TEXTS}")
