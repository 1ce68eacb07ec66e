"""The file README.md of an export: the model card."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from tasearch.chains.recipe import LABELS_ONLY
from tasearch.config import plugins
from tasearch.exports.student import ExportedStudent
from tasearch.pareto.measurement import latency_words

ONNX = ("<!-- onnx -->\n", "<!-- end -->\n")  # around parts of the card about student.onnx


def model_card(student: ExportedStudent, metrics: dict[str, Any]) -> str:
    """Write the model card.

    Args:
        student: The student to export.
        metrics: Content of metrics.json.

    Returns:
        The card in Markdown.
    """
    template = files("tasearch.exports").joinpath("card.md").read_text("utf-8")
    difference = metrics["onnx_difference"]
    if difference is None:
        template = re.sub(f"{ONNX[0]}.*?{ONNX[1]}", "", template, flags=re.DOTALL)
    template = re.sub("|".join(ONNX), "", template)
    candidate, data = student.candidate, student.data
    return Template(template).substitute(
        study=metrics["study"],
        made=_origin(student),
        test=f"{metrics['test_accuracy']:.2%}",
        test_samples=f"{metrics['test_samples']:,}",
        accuracy=_accuracy(student),
        samples=f"{metrics['validation_samples']:,}",
        reads=_times(metrics["test_reads"]),
        evidence=_evidence(metrics["evidence"]),
        params=f"{candidate.params:,}",
        bytes=f"{candidate.bytes:,}",
        latency=latency_words(candidate.chain[-1], student.run.manifest.measured),
        device=metrics["latency_of"],
        shape=", ".join(map(str, data.in_shape)),
        classes=data.num_classes,
        difference=f"{difference or 0.0:.1e}",
        load=_load_line(student),
    )


def _labels_only(student: ExportedStudent) -> bool:
    return bool(student.candidate.recipe["student"]["loss"] == LABELS_ONLY)


def _origin(student: ExportedStudent) -> str:
    """How the student was trained, in one sentence."""
    if _labels_only(student):
        width = student.candidate.chain[-1]
        return f"Width {width}, trained on the labels alone, without a teacher."
    return f"Distilled along the chain {student.candidate.label} (widths, teacher first)."


def _accuracy(student: ExportedStudent) -> str:
    """Validation accuracy of the exported replicate, and the mean of all replicates."""
    mean, accuracies = f"{student.candidate.accuracy:.2%}", student.trial.accuracies
    if not accuracies:
        return mean
    return f"{accuracies[0]:.2%} (mean of {len(accuracies)} replicates: {mean})"


def _times(reads: int) -> str:
    """How often the test set of the run was read."""
    return "read once" if reads == 1 else f"read {reads} times on this run"


def _evidence(lines: list[str]) -> str:
    """What is known beyond the search, as a list."""
    if not lines:
        return "Not confirmed on fresh seeds; its chain has no assistants."
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _load_line(student: ExportedStudent) -> str:
    """The expression in the card's example that loads the model."""
    study = student.run.manifest.study
    if ":" not in study.model.family:
        return 'tasearch.load(".")'
    file = Path(plugins.place(study.model.family, study.root)).name
    words = f"runs {file} ({study.model.family}), which is not in here"
    return f'tasearch.load(".", trust=True)  # {words}'
