"""A student's quality: the formulas by hand, by scikit-learn, and what holds for all logits."""

from __future__ import annotations

import math
from dataclasses import astuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, recall_score
from torch import Tensor

from tasearch.runs.quality import Quality
from tasearch.train.quality import measure_quality

CLASSES = 4


def drawn(seed: int, samples: int = 50, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and a teacher's logits; the last class has no samples."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(samples, CLASSES, generator=generator)
    labels = torch.randint(CLASSES - 1, (samples,), generator=generator)
    return logits, labels, torch.randn(samples, CLASSES, generator=generator)


def numbers(found: Quality) -> list[float]:
    """All values in a row; -1 for a missing one."""
    flat: list[float] = []
    for value in astuple(found):
        flat += value if isinstance(value, tuple) else (value,)
    return [-1.0 if value is None else value for value in flat]


def test_quality_equals_values_by_hand() -> None:
    """Confidences 0.9, 0.9, 0.6 and 0.6; right, wrong, right, right."""
    p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    found = measure_quality(p.log(), torch.tensor([0, 1, 1, 1]), teacher)
    assert found.samples == 4
    assert found.accuracy == 0.75
    assert found.ece == pytest.approx((abs(1 - 1.8) + abs(2 - 1.2)) / 4)
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.1) + 2 * math.log(0.6)) / 4)
    assert found.agreement == 0.5
    assert found.class_samples == (1, 3)
    assert found.class_accuracies == (1.0, pytest.approx(2 / 3))


@pytest.mark.parametrize("seed", range(5))
def test_quality_equals_scikit_learns(seed: int) -> None:
    logits, labels, teacher = drawn(seed)
    found = measure_quality(logits, labels, teacher)
    shares, predicted = logits.double().softmax(1).numpy(), logits.argmax(1).numpy()
    every = [*range(CLASSES)]
    assert found.nll == pytest.approx(log_loss(labels.numpy(), shares, labels=every))
    assert found.accuracy == accuracy_score(labels.numpy(), predicted)
    assert found.agreement == accuracy_score(teacher.argmax(1).numpy(), predicted)
    recalls = recall_score(
        labels.numpy(), predicted, labels=every[:-1], average=None, zero_division=0
    )
    assert found.class_accuracies == (*map(pytest.approx, recalls), None)


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_equals_its_definition(seed: int) -> None:
    """Bin by bin, as equation 5 has it."""
    logits, labels, _ = drawn(seed)
    confidence, predicted = logits.double().softmax(1).max(1)
    total = 0.0
    for m in range(1, 16):
        own = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if own.any():
            accuracy = (predicted == labels)[own].double().mean()
            total += float(own.sum() / len(own) * (accuracy - confidence[own].mean()).abs())
    assert measure_quality(logits, labels, None).ece == pytest.approx(total)


def test_perfect_sure_model_is_calibrated() -> None:
    labels = torch.arange(CLASSES).repeat(3)
    logits = 1_000.0 * torch.eye(CLASSES)[labels]
    found = measure_quality(logits, labels, logits)
    assert (found.accuracy, found.ece, found.nll, found.agreement) == (1.0, 0.0, 0.0, 1.0)
    assert found.class_accuracies == (1.0,) * CLASSES


@given(st.integers(0, 99), st.permutations(range(50)))
def test_order_of_samples_changes_nothing(seed: int, order: list[int]) -> None:
    logits, labels, teacher = drawn(seed)
    shuffled = measure_quality(logits[order], labels[order], teacher[order])
    known = numbers(measure_quality(logits, labels, teacher))
    assert numbers(shuffled) == pytest.approx(known, abs=1e-12)


@given(st.integers(0, 99), st.sampled_from([1e-30, 1.0, 1e4, 1e30, 1e37]))
def test_finite_logits_of_any_size_give_finite_values(seed: int, scale: float) -> None:
    found = measure_quality(*drawn(seed, scale=scale))
    assert all(map(math.isfinite, numbers(found)))
    assert 0 <= numbers(found)[2] <= 1


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_logits_that_are_not_finite_have_no_likelihood(bad: float) -> None:
    logits, labels, teacher = drawn(0)
    logits[0, 1] = bad
    found = measure_quality(logits, labels, teacher)
    assert (found.ece, found.nll) == (None, None)
    assert all(map(math.isfinite, numbers(found)))


def test_missing_teacher_leaves_the_agreement_out() -> None:
    logits, labels, teacher = drawn(1)
    known = measure_quality(logits, labels, teacher)
    found = measure_quality(logits, labels, None)
    assert found.agreement is None
    assert numbers(found)[:4] == numbers(known)[:4]
