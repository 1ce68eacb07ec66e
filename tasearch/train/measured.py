"""What the logits of a finished hop tell besides its score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from torch import Tensor

from tasearch.runs.accuracies import mean_of_known
from tasearch.runs.store import HopRecord
from tasearch.train.metrics import Score, accuracy, recalls, standard_error, top_k


def measured(
    record: HopRecord, logits: Iterable[Tensor], labels: Tensor, score: Score
) -> HopRecord:
    """The record of a finished hop with recalls and standard errors.

    Args:
        record: The record.
        logits: Logits on the validation set of each replicate, float (samples, classes).
        labels: Labels of the validation set, int64 (samples,).
        score: The metric of the study.
    """
    replicates = [*logits]
    found = [recalls(own, labels) for own in replicates]
    record = replace(record, recalls=tuple(map(mean_of_known, zip(*found, strict=True))))
    if is_proportion(score):
        return record
    errors = tuple(standard_error(score, own, labels) for own in replicates)
    return replace(record, errors=errors)


def is_proportion(score: Score) -> bool:
    """Whether a score is the fraction of samples that are right in some sense."""
    return score is accuracy or (isinstance(score, partial) and score.func is top_k)
