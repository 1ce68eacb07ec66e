"""The file metrics.json: everything that is known of the exported student, for programs."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import torch

from tasearch.data import load_test
from tasearch.exports.student import ExportedStudent
from tasearch.models.tensors import as_tensor
from tasearch.pareto.measurement import tied_with
from tasearch.report.evidence import evidence_lines
from tasearch.report.intervals import score_interval
from tasearch.report.numbers import student_numbers
from tasearch.report.rows import row_of
from tasearch.runs.quality import Quality
from tasearch.runs.records import training_flops
from tasearch.runs.test_reads import log_read_of_test
from tasearch.train.loop import predict
from tasearch.train.metrics import score_function
from tasearch.train.quality import measure_quality


def student_metrics(
    student: ExportedStudent, difference: float | None, contents: Mapping[str, bytes]
) -> dict[str, Any]:
    """Measure the student on the held-out test set, and collect all figures.

    Args:
        student: The student to export.
        difference: Largest difference between logits of ONNX Runtime and torch; None without ONNX.
        contents: Content of the model files by name.

    Returns:
        The content of metrics.json.
    """
    manifest, candidate, data = student.run.manifest, student.candidate, student.data
    size = manifest.measured[candidate.chain[-1]]
    with student.run.directory.writing():
        reads = log_read_of_test(student.run.path, "export", [candidate.label])
    quality, metric = _quality(student), student.run.metric
    test = quality.accuracy if metric.is_accuracy else quality.score
    errors = () if quality.error is None else (quality.error,)
    return {
        **student_numbers(student.run, row_of(student.run, candidate.trial)),
        "free": student.trial.free,  # an assistant within the budget, with the assistants' recipe
        "study": manifest.study.name,
        "metric_words": metric.words,
        "test_accuracy": test,  # as `accuracy`, a score of `metric`
        "test_interval": None
        if test is None
        else score_interval(metric, [test], quality.samples, errors),
        "test_samples": quality.samples,
        "test_reads": reads,  # of all commands on this run, this one included
        "test": {"of": _source_of_test(manifest.study.seed), **quality.as_json(data.class_names)},
        "validation_samples": manifest.validation,
        "evidence": evidence_lines(student.run, candidate),
        "latency_median_ms": size.median_ms,
        "latency_tied_with": tied_with(size.width, manifest.measured),
        "latency_of": manifest.device,
        "forward_flops": size.flops,
        "training_flops": sum(
            training_flops(use.width, use.epochs, manifest.trained_samples, manifest.measured)
            for use in student.trial.hops
        ),
        "onnx_difference": difference,
        "file_bytes": {name: len(content) for name, content in contents.items()},
        "in_shape": data.export_shape,
        "num_classes": data.num_classes,
        "class_names": data.class_names,
        "versions": {name: importlib.metadata.version(name) for name in ("tasearch", "torch")},
    }


def _source_of_test(seed: int) -> dict[str, Any]:
    """What the quality on the test set is of: the exported weights, which it did not choose."""
    return {"part": "test", "seeds": "search", "seed": seed, "replicate": 0, "selected": False}


def _quality(student: ExportedStudent) -> Quality:
    """The student's quality on the held-out test set, which is read here and once."""
    test = load_test(student.run.manifest.study)
    x, teacher = as_tensor(test.x), None
    if test.teacher is not None:
        teacher = torch.tensor(test.teacher)
    elif student.teacher is not None:
        teacher = predict(student.teacher, x)
    study = student.run.manifest.study
    score = score_function(study.objective.metric, study.root)
    return measure_quality(predict(student.module, x), torch.tensor(test.y), teacher, score)
