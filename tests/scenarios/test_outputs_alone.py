"""A teacher of which there are only outputs: a forest, an ensemble, an API."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, render
from tasearch.report.info import report_info
from tasearch.report.student_text import size_text
from tasearch.runs.events import HopEnded
from tests.helpers.commands import command
from tests.helpers.studies import tiny

FOREST = Path(__file__).parents[2] / "studies" / "forest"

TABLE = """
from pathlib import Path
import numpy as np
import torch
from torch import nn

class Table(nn.Module):
    def __init__(self):
        super().__init__()
        arrays = np.load(Path(__file__).with_name("digits.npz"))
        self.known = {}
        for part in ("train", "val", "test"):
            logits = np.log(np.maximum(arrays[f"teacher_{part}"], 1e-6)).astype(np.float32)
            keys = [row.astype(np.float32).tobytes() for row in arrays[f"x_{part}"]]
            self.known |= dict(zip(keys, torch.tensor(logits)))
        self.other = torch.zeros(10)
    def forward(self, x):
        rows = x.flatten(1).numpy()
        return torch.stack([self.known.get(row.tobytes(), self.other) for row in rows])

def make(*, in_shape, num_classes):
    return Table()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make.py", str(folder / "digits.npz")])
        runpy.run_path(str(FOREST / "make.py"), run_name="__main__")
    (folder / "table.py").write_text(TABLE)
    return folder


def study_of(root: Path, **teacher: Any) -> Study:
    study = tiny(
        data={"source": "npz", "path": "digits.npz"},
        teacher={"width": 64, **teacher},
        assistants={"max": 1, "widths": [12], "epochs": 2},
        student={"widths": [4], "epochs": 2},
        search={"trials": 3, "rungs": 2, "replicates": 2},
    )
    return study.model_copy(update={"root": str(root)})


def probabilities(root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.load(root / "digits.npz")
    return arrays[f"teacher_{part}"], arrays[f"y_{part}"]


@pytest.mark.slow
def test_student_learns_the_same_as_from_a_model_with_these_outputs(root: Path) -> None:
    said: list[Any] = []
    alone = tasearch.run(
        study_of(root, outputs="probabilities"), runs_dir=root / "alone", on_event=said.append
    )
    table = tasearch.run(
        study_of(root, factory="table:make", epochs=0),
        runs_dir=root / "table",
        latency_from=alone.path,
    )
    (teacher,) = (e for e in said if isinstance(e, HopEnded) and e.teacher)
    given, labels = probabilities(root, "val")
    assert teacher.accuracy == float((given.argmax(axis=1) == labels).mean())
    for one, other in zip(alone.trials, table.trials, strict=True):
        assert one.state == other.state == "complete"
        assert (one.chain, one.curve, one.accuracies) == (
            other.chain,
            other.curve,
            other.accuracies,
        )


@pytest.mark.slow
def test_workers_and_resuming_change_nothing(root: Path) -> None:
    study = study_of(root, outputs="probabilities")
    one = tasearch.run(study, runs_dir=root / "one", trials=2)
    tasearch.run(study, runs_dir=root / "one")
    two = tasearch.run(study, runs_dir=root / "two", workers=2, latency_from=one.path)
    hops = [
        {file.name: file.read_bytes() for file in (run.path / "hops").iterdir()}
        for run in (one, two)
    ]
    assert hops[0] == hops[1] and len(hops[0]) == 4


@pytest.mark.slow
def test_export_and_page_know_what_is_known(root: Path) -> None:
    run = tasearch.run(study_of(root, outputs="probabilities"), runs_dir=root / "export")
    tasearch.export(run, root / "out")
    metrics = json.loads((root / "out" / "metrics.json").read_text())
    assert 0 < metrics["test"]["agreement_with_teacher"] <= 1
    assert 'outputs = "probabilities"' in (root / "out" / "chain.toml").read_text()
    best = run.best()
    assert size_text(run, best) == f"{best.params:,} params; the size of the teacher is unknown"
    info = report_info(run)
    assert info.view.teacher == "teacher" and 64 not in {size.width for size in info.measured}
    assert info.answer is not None and "teacher" not in info.answer.size
    arrays = dict(np.load(root / "digits.npz"))
    del arrays["teacher_test"]
    other = root / "other"
    other.mkdir()
    np.savez(other / "digits.npz", **arrays)
    study = study_of(other, outputs="probabilities")
    again = tasearch.run(study, runs_dir=root / "less", latency_from=run.path)
    tasearch.export(again, other / "out")
    metrics = json.loads((other / "out" / "metrics.json").read_text())
    assert metrics["test"]["agreement_with_teacher"] is None
    for made, known in ((run, True), (again, False)):
        for compared in tasearch.confirm(made, front=True).comparisons:
            for arm in (compared.first, compared.second):
                assert arm.quality is not None and (arm.quality.agreement is not None) == known


@pytest.mark.slow
def test_example_study_runs(root: Path) -> None:
    (root / "forest.toml").write_text((FOREST / "forest.toml").read_text())
    run = tasearch.run(load_study(root / "forest.toml"), runs_dir=root / "example", trials=6)
    assert {trial.state for trial in run.trials} == {"complete"}
    given, labels = probabilities(root, "val")
    assert (given.argmax(axis=1) == labels).mean() > 0.95
    distilled = [trial.label for trial in run.trials if len(trial.hops) > 1]
    assert distilled and all(label.startswith("forest → ") for label in distilled)


@pytest.mark.slow
def test_check_of_a_teacher_without_a_size(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rules that go by the teacher's size say nothing."""
    file = root / "checked.toml"
    file.write_text(render(study_of(root, outputs="probabilities")))
    code, out, err = command(
        capsys, "check", file, "--runs-dir", tmp_path / "runs", "--workers", "1"
    )
    assert code == 0, err
    assert "\nchains " in out and "\nrules " not in out
