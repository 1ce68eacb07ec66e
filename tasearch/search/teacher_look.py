"""A first look at a loaded teacher, before anything is spent: how good it is, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tasearch.config.teacher_section import TeacherSection
from tasearch.data import Dataset
from tasearch.data.guesses import Guesses
from tasearch.models import Models
from tasearch.models.ensemble import mean_logits
from tasearch.pareto.metric import ACCURACY_NAME, metric_of
from tasearch.runs.accuracies import unseen_text
from tasearch.train.metrics import Score, accuracy, recalls

CAUSES = (
    "teacher.inputs, which tells raw samples from standardized ones; teacher.mean and teacher.std; "
    "data.layout; another order of the classes"
)
CAUSES_OF_TEXTS = (
    "data.tokenizer, which should be the one that the teacher was trained with; another order of "
    "the classes"
)
UNTRAINED = "no checkpoint was given, so its weights are those that its factory makes; "
REORDERED = 1.5  # times the accuracy that classes in another order must reach to be told of


@dataclass(frozen=True, kw_only=True)
class TeacherLook:
    """What is known of a teacher before the search.

    Args:
        words: Its accuracy, for the end of the line about it; empty if it is trained here.
        notices: What may be wrong with it.
        accuracy: Its accuracy on the validation set, 0..1; None if it is trained here.
    """

    words: str = ""
    notices: tuple[str, ...] = ()
    accuracy: float | None = None


def look_at_teacher(
    models: Models, data: Dataset, device: torch.device, score: Score = accuracy
) -> TeacherLook:
    """Have a loaded teacher predict the validation set, and compare it with simple guesses.

    Args:
        models: The models of the study.
        data: Its training set and its validation set.
        device: The device to call the teacher on.
        score: The metric of the study.

    Raises:
        ModelError: The teacher fails, or gives anything but finite logits.
    """
    section, members = models.study.teacher, models.check_members(data, device)
    logits = mean_logits([*members.values()]) if members else models.check_teacher(data, device)
    if logits is None:
        return TeacherLook()
    predicted, right = _compared(logits, data)
    found = f"right in {right:.1%} of the validation part"
    guesses = Guesses(data)
    why = _why_poor(right, data, guesses)
    notices = []
    if why:
        causes = _causes(predicted, data, section, guesses)
        notices.append(f"the teacher is {found}, {why}; {causes}")
    labels = torch.from_numpy(data.validation.y).to(logits.device)
    found_of = recalls(logits, labels)
    if 0 in found_of and not why:
        words = unseen_text(found_of, data.class_names)
        notices.append(f"the teacher {words}; students learn from it")
    metric = metric_of(models.study.objective.metric, data.num_classes)
    if not metric.is_accuracy:
        found += f", {metric.named(float(score(logits, labels)))}"
    if members:
        each = {name: _compared(own, data) for name, own in members.items()}
        shares = ", ".join(f"{name} in {share:.1%}" for name, (_, share) in each.items())
        found += f", its members: {shares}"
        for (name, (classes, share)), own in zip(each.items(), section.models, strict=True):
            if why := _why_poor(share, data, guesses):
                causes = _causes(classes, data, own, guesses)
                notices.append(f"{name} of the teacher is right in {share:.1%}, {why}; {causes}")
    return TeacherLook(words=f"; {found}", notices=tuple(notices), accuracy=right)


def _compared(logits: Tensor, data: Dataset) -> tuple[np.ndarray, float]:
    """The predicted classes, int64 (samples,), and the accuracy on the validation set, 0..1."""
    predicted = logits.argmax(dim=1).cpu().numpy()
    return predicted, float((predicted == data.validation.y).mean())


def _why_poor(right: float, data: Dataset, guesses: Guesses) -> str:
    """With what a poor teacher was compared; empty for a good one."""
    if metric_of(ACCURACY_NAME, data.num_classes).near_chance(right):
        return "hardly better than chance"
    if right <= guesses.majority:
        return f"no better than the most frequent class, {guesses.majority:.1%}"
    if right < guesses.linear:
        return f"less than the nearest mean of a class, {guesses.linear:.1%}"
    return ""


def _causes(predicted: np.ndarray, data: Dataset, section: TeacherSection, guesses: Guesses) -> str:
    """What may be wrong with a poor teacher, or with a poor member of one."""
    pairs = np.zeros((data.num_classes, data.num_classes), dtype=np.int64)
    np.add.at(pairs, (predicted, data.validation.y), 1)
    rows, columns = linear_sum_assignment(pairs, maximize=True)
    best, now = pairs[rows, columns].sum() / len(predicted), np.trace(pairs) / len(predicted)
    if best > REORDERED * now and best > guesses.linear:
        return (
            f"with its classes in another order it would be right in {best:.1%}: put its outputs "
            f"into the order of the labels"
        )
    given = section.checkpoint is not None or section.own_factory is None
    causes = CAUSES if data.tokens is None else CAUSES_OF_TEXTS
    return f"likely causes: {'' if given else UNTRAINED}{causes}"
