"""A function of the user's that quantises the student of an export."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import tasearch
from tasearch.data import load_data
from tasearch.errors import ExportError, StudyError
from tasearch.exports.onnx_check import BATCH
from tasearch.exports.quantized import NAME, quantized_line
from tasearch.pareto.metric import ACCURACY
from tests.helpers.commands import command

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the module of the documentation."""
    (code,) = re.findall(r"```python\n# smaller\.py\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "smaller.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_quantised_student_is_written_and_compared(
    finished: tasearch.Run, beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = command(
        capsys, "export", finished.path, "--out", beside / "winner", "--quantize", "smaller:int8"
    )
    assert code == 0 and NAME in shown
    folder = beside / "winner"
    whole, small = (onnx.load(folder / name) for name in ("student.onnx", NAME))
    assert [i.name for i in small.graph.input] == [i.name for i in whole.graph.input]
    assert any(i.data_type == onnx.TensorProto.INT8 for i in small.graph.initializer)
    part = load_data(finished.manifest.study).validation
    # in the batches of the comparison: scales of activations depend on all samples of a batch
    batches = np.array_split(part.x.astype(np.float32), len(part) // BATCH + 1)
    logits, before = (
        np.concatenate([session.run(None, {"x": x})[0] for x in batches])
        for session in map(onnxruntime.InferenceSession, (folder / NAME, folder / "student.onnx"))
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    found = metrics["quantized"]
    assert found["by"] == "int8" and found["of"] == "validation"
    assert found["score"] == pytest.approx((logits.argmax(1) == part.y).mean())
    assert found["student"] == pytest.approx((before.argmax(1) == part.y).mean())
    assert found["agreement"] == pytest.approx((logits.argmax(1) == before.argmax(1)).mean())
    assert not np.array_equal(logits, before)
    assert metrics["file_bytes"][NAME] == (folder / NAME).stat().st_size
    line = quantized_line(found, metrics["file_bytes"][NAME], ACCURACY)
    assert line in (folder / "README.md").read_text()
    finished.export(folder)  # an export without the option leaves no file of the one before
    assert not (folder / NAME).exists()
    assert "quantized" not in json.loads((folder / "metrics.json").read_text())
    assert NAME not in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantize", "message"),
    [
        (lambda model: 1 / 0, r"^quantize: '.*<lambda>' raised ZeroDivisionError.*nothing was"),
        (lambda model: None, r"should return the bytes of an ONNX model, returned NoneType$"),
        (lambda model: b"no model", r"should return a model that runs: "),
        (lambda model: _constant(model, float("nan")), r"found \(.*\), some not finite$"),
    ],
    ids=["raises", "nothing", "no model", "not finite"],
)
def test_function_that_makes_no_model_is_told_and_nothing_is_written(
    quantize: Any, message: str, finished: tasearch.Run, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        finished.export(tmp_path / "winner", quantize=quantize)
    assert not (tmp_path / "winner").exists()


def _constant(model: bytes, value: float) -> bytes:
    """The model with its weights set to a value."""
    proto = onnx.load_from_string(model)
    for weight in proto.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            found = np.full(tuple(weight.dims), value, np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(found, weight.name))
    return bytes(proto.SerializeToString())


@pytest.mark.slow
def test_function_that_is_not_there_is_refused_before_anything_is_read(
    finished: tasearch.Run, beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = r'^quantize: should be a function or "package\.module:function", found \'int8\'$'
    with pytest.raises(ExportError, match=rule):
        finished.export(beside / "winner", quantize="int8")
    with pytest.raises(StudyError, match=r"^quantize: 'smaller:none': module 'smaller' has no fun"):
        finished.export(beside / "winner", quantize="smaller:none")
    code, _, err = command(
        capsys, "export", finished.path, "--out", "winner", "--quantize", "nowhere:f"
    )
    assert code == 2 and "No module named 'nowhere'" in err
    assert not (beside / "winner").exists()
