"""A function of the user's that quantises student.onnx, and what its result is worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasearch.config import plugins
from tasearch.errors import ExportError, raised
from tasearch.exports.onnx_check import validation_logits
from tasearch.exports.student import ExportedStudent
from tasearch.pareto.metric import Metric
from tasearch.train.metrics import score_function

NAME = "student.quantized.onnx"

Quantize = Callable[[bytes], bytes]


def quantize_function(quantize: str | Quantize | None) -> Quantize | None:
    """The function that quantises, which a name stands for.

    Args:
        quantize: The function; or its name, "package.module:function", whose module is looked for
            in the current folder first; None for none.

    Raises:
        ExportError: It is neither.
        StudyError: There is no such function, or its module cannot be imported.
    """
    if quantize is None or callable(quantize):
        return quantize
    if not isinstance(quantize, str) or ":" not in quantize:
        raise ExportError(
            f'quantize: should be a function or "package.module:function", found {quantize!r}'
        )
    return plugins.resolve(quantize, {}, path="quantize", root=str(Path.cwd()))


def quantized(
    student: ExportedStudent, model: bytes | None, quantize: Quantize
) -> tuple[bytes, dict[str, Any]]:
    """Quantise the student, and compare the result with it on the validation set.

    Args:
        student: The student that is exported.
        model: The content of student.onnx; None where there is none.
        quantize: The user's function, from an ONNX model to another one with the same inputs.

    Returns:
        The content of `NAME`; and for metrics.json its score and the student's, of the study's
        metric, and the share of samples that both give one class, all on the validation set.

    Raises:
        ExportError: There is no student.onnx, the function raises or returns no model that runs, or
            a logit is not finite.
    """
    name = getattr(quantize, "__qualname__", repr(quantize))
    where = f"quantize: {name!r}"
    if model is None:
        raise ExportError(f"{where}: there is no student.onnx: torch cannot export the model")
    try:
        made = quantize(model)
    except Exception as error:  # a user's function may raise anything
        raise ExportError(f"{where} raised {raised(error)}; nothing was written") from error
    if not isinstance(made, bytes):
        raise ExportError(
            f"{where} should return the bytes of an ONNX model, returned {type(made).__name__}"
        )
    before = validation_logits(model, student)
    try:
        after = validation_logits(made, student)
    except Exception as error:  # onnx raises what its parser does where it is no model
        raise ExportError(f"{where} should return a model that runs: {error}") from error
    if after.shape != before.shape or not np.isfinite(after).all():
        raise ExportError(
            f"{where} should return a model with finite logits of shape {before.shape}, found "
            f"{after.shape}{', some not finite' * (after.shape == before.shape)}"
        )
    study, labels = student.run.manifest.study, torch.tensor(student.data.validation.y)
    score = score_function(study.objective.metric, study.root)
    return made, {
        "by": name,
        "of": "validation",
        "score": float(score(torch.tensor(after), labels)),
        "student": float(score(torch.tensor(before), labels)),
        "agreement": float((after.argmax(axis=1) == before.argmax(axis=1)).mean()),
    }


def quantized_line(numbers: dict[str, Any] | None, bytes_: int, metric: Metric) -> str:
    """The line of the model card about `NAME`; empty where there is none."""
    if numbers is None:
        return ""
    return (
        f"- `{NAME}`: made of student.onnx by `{numbers['by']}`, {bytes_:,} bytes. On the "
        f"validation set its {metric.words} is {metric.text(numbers['score'])}, that of "
        f"student.onnx {metric.text(numbers['student'])}; both give the same class to "
        f"{numbers['agreement']:.1%} of the samples. Its latency was not measured.\n"
    )
