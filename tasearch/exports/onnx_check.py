"""The student in ONNX, compared with the student in torch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import torch
from torch import nn

from tasearch.data import Split
from tasearch.data.ids import are_ids
from tasearch.errors import ExportError, ModelError
from tasearch.exports.features_graph import inputs_of, with_features
from tasearch.exports.student import ExportedStudent
from tasearch.models.tensors import as_tensor
from tasearch.models.wrappers import pad_of
from tasearch.profiling.machine import timed_in_onnx
from tasearch.profiling.onnx import onnx_outputs, to_onnx
from tasearch.train.lengths import lengths_of
from tasearch.train.loop import predict

TOLERANCE = 1e-4  # difference of logits; relative to the logit where that is larger than 1
BATCH = 97  # samples in a batch, at most; a prime number, so that the last batch is shorter
CLASS_NAMES = "class_names"  # key of the model's metadata
SHORTEST = 2  # ids; torch exports a length that it has seen as 1 for that alone
SINGLE = 64  # samples that are also compared one by one


def checked_onnx(student: ExportedStudent) -> tuple[bytes | None, float | None]:
    """Export the student to ONNX, and compare its logits with torch's.

    Args:
        student: The student to export.

    Returns:
        The ONNX model and its largest difference from torch; None for both if the model cannot be
        exported and the study timed it in torch.

    Raises:
        ExportError: If ONNX Runtime and torch do not agree.
        ModelError: If the model cannot be exported although the study timed it in ONNX Runtime.
    """
    try:
        data = student.data
        kind = getattr(torch, "float32" if data.ids is None else data.ids.dtype)
        model = _named(_exported(student, kind), data.class_names)
        difference = onnx_difference(
            model, student.module, data.validation, channels_last=data.channels_last
        )
        if data.table is not None:
            model = with_features(model, data.table.features)
            inputs = inputs_of(data.table.validation, data.table.features)
            difference = max(
                difference, onnx_difference(model, student.module, data.validation, inputs)
            )
    except ModelError:
        if timed_in_onnx(student.run.manifest.device):
            raise
        return None, None
    if not difference <= TOLERANCE:  # true for NaN, too
        raise ExportError(
            f"ONNX Runtime and torch differ by {difference:.2g} on the validation set, "
            f"more than {TOLERANCE}; nothing was written"
        )
    return model, difference


def _exported(student: ExportedStudent, kind: torch.dtype) -> bytes:
    """The student in ONNX; one of token ids takes any length, unless it is made for one."""
    shape = student.data.export_shape
    if student.data.ids is not None and shape[0] > SHORTEST:
        with contextlib.suppress(ModelError):
            return to_onnx(student.exported, shape, kind, any_length=True)
    return to_onnx(student.exported, shape, kind)


def takes_any_length(model: bytes) -> bool:
    """Whether an ONNX model takes samples of any length."""
    sizes = onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim
    return len(sizes) == 2 and sizes[1].HasField("dim_param")


def _named(model: bytes, class_names: Sequence[str]) -> bytes:
    """An ONNX model with the names of its classes in its metadata, as a list in JSON."""
    proto = onnx.load_from_string(model)
    onnx.helper.set_model_props(proto, {CLASS_NAMES: json.dumps(class_names)})
    return bytes(proto.SerializeToString())


def onnx_difference(
    model: bytes,
    module: nn.Module,
    part: Split,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    channels_last: bool = False,
) -> float:
    """Largest difference between ONNX Runtime's logits and torch's.

    Args:
        model: Serialized ONNX model.
        module: The same model in torch, in eval mode.
        part: Samples to compare, in batches and one by one.
        inputs: The same samples as the ONNX model takes them, by input; None for `x` itself.
        channels_last: Whether the ONNX model takes images with their channels last.

    Returns:
        The largest |a - b| / max(1, |b|) over all logits a of ONNX Runtime and b of torch, because
        float32 has 7 digits.
    """
    expected = predict(module, as_tensor(part.x)).numpy()
    rows, pad = np.arange(len(part)), pad_of(module)
    pad = pad if pad is not None and takes_any_length(model) else None
    batches = [*np.array_split(rows, len(part) // BATCH + 1), *rows[:SINGLE, None]]
    logits = _logits(model, part, batches, pad, inputs, channels_last=channels_last)
    expected = np.concatenate([expected, expected[:SINGLE]])
    return float((np.abs(logits - expected) / np.maximum(1.0, np.abs(expected))).max())


def validation_logits(model: bytes, student: ExportedStudent) -> np.ndarray:
    """Logits of an ONNX model, which takes what student.onnx takes, on the validation set.

    Args:
        model: The ONNX model.
        student: The student that is exported.

    Returns:
        Its first output, (samples, classes).

    Raises:
        ModelError: ONNX Runtime refuses the model, or a batch.
    """
    data, inputs = student.data, None
    if data.table is not None:
        inputs = inputs_of(data.table.validation, data.table.features)
    pad = pad_of(student.module) if takes_any_length(model) else None
    rows = np.arange(len(data.validation))
    batches = np.array_split(rows, len(rows) // BATCH + 1)
    return _logits(model, data.validation, batches, pad, inputs, channels_last=data.channels_last)


def _logits(
    model: bytes,
    part: Split,
    batches: Sequence[np.ndarray],
    pad: int | None,
    inputs: Mapping[str, np.ndarray] | None,
    *,
    channels_last: bool,
) -> np.ndarray:
    """Logits of an ONNX model on batches of samples, given by their indices."""
    feeds: Iterable[Mapping[str, np.ndarray]] = (
        {"x": _input(_cut(part.x[batch], pad), channels_last=channels_last)}
        if inputs is None
        else {name: values[batch] for name, values in inputs.items()}
        for batch in batches
    )
    return np.concatenate(onnx_outputs(model, feeds))


def _cut(x: np.ndarray, pad: int | None) -> np.ndarray:
    """Token ids without the padding that all samples have; other samples as they are."""
    return x if pad is None else x[:, : max(int(lengths_of(x, pad).max()), SHORTEST)]


def _input(x: np.ndarray, *, channels_last: bool) -> np.ndarray:
    """Samples as the ONNX model takes them."""
    x = x if are_ids(x) else x.astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if channels_last else x
