"""Samples that are not standardized, and integers that stay so: from arrays to ONNX and back."""

from __future__ import annotations

import importlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.data.ids import Ids
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import DataError, ExportError, ModelError, StudyError
from tasearch.models import Models
from tests.helpers.arrays import npz
from tests.helpers.studies import SMALL, tiny

OWN = """
import torch
from torch import nn

class Bag(nn.Module):
    def __init__(self, width, classes, words=50):
        super().__init__()
        self.words, self.out = nn.Embedding(words, width), nn.Linear(width, classes)
    def forward(self, x):
        assert x.dtype == torch.KIND, x.dtype
        return self.out(self.words(x).mean(1))

def build(width, *, in_shape, num_classes):
    return Bag(width, num_classes)

def small(width, *, in_shape, num_classes):
    return Bag(width, num_classes, 49)

def teacher(*, in_shape, num_classes):
    torch.manual_seed(0)
    return Bag(20, num_classes)
"""


def texts(count: int = 120, dtype: Any = np.int64) -> dict[str, Any]:
    """Texts of six words of 2 to 49, and which kind of words they have more of."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = rng.integers(2, 50, (count, 6))
    x[:, :3] = 5 + y[:, None]
    x[0, -1], x[1, -1] = 2, 49
    return {"x_train": x.astype(dtype), "y_train": y}


def study_of(folder: Path, dtype: Any = np.int64, **sections: Any) -> Study:
    npz(folder, **texts(dtype=dtype))
    kind = "int64" if dtype == np.int64 else "int32"
    (folder / "bag.py").write_text(OWN.replace("KIND", kind))
    content = SMALL | {"model": {"family": "bag:build"}, "search": {"trials": 3}}
    content["data"] = {"source": "npz", "path": "d.npz", "standardize": False}
    content["latency"] = {"backend": "onnx"}
    return tiny(**{**content, **sections}).model_copy(update={"root": str(folder)})


@pytest.mark.parametrize("dtype", [np.int64, np.uint16])
def test_integers_stay_so_through_search_export_and_onnx(tmp_path: Path, dtype: Any) -> None:
    study = study_of(tmp_path, dtype)
    kind = "int64" if dtype == np.int64 else "int32"
    data = load_data(study)
    assert data.ids == Ids(low=2, high=49, dtype=kind)
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    out = tmp_path / "winner"
    run.export(out)
    session = onnxruntime.InferenceSession(out / "student.onnx")
    (given,) = session.get_inputs()
    assert given.type == f"tensor({kind})"
    samples = data.validation.x[:9]
    (logits,) = session.run(None, {"x": samples})
    model = tasearch.load(out, trust=True)
    assert np.allclose(model(torch.from_numpy(samples)).detach(), logits, atol=1e-5)
    assert run.best().model(torch.from_numpy(samples)).argmax(1).tolist() == [
        *logits.argmax(1).tolist()
    ]
    for x in (samples, samples.tolist(), torch.from_numpy(samples), samples.astype(np.uint16)):
        assert model.predict(x).labels == tuple(map(str, logits.argmax(1)))
    card = (out / "README.md").read_text("utf-8")
    assert f"raw {kind} samples of shape (n, 6)" in card
    assert "the training data hold 2 to 49" in card
    with pytest.raises(ExportError, match=r"x: should be integers, as in the training, found tor"):
        model.predict(samples.astype(np.float32))
    with pytest.raises(ExportError, match=r"x\[1, 5\]: should be 2 to 49, .* found 50"):
        model.predict([[2] * 6, [2] * 5 + [50]])


def test_loaded_teacher_takes_integers(tmp_path: Path) -> None:
    """In a confirmation, too, where the teacher's weights become a checkpoint."""
    study = study_of(tmp_path, teacher={"factory": "bag:teacher", "width": 30, "epochs": 0})
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert run.trials[0].state == "complete"


