"""Names of classes, from the labels of the data to everything that is made of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import tasearch
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.errors import ExportError
from tests.helpers.commands import command
from tests.helpers.studies import tiny

pytestmark = pytest.mark.slow  # a run, its confirmation and an export to ONNX

NAMES = ("<i>cat</i>", "a|b", "d\u00f6g")  # in sorted order


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (rng.normal(size=(300, 12)) + 2 * np.eye(3, 12)[y]).astype(np.float32)
    return {"x_train": x, "y_train": np.array(NAMES)[y]}


def study_in(folder: Path) -> Study:
    np.savez(folder / "d.npz", **arrays())
    study = tiny(
        name="named",
        data={"source": "npz", "path": "d.npz"},
        assistants={"max": 1, "epochs": 1},
        student={"widths": [4], "epochs": 1},
        search={"trials": 4, "pruner": "none"},
    )
    return study.model_copy(update={"root": str(folder)})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("named")


@pytest.fixture(scope="module")
def run(home: Path) -> tasearch.Run:
    run = tasearch.run(study_in(home), runs_dir=home / "runs")
    tasearch.confirm(run, front=True)
    return tasearch.Run.open(run.path)


@pytest.fixture(scope="module")
def exported(run: tasearch.Run, home: Path) -> Path:
    tasearch.export(run, home / "out")
    return home / "out"


def test_run_keeps_names(run: tasearch.Run) -> None:
    assert run.manifest.class_names == NAMES
    assert json.loads((run.path / "run.json").read_text())["class_names"] == [*NAMES]


def test_run_with_numbers_has_no_names(finished: tasearch.Run) -> None:
    assert "class_names" not in json.loads((finished.path / "run.json").read_text())
    assert finished.manifest.class_names == tuple("0123456789")


def test_run_refuses_other_names(run: tasearch.Run, home: Path, tmp_path: Path) -> None:
    """What a run has called its classes, its exports call them, too."""
    found = arrays()
    renamed = {**found, "y_train": np.char.add(found["y_train"], "s")}
    np.savez(tmp_path / "d.npz", **renamed)
    study = study_in(home).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(tasearch.errors.RunError, match="its data have changed; give"):
        tasearch.run(study, runs_dir=run.path.parent)


def test_commands_and_page_name_classes(
    run: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed = next(c for c in run.front.candidates if run.confirmed(c))
    _, out, _ = command(capsys, "best", run.path, "--trial", confirmed.trial)
    assert any(f"worst class {name}: " in out for name in NAMES)
    found = json.loads(command(capsys, "best", run.path, "--json")[1])
    assert [c["name"] for c in found["confirmed"]["test"]["per_class"]] == [*NAMES]
    command(capsys, "report", run.path, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for name in ("&lt;i&gt;cat&lt;/i&gt;", "a|b", "d\u00f6g"):
        assert f">class {name}</th>" in page
    assert "<i>cat" not in page


def test_export_keeps_names(exported: Path) -> None:
    metrics = json.loads((exported / "metrics.json").read_text())
    assert metrics["class_names"] == [*NAMES]
    assert [c["name"] for c in metrics["test"]["per_class"]] == [*NAMES]
    card = (exported / "README.md").read_text()
    listed = r"\<i\>cat\</i\>, a\|b, d\u00f6g".replace(r"\u00f6", "\u00f6")
    assert f"The classes in the order of the logits: {listed}." in card
    session = onnxruntime.InferenceSession(exported / "student.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == [*NAMES]
    with safe_open(exported / "student.safetensors", framework="pt") as stored:
        assert json.loads(stored.metadata()["tasearch"])["class_names"] == [*NAMES]


def test_loaded_student_predicts_names(exported: Path, home: Path) -> None:
    model = tasearch.load(exported)
    assert model.class_names == NAMES
    x = load_data(study_in(home)).validation.x
    with torch.inference_mode():
        logits = model(torch.from_numpy(x))
    found = model.predict(x)
    assert found.labels == tuple(NAMES[i] for i in logits.argmax(1))
    assert torch.equal(found.probabilities, logits.softmax(1))
    for same in (torch.from_numpy(x), x.astype(np.float64), x.tolist()):
        assert model.predict(same).labels == found.labels
    assert model.predict(x[:0]).labels == ()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros(12), "should be samples of shape (n, 12), found shape (12,)"),
        (np.float32(1), "should be samples of shape (n, 12), found shape ()"),
        (np.zeros((2, 3, 4)), "should be samples of shape (n, 12), found shape (2, 3, 4)"),
        (["text"], "is no array of numbers: could not convert string to float: 'text'"),
        ([[1], [1, 2]], "is no array of numbers: setting an array element with a sequence."),
    ],
)
def test_loaded_student_refuses_other_samples(exported: Path, x: Any, words: str) -> None:
    with pytest.raises(ExportError) as error:
        tasearch.load(exported).predict(x)
    assert str(error.value).startswith(f"x: {words}")


def test_older_export_has_numbers_as_names(exported: Path, tmp_path: Path) -> None:
    with safe_open(exported / "student.safetensors", framework="pt") as stored:
        meta = json.loads(stored.metadata()["tasearch"])
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    (tmp_path / "chain.toml").write_text((exported / "chain.toml").read_text())
    file = tmp_path / "student.safetensors"
    del meta["class_names"]
    save_file(state, file, metadata={"tasearch": json.dumps(meta)})
    assert tasearch.load(tmp_path).class_names == ("0", "1", "2")
    save_file(state, file, metadata={"tasearch": json.dumps(meta | {"class_names": ["a", 3]})})
    with pytest.raises(ExportError) as error:
        tasearch.load(tmp_path)
    assert str(error.value) == f"{file}: is no exported student: class_names should be 3 strings"
