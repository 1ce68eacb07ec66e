"""The file README.md of an export: the model card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from tasearch.chains.recipe import LABELS_ONLY, early_teacher_text, hidden_text, start_text
from tasearch.chains.sizes import sized
from tasearch.config import plugins
from tasearch.config.values import PACKAGES
from tasearch.data.labels import are_numbers
from tasearch.errors import shown
from tasearch.exports.input_words import input_words
from tasearch.exports.quantized import NAME as QUANTIZED
from tasearch.exports.quantized import quantized_line
from tasearch.exports.student import ExportedStudent
from tasearch.pareto.measurement import latency_words
from tasearch.pareto.metric import Metric
from tasearch.report.text import interval_text
from tasearch.runs.accuracies import unseen_text
from tasearch.train.quality import BINS

ONNX = ("<!-- onnx -->\n", "<!-- end -->\n")  # around parts of the card about student.onnx
TOKENIZER = "makes token ids of texts; settings in it cut and pad them"
MOST_ROWS = 20  # classes in the card; metrics.json has all


def model_card(
    student: ExportedStudent, metrics: dict[str, Any], *, any_length: bool = False
) -> str:
    """Write the model card.

    Args:
        student: The student to export.
        metrics: Content of metrics.json.
        any_length: Whether student.onnx takes texts of any length.

    Returns:
        The card in Markdown.
    """
    template = files("tasearch.exports").joinpath("card.md").read_text("utf-8")
    difference = metrics["onnx_difference"]
    if difference is None:
        template = re.sub(f"{ONNX[0]}.*?{ONNX[1]}", "", template, flags=re.DOTALL)
    template = re.sub("|".join(ONNX), "", template)
    candidate, data, metric = student.candidate, student.data, student.run.metric
    return Template(template).substitute(
        study=metrics["study"],
        made=_origin(student),
        metric=metric.words,
        both="Both accuracies" if metric.is_accuracy else f"Both values of {metric.words}",
        test=metric.text(metrics["test_accuracy"]),
        test_interval=interval_text(metrics["test_interval"], metric),
        test_samples=f"{metrics['test_samples']:,}",
        accuracy=_accuracy(metrics, metric),
        samples=f"{metrics['validation_samples']:,}",
        reads=_times(metrics["test_reads"]),
        seed=metrics["test"]["of"]["seed"],
        evidence=_evidence(metrics["evidence"]),
        quality=quality_section(metrics["test"], accuracy=not metric.is_accuracy),
        params=f"{candidate.params:,}",
        bytes=f"{candidate.bytes:,}",
        latency=latency_words(candidate.chain[-1], student.run.manifest.measured),
        device="; ".join([metrics["latency_of"], *metrics["latency_notices"]]),
        **input_words(data, any_length=any_length),
        names=_names(data.class_names),
        difference=f"{difference or 0.0:.1e}",
        load=_load_line(student),
        quantized=quantized_line(
            metrics.get("quantized"), metrics["file_bytes"].get(QUANTIZED, 0), metric
        ),
        tokenizer="" if data.text is None else f"- `tokenizer.json`: {TOKENIZER}.\n",
    )


def _labels_only(student: ExportedStudent) -> bool:
    return bool(student.candidate.recipe["student"]["loss"] == LABELS_ONLY)


def _origin(student: ExportedStudent) -> str:
    """How the student was trained, in one sentence."""
    if _labels_only(student):
        width = student.candidate.chain[-1]
        return f"{sized(width).capitalize()}, trained on the labels alone, without a teacher."
    words = f"Distilled along the chain {student.candidate.label} (widths, teacher first)"
    recipes = student.candidate.recipe
    for role, who in (("assistants", "the assistants"), ("student", "the student")):
        early = early_teacher_text(recipes[role]) if recipes[role] else ""
        if early:
            words += f"; {who} learned from an earlier epoch: {early}"
        if recipes[role] and start_text(recipes[role]):
            words += f"; {who} started from weights of the model before"
        hidden = hidden_text(recipes[role]) if recipes[role] else ""
        if hidden:
            words += f"; {who} also learned from the {hidden} of the model before"
    return f"{words}."


def _accuracy(metrics: dict[str, Any], metric: Metric) -> str:
    """Validation score with its interval; of several replicates the exported one's, too."""
    interval, accuracies = interval_text(metrics["interval"], metric), metrics["accuracies"]
    mean = f"{metric.text(metrics['accuracy'])}, {interval}"
    if len(accuracies) == 1:
        return f"{mean}, one seed"
    return f"{metric.text(accuracies[0])}; mean of {len(accuracies)} replicates: {mean}"


