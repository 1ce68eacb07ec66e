"""An exported student takes images as the arrays of its training had them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import tasearch
from tasearch.data import load_data
from tasearch.errors import DataError, ExportError
from tasearch.exports.load import load
from tests.helpers.arrays import npz
from tests.helpers.studies import SMALL, tiny


def images(channels: int = 3) -> dict[str, Any]:
    """Images with their channels last, whose class is their brightest column."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.integers(0, 100, (90, 6, 5, channels), dtype=np.uint8)
    x[np.arange(90), :, y] += 150
    return {"x_train": x, "y_train": y}


def exported(folder: Path, **data: Any) -> tuple[tasearch.Run, Any, Any]:
    """The run of a study on these images, its loaded export, and its ONNX session."""
    folder.mkdir(exist_ok=True)
    npz(folder, **images())
    study = tiny(
        **SMALL | {"data": {"source": "npz", "path": "d.npz", **data}, "search": {"trials": 3}}
    )
    run = tasearch.run(study.model_copy(update={"root": str(folder)}), runs_dir=folder / "runs")
    run.export(folder / "winner")
    session = onnxruntime.InferenceSession(folder / "winner/student.onnx")
    return run, load(folder / "winner"), session


def test_export_takes_channels_last_as_the_arrays_had_them(tmp_path: Path) -> None:
    run, model, session = exported(tmp_path)
    x = images()["x_train"][:9]
    (logits,) = session.run(None, {"x": x.astype(np.float32)})
    assert session.get_inputs()[0].shape[1:] == [6, 5, 3]
    found = model.predict(x)
    assert found.labels == tuple(map(str, logits.argmax(1)))
    assert found.classes.dtype == torch.int64
    assert (found.classes.numpy() == logits.argmax(1)).all()
    samples = torch.from_numpy(x).float()
    assert np.allclose(model(samples).detach(), logits, atol=1e-4)
    assert np.allclose(run.best().model(samples).detach(), logits, atol=1e-4)
    assert model.in_shape == (6, 5, 3)
    assert json.loads((tmp_path / "winner/metrics.json").read_text())["in_shape"] == [6, 5, 3]
    assert "of shape (n, 6, 5, 3)" in (tmp_path / "winner/README.md").read_text("utf-8")
    with pytest.raises(ExportError, match=r"\(n, 6, 5, 3\), found .*transpose\(0, 2, 3, 1\) of an"):
        model.predict(x.transpose(0, 3, 1, 2))
    with pytest.raises(ExportError, match=r"found shape \(6, 5, 3\); bring x\[None\] for one sam"):
        model.predict(x[0])


def test_export_layout_takes_channels_first_where_the_study_says_so(tmp_path: Path) -> None:
    """The same models, since the layout of an export decides nothing else."""
    _, last, _ = exported(tmp_path / "a")
    _, first, session = exported(tmp_path / "b", export_layout="chw")
    x = images()["x_train"][:9]
    assert session.get_inputs()[0].shape[1:] == [3, 6, 5]
    probabilities = first.predict(x.transpose(0, 3, 1, 2)).probabilities
    assert torch.allclose(probabilities, last.predict(x).probabilities, atol=1e-5)
    with pytest.raises(ExportError, match=r"found .*; bring x.transpose\(0, 3, 1, 2\) of an array"):
        first.predict(x)


def test_layout_of_exports_makes_no_other_study(tmp_path: Path) -> None:
    study = npz(tmp_path, **images())
    other = study.model_copy(update={"data": study.data.model_copy(update={"layout": "hwc"})})
    first = study.model_copy(
        update={"data": study.data.model_copy(update={"export_layout": "chw"})}
    )
    assert study.identity() == first.identity() != other.identity()
    assert [load_data(s).channels_last for s in (study, other, first)] == [True, True, False]
    assert load_data(study).fingerprint == load_data(first).fingerprint


def test_search_from_python_exports_the_layout_of_its_arrays(tmp_path: Path) -> None:
    arrays = images()
    run = tasearch.search(
        arrays["x_train"],
        arrays["y_train"],
        build="mlp",
        widths=[8, 4],
        epochs=1,
        trials=1,
        runs_dir=tmp_path,
        study={"latency": {"backend": "torch"}},
    )
    assert run.best().model(torch.from_numpy(arrays["x_train"][:2])).shape == (2, 3)
    run.export(tmp_path / "winner")
    assert load(tmp_path / "winner").predict(arrays["x_train"]).probabilities.shape == (90, 3)


def test_grey_images_may_lack_their_axis_of_channels(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    finished.export(tmp_path / "winner")
    model = load(tmp_path / "winner")
    x = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    expected = model.predict(x[:, None]).probabilities
    assert torch.equal(model.predict(x).probabilities, expected)


def test_export_layout_of_features_is_refused(tmp_path: Path) -> None:
    study = npz(tmp_path, x_train=np.ones((30, 4)), y_train=np.arange(30) % 2)
    wrong = study.data.model_copy(update={"export_layout": "hwc"})
    with pytest.raises(DataError, match=r"export_layout: goes with images, .* shape \(4,\)"):
        load_data(study.model_copy(update={"data": wrong}))
