"""Trials and hops of a search in words, with the fields of their recipes that are searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasearch.chains.recipe import LABELS_ONLY, TOLD
from tasearch.chains.recipes import ONLY_DISTILLED, SEARCHED
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.runs.events import HopStarted
from tasearch.runs.manifest import Manifest
from tasearch.runs.records import TrialRecord

SHORT = {"temperature": "T", "learning_rate": "lr"}


class Words:
    """Trials in words.

    Args:
        measured: Measurement of each width.
        searched: (role, field) of the recipe fields that are searched, and so are shown.
        metric: What models are compared by.
    """

    def __init__(
        self,
        measured: Mapping[int, Measurement],
        searched: Sequence[tuple[str, str]],
        metric: Metric = ACCURACY,
    ) -> None:
        self.measured, self.searched, self.metric = measured, searched, metric

    @classmethod
    def of_run(cls, manifest: Manifest) -> Words:
        """The words for a run, with all fields that differ between its trials."""
        study, measured = manifest.study, manifest.measured
        both = study.assistants, study.student
        found = [("assistants", f) for f in study.recipes("assistants").searched]
        found += [("student", f) for f in study.recipes("student").searched]
        if study.assistants.max:  # an assistant is a trial too, with the fields of its own section
            differing = (
                f for f in ("epochs", *SEARCHED) if len({str(getattr(r, f)) for r in both}) > 1
            )
            found += [("student", f) for f in differing if ("student", f) not in found]
        return cls(measured, found, manifest.metric)

    def recipe(self, recipe: Mapping[str, Any]) -> str:
        """The searched fields of a trial's recipes, in short."""
        found = []
        for role, field in self.searched:
            if recipe[role] and _counts(field, recipe[role]):
                who = "assistants' " if role == "assistants" else ""
                found.append(f"{who}{_shown(field, recipe[role])}")
        return ", ".join(found)

    def hop(self, event: HopStarted) -> str:
        """A hop with the searched fields of its recipe."""
        own = event.recipe
        if own is None:
            return event.label
        fields = dict.fromkeys(field for _, field in self.searched if _counts(field, own))
        words = ", ".join(_shown(field, own) for field in fields)
        return f"{event.label}  {words}" if words else event.label

    def chain(self, record: TrialRecord, *, reasons: Sequence[str] = ("pruned", "failed")) -> str:
        """The chain of a trial, the searched fields of its recipe, and why it was not finished.

        Of an assistant that is a student by itself it says so.

        Args:
            record: The trial.
            reasons: The states whose reason is told.
        """
        parts = [record.label]
        if self.searched and record.recipe:
            parts.append(self.recipe(record.recipe))
        if record.free:
            parts.append("(assistant of another trial)")
        if record.reason and record.state in reasons:
            parts.append(f"({record.reason})")
        return "  ".join(part for part in parts if part)

    def trial(self, record: TrialRecord) -> str:
        """One finished trial in one line, the most important first."""
        parts = [f"{record.state:<8}"]
        if record.accuracy is not None:
            size = self.measured[record.chain[-1]]
            cost = f"{size.params:>9,} params {size.latency_ms:>8.4g} ms"
            parts.append(f"{self.metric.text(record.accuracy):>6} {cost}")
        return "  ".join([*parts, self.chain(record)])


def hop_line(words: Words, event: HopStarted) -> str:
    """The start of a hop in one line."""
    if not event.epochs:
        return f"load {event.label}"
    again = f" from epoch {event.epoch}" if event.epoch else ""
    return f"train {words.hop(event)}{again}"


def _counts(field: str, recipe: Mapping[str, Any]) -> bool:
    """Whether a field affects a model with this recipe; those in `TOLD` may not be told of."""
    if field in TOLD:
        return bool(TOLD[field](recipe))
    return field not in ONLY_DISTILLED or recipe["loss"] != LABELS_ONLY


def _shown(field: str, recipe: Mapping[str, Any]) -> str:
    if field in TOLD:
        return TOLD[field](recipe)
    return f"{SHORT.get(field, field)} {recipe[field]}"