def _times(reads: int) -> str:
    """How often the test set of the run was read."""
    return "read once" if reads == 1 else f"read {reads} times on this run"


def _evidence(lines: list[str]) -> str:
    """What is known beyond the search, as a list."""
    if not lines:
        return "Not confirmed on fresh seeds; its chain has no assistants."
    return "\n".join(f"- {line}" for line in lines)


def quality_section(test: dict[str, Any], *, accuracy: bool = False) -> str:
    """The figures of quality in words, and a table of the classes, the worst first.

    Args:
        test: The object "test" of metrics.json.
        accuracy: Whether to tell the accuracy, where the metric of the study is another one.
    """
    agreement = "The teacher is not there any more, or may not run: agreement is not known."
    if test["agreement_with_teacher"] is not None:
        share = f"{test['agreement_with_teacher']:.1%}"
        agreement = f"It predicts the same class as the teacher for {share} of the samples."
    lines = [f"- {agreement}"]
    if accuracy:
        lines.insert(0, f"- Accuracy: {test['accuracy']:.1%}.")
    unseen = [c["recall"] if c["samples"] else None for c in test["per_class"]]
    if 0 in unseen:
        words = unseen_text(unseen, [c["name"] for c in test["per_class"]], "test")
        lines.insert(0, f"- **It {_markdown(words)}.**")
    if test["nll"] is None:
        lines.append("- Some of its logits are not finite.")
    else:
        lines += [
            f"- Its confidence is {test['ece']:.1%} away from its accuracy (expected calibration "
            f"error, {BINS} bins of equal width).",
            f"- Negative log-likelihood: {test['nll']:.3g} nats, mean over the samples.",
        ]
    return "\n".join([*lines, "", *_class_table(test["per_class"])])


def _class_table(classes: list[dict[str, Any]]) -> list[str]:
    """The recall of each class as a table; of many classes, the worst ones."""
    known = sorted((c for c in classes if c["samples"]), key=lambda c: c["recall"])
    rows = [
        f"| {_markdown(c['name'])} | {c['recall']:.1%} | {c['samples']:,} |"
        for c in known[:MOST_ROWS]
    ]
    lines = ["| class | recall | samples |", "| --- | --- | --- |", *rows]
    if len(known) > MOST_ROWS:
        lines += ["", f"The worst first; {len(known) - MOST_ROWS} more classes are no worse."]
    return lines


def _names(class_names: Sequence[str]) -> str:
    """The names of the classes in a sentence; empty where they are numbers."""
    if are_numbers(class_names):
        return ""
    listed = ", ".join(map(_markdown, class_names[:MOST_ROWS]))
    more = len(class_names) - MOST_ROWS
    rest = f" and {more} more, which `metrics.json` has" if more > 0 else ""
    return f"\nThe classes in the order of the logits: {listed}{rest}.\n"


def _markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", shown(text))


def _load_line(student: ExportedStudent) -> str:
    """The expression in the card's example that loads the model."""
    study = student.run.manifest.study
    if not study.model.own_family:
        package = study.model.package
        needs = f"  # needs {PACKAGES[package]}" if package else ""
        return f'tasearch.load("."){needs}'
    file = Path(plugins.place(study.model.family, study.root)).name
    words = f"runs {file} ({study.model.family}), which is not in here"
    return f'tasearch.load(".", trust=True)  # {words}'