def test_search_from_python_keeps_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = texts()
    study_of(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = tasearch.search(
        arrays["x_train"].tolist(),
        arrays["y_train"],
        build=importlib.import_module("bag").build,
        widths=[8, 4],
        epochs=1,
        trials=1,
        runs_dir=tmp_path / "runs",
        study={"data": {"standardize": False}, "latency": {"backend": "torch"}},
    )
    assert run.best() is not None
    with np.load(run.path / "inputs/data.npz") as kept:
        assert kept["x_train"].dtype == np.int64


def test_embedding_that_is_too_small_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    study = study_of(tmp_path, model={"family": "bag:small"})
    words = r"width 16 failed on a batch .* index out of range .*: an embedding of them needs"
    with pytest.raises(ModelError, match=words):
        tasearch.run(study, runs_dir=tmp_path / "runs")


def test_family_of_tasearch_is_refused_with_integers(tmp_path: Path) -> None:
    study = study_of(tmp_path, model={"family": "mlp"})
    words = r"model.family: 'mlp' computes with its samples, which are integers .* embedding"
    with pytest.raises(ModelError, match=words):
        tasearch.run(study, runs_dir=tmp_path / "runs")


def test_samples_that_are_not_standardized_reach_models_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, (60, 4)).astype(np.float32)
    study = npz(tmp_path, x_train=x, y_train=np.arange(60) % 2)
    off = study.model_copy(update={"data": study.data.model_copy(update={"standardize": False})})
    plain, data = load_data(study), load_data(off)
    assert data.ids is None
    assert (data.mean == 0).all() and (data.std == 1).all()
    assert data.mean.shape == plain.mean.shape
    assert data.fingerprint != plain.fingerprint  # other samples for models, and so other hops


def test_teacher_is_told_to_take_samples_as_they_are(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    words = Models.for_study(study, load_data(study)).describe_teacher()
    assert words.endswith("trained here, 1 epoch, samples as they are")
    wrong = {"data": {"standardize": False}, "teacher": {"factory": "a:b", "epochs": 0}}
    wrong["teacher"]["inputs"] = "standardized"
    with pytest.raises(StudyError, match=r'teacher\.inputs: should be "raw" with data.standardize'):
        parse_study(wrong)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.ones((6, 3), np.int8), np.int32),
        (np.ones((6, 3), np.uint8), np.int32),
        (np.ones((6, 3), np.uint32), np.int64),
        (np.ones((6, 2, 3), np.int64), np.float32),  # grey images
        (np.ones((6, 2, 3), np.uint8), np.uint8),
        (np.ones((6, 3), np.bool_), np.float32),
    ],
)
def test_integers_of_one_axis_a_sample_stay_integers(tmp_path: Path, x: Any, dtype: Any) -> None:
    x = np.concatenate([x] * 6)
    study = npz(tmp_path, x_train=x, y_train=np.arange(36) % 2)
    off = study.model_copy(update={"data": study.data.model_copy(update={"standardize": False})})
    assert load_data(off).train.x.dtype == dtype


def test_integer_beyond_int64_is_refused(tmp_path: Path) -> None:
    x = np.ones((9, 3), np.uint64)
    x[2, 1] = 2**63
    study = npz(tmp_path, x_train=x, y_train=np.arange(9) % 2)
    off = study.model_copy(update={"data": study.data.model_copy(update={"standardize": False})})
    with pytest.raises(DataError, match=r"x_train\[2, 1\]: should be below 2\*\*63, found 9223"):
        load_data(off)


@pytest.mark.parametrize("array", ["x_test", "x_unlabelled"])
def test_ids_of_all_parts_are_those_of_models(tmp_path: Path, array: str) -> None:
    """So that an embedding is told of before anything is trained, and not after the search."""
    study = study_of(tmp_path)
    arrays: dict[str, Any] = texts()
    more = arrays["x_train"][:30].copy()
    more[4, 2] = 57
    arrays[array] = more + (array == "x_unlabelled")
    if array == "x_test":
        arrays["y_test"] = arrays["y_train"][:30]
    npz(tmp_path, **arrays)
    data = load_data(study)
    high = 57 + (array == "x_unlabelled")
    assert data.ids == Ids(low=2, high=high, dtype="int64")
    with closing(SharedDataset(data)) as shared:
        assert read_shared(shared.path).ids == data.ids
    with pytest.raises(ModelError, match=r"failed on a batch .* index out of range"):
        tasearch.run(study, runs_dir=tmp_path / "runs")


def test_pad_is_an_id_of_arrays(tmp_path: Path) -> None:
    for data, words in (
        ({"source": "npz", "path": "d.npz", "pad": 3}, "data.pad: goes with standardize = false"),
        ({"source": "text", "path": "d.csv", "pad": 3}, "data.pad: goes without texts, whose "),
    ):
        with pytest.raises(StudyError) as error:
            parse_study({"data": data})
        assert words in str(error.value)
    study = study_of(tmp_path)
    assert "data.pad" not in study.identity()  # runs of before there was the key go on
    given = {"source": "npz", "path": "d.npz", "standardize": False, "pad": 3}
    assert study_of(tmp_path, data=given).identity()["data.pad"] == 3
