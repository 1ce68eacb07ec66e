from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasearch.errors import StudyError
from tasearch.train.loss_check import check_loss
from tasearch.train.losses import LOSSES, Terms, dense_loss, kept_ancestors, ramp
from tests.helpers.recipes import KD

GUIDED = [name for name in LOSSES if name != "ce"]
TERMS = Terms(temperature=3.0, alpha=0.7, ramp=0.6)


def problem(seed: int, classes: int = 6, batch: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and targets in float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, classes)
    logits, targets = (
        torch.randn(shape, generator=generator, dtype=torch.float64) * 3 for _ in range(2)
    )
    return logits, torch.randint(classes, (batch,), generator=generator), targets


# Independent references: plain Python, sample by sample, class by class


def shares(values: list[float], t: float) -> list[float]:
    top = max(values)
    powers = [math.exp((value - top) / t) for value in values]
    return [p / sum(powers) for p in powers]


def relative_entropy(goal: list[float], found: list[float]) -> float:
    return sum(q * math.log(q / p) for p, q in zip(found, goal, strict=True))


def kd_by_hand(z: list[float], y: int, v: list[float], terms: Terms) -> float:
    t = terms.temperature
    return t * t * relative_entropy(shares(v, t), shares(z, t))


def kd_std_by_hand(z: list[float], y: int, v: list[float], terms: Terms) -> float:
    def scores(values: list[float]) -> list[float]:
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return [(value - mean) / math.sqrt(variance) for value in values]

    return kd_by_hand(scores(z), y, scores(v), terms)


def dkd_by_hand(z: list[float], y: int, v: list[float], terms: Terms) -> float:
    t = terms.temperature
    p, q = shares(z, t), shares(v, t)
    binary = relative_entropy([q[y], 1 - q[y]], [p[y], 1 - p[y]])
    rest = [[value for i, value in enumerate(values) if i != y] for values in (v, z)]
    others = relative_entropy(shares(rest[0], t), shares(rest[1], t))
    return terms.ramp * t * t * (binary + 8 * others)


BY_HAND: dict[str, Callable[..., float]] = {
    "ce": lambda z, y, v, terms: 0.0,
    "kd": kd_by_hand,
    "kd-std": kd_std_by_hand,
    "dkd": dkd_by_hand,
}


def by_hand(name: str, logits: Tensor, labels: Tensor, targets: Tensor, terms: Terms) -> float:
    rows = list(zip(logits.tolist(), labels.tolist(), targets.tolist(), strict=True))
    entropy = sum(-math.log(shares(z, 1.0)[y]) for z, y, _ in rows) / len(rows)
    if name == "ce":
        return entropy
    if name == "dist":
        t = terms.temperature
        p = np.array([shares(z, t) for z, _, _ in rows])
        q = np.array([shares(v, t) for _, _, v in rows])
        samples = [np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)]
        classes = [np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)]
        distillation = t * t * (1 - np.mean(samples) + 1 - np.mean(classes))
    else:
        distillation = sum(BY_HAND[name](z, y, v, terms) for z, y, v in rows) / len(rows)
    return (1 - terms.alpha) * entropy + terms.alpha * distillation


@pytest.mark.parametrize("name", [*LOSSES])
@given(
    st.integers(0, 1000), st.floats(0.5, 20), st.floats(0, 1), st.floats(0, 1), st.integers(3, 12)
)
@settings(max_examples=40)
def test_loss_equals_formula_of_its_paper(
    name: str, seed: int, t: float, alpha: float, warm: float, classes: int
) -> None:
    terms = Terms(temperature=t, alpha=alpha, ramp=warm)
    parts = problem(seed, classes)
    found = LOSSES[name](*parts, terms).item()
    assert found == pytest.approx(by_hand(name, *parts, terms), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", [*LOSSES])
def test_gradients_equal_differences_of_loss(name: str) -> None:
    logits, labels, targets = problem(1)
    inputs = (logits.requires_grad_(),)
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, labels, targets, TERMS), inputs)


# Limits


@pytest.mark.parametrize("name", GUIDED)
def test_loss_without_weight_equals_cross_entropy(name: str) -> None:
    logits, labels, targets = problem(2)
    found = LOSSES[name](logits, labels, targets, replace(TERMS, alpha=0.0))
    assert torch.allclose(found, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("name", GUIDED)
def test_distillation_vanishes_for_equal_logits(name: str) -> None:
    _, labels, targets = problem(3)
    found = LOSSES[name](targets, labels, targets, replace(TERMS, alpha=1.0))
    assert found.item() == pytest.approx(0.0, abs=1e-9)


def test_hot_kd_compares_centred_logits() -> None:
    logits, labels, targets = problem(4)
    hot = LOSSES["kd"](logits, labels, targets, Terms(temperature=1e4, alpha=1.0))
    gap = (logits - logits.mean(1, keepdim=True)) - (targets - targets.mean(1, keepdim=True))
    assert torch.allclose(hot, gap.square().sum(1).mean() / (2 * 6), rtol=1e-3)


def test_hot_dist_correlates_the_logits_of_each_sample() -> None:
    """Softmax is linear when hot; over the batch, each sample's mean logit is taken off first."""
    logits, labels, targets = problem(5)
    t = 1e4
    hot = LOSSES["dist"](logits, labels, targets, Terms(temperature=t, alpha=1.0)) / t**2
    a, b = (z - z.mean(1, keepdim=True) for z in (logits, targets))
    rows = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    columns = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    assert hot.item() == pytest.approx(2 - np.mean(rows) - np.mean(columns), rel=1e-3)


def test_hot_dkd_has_closed_form() -> None:
    """KL of the target against the rest, and of the rest, to second order in 1/T."""
    logits, labels, targets = problem(6)
    t = 1e4
    hot = LOSSES["dkd"](logits, labels, targets, Terms(temperature=t, alpha=1.0)).item()
    classes, total = 6, 0.0
    for gap, y in zip((logits - targets).tolist(), labels.tolist(), strict=True):
        rest = [g for i, g in enumerate(gap) if i != y]
        mean = sum(rest) / len(rest)
        binary = (gap[y] - mean) ** 2 * (1 / classes) * (1 - 1 / classes) / 2
        total += binary + 8 * sum((g - mean) ** 2 for g in rest) / (2 * len(rest))
    assert hot == pytest.approx(total / len(labels), rel=1e-3)


def test_kd_std_ignores_scale_of_logits() -> None:
    logits, labels, targets = problem(7)
    terms = Terms(temperature=2.0, alpha=1.0)
    once = LOSSES["kd-std"](logits, labels, targets, terms)
    assert torch.allclose(once, LOSSES["kd-std"](5 * logits - 3, labels, targets / 9 + 1, terms))
    hot = LOSSES["kd-std"](logits, labels, targets, replace(terms, temperature=1e4))
    a, b = ((z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True) for z in (logits, targets))
    assert torch.allclose(hot, (a - b).square().sum(1).mean() / (2 * 6), rtol=1e-3)


def test_loss_warms_up_from_labels() -> None:
    logits, labels, targets = problem(8)
    cold = LOSSES["dkd"](logits, labels, targets, replace(TERMS, ramp=0.0))
    assert torch.allclose(cold, (1 - TERMS.alpha) * F.cross_entropy(logits, labels))
    assert ramp(0, 240) == pytest.approx(1 / 20)
    assert [ramp(epoch, 240) for epoch in (19, 20, 239)] == [1.0, 1.0, 1.0]
    assert ramp(0, 5) == 1.0


def test_kd_ignores_numbers_of_classes_and_samples() -> None:
    """The default mean of KLDivLoss divides by the classes too, and distillation vanishes."""
    logits, targets = torch.randn(4, 6), torch.randn(4, 6)
    labels, terms = torch.zeros(4, dtype=torch.int64), Terms(temperature=4.0, alpha=1.0)
    once = LOSSES["kd"](logits, labels, targets, terms)
    padding = torch.full((4, 94), -1e4)
    wide = LOSSES["kd"](
        torch.cat([logits, padding], 1), labels, torch.cat([targets, padding], 1), terms
    )
    twice = LOSSES["kd"](logits.repeat(2, 1), labels.repeat(2), targets.repeat(2, 1), terms)
    assert torch.allclose(once, wide)
    assert torch.allclose(once, twice)


@pytest.mark.parametrize("name", GUIDED)
def test_loss_of_extreme_logits_and_of_one_sample_stays_finite(name: str) -> None:
    for scale, batch in ((1.0, 1), (300.0, 4), (0.0, 4)):
        logits = (torch.randn(batch, 5) * scale).requires_grad_()
        labels = torch.zeros(batch, dtype=torch.int64)
        value = LOSSES[name](logits, labels, torch.randn(batch, 5) * scale, TERMS)
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["ce", "kd", "kd-std", "dist"])
def test_loss_of_shares_is_the_mean_over_their_classes(name: str) -> None:
    """The cross-entropy is linear in the labels: half of two classes is the mean of both."""
    parts = [problem(seed) for seed in (9, 12)]
    both = []
    for logits, labels, targets in parts:
        other = (labels + 1) % 6
        half = 0.5 * F.one_hot(labels, 6).double() + 0.5 * F.one_hot(other, 6)
        each = [LOSSES[name](logits, one, targets, TERMS) for one in (labels, other)]
        both.append(LOSSES[name](logits, half, targets, TERMS))
        assert torch.allclose(both[-1], sum(each) / 2, rtol=1e-12)
    stacked = (torch.stack(part) for part in zip(*parts, strict=True))
    logits, labels, targets = stacked
    half = 0.5 * F.one_hot(labels, 6).double() + 0.5 * F.one_hot((labels + 1) % 6, 6)
    assert torch.allclose(LOSSES[name](logits, half, targets, TERMS), torch.stack(both))


def test_cross_entropy_needs_no_targets() -> None:
    logits, labels, _ = problem(9)
    expected = -logits.log_softmax(1)[torch.arange(5), labels].mean()
    assert torch.allclose(LOSSES["ce"](logits, labels, None, TERMS), expected)


# Guidance


@pytest.mark.parametrize("name", GUIDED)
def test_dense_loss_equals_mean_over_kept_ancestors(name: str) -> None:
    logits, labels, first = problem(10)
    targets = torch.stack([first, first.flip(0), -first])
    each = [LOSSES[name](logits, labels, target, TERMS) for target in targets]
    for kept in ([1.0, 1, 1], [1, 0, 1], [1, 0, 0]):
        found = dense_loss(LOSSES[name], logits, labels, targets, TERMS, torch.tensor(kept))
        chosen = [value for value, k in zip(each, kept, strict=True) if k]
        assert found.item() == pytest.approx(torch.stack(chosen).mean().item())


def test_gradient_of_dense_loss_equals_its_differences() -> None:
    logits, labels, first = problem(11)
    targets, kept = torch.stack([first, -first]), torch.ones(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: dense_loss(LOSSES["kd"], z, labels, targets, TERMS, kept),
        (logits.requires_grad_(),),
    )


def test_dropping_spares_teacher_and_keeps_rate_of_assistants() -> None:
    kept = kept_ancestors(3, 4000, 0.25, torch.Generator().manual_seed(0))
    assert kept[:, 0].eq(1).all()
    assert kept[:, 1:].mean(0).tolist() == pytest.approx([0.75, 0.75], abs=0.03)
    assert torch.equal(kept, kept_ancestors(3, 4000, 0.25, torch.Generator().manual_seed(0)))
    assert kept_ancestors(3, 50, 0.0, torch.Generator()).eq(1).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_several_models_equal_each_alone(name: str) -> None:
    parts = [problem(seed) for seed in range(3)]
    logits, labels, targets = (torch.stack(p) for p in zip(*parts, strict=True))
    heat = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    found = LOSSES[name](logits, labels, targets, Terms(temperature=heat, alpha=heat / 10))
    assert found.shape == (3,)
    for i, part in enumerate(parts):
        t = float(heat[i])
        alone = LOSSES[name](*part, Terms(temperature=t, alpha=t / 10))
        assert torch.allclose(found[i], alone, rtol=1e-12)


def test_dense_losses_of_several_models_equal_each_alone() -> None:
    parts = [problem(seed) for seed in range(3)]
    logits, labels, first = (torch.stack(p) for p in zip(*parts, strict=True))
    targets = torch.stack([first, -first])
    kept = torch.tensor([[1.0, 1, 1], [1, 0, 1]], dtype=torch.float64)
    found = dense_loss(LOSSES["kd"], logits, labels, targets, TERMS, kept)
    for i, (z, y, _) in enumerate(parts):
        alone = dense_loss(LOSSES["kd"], z, y, targets[:, i], TERMS, kept[:, i])
        assert torch.allclose(found[i], alone, rtol=1e-12)


# The check


@pytest.mark.parametrize("name", ["kd-std", "dist", "dkd"])
def test_check_refuses_losses_that_degenerate_for_two_classes(name: str) -> None:
    with pytest.raises(StudyError, match=f"loss '{name}' should have more than two classes"):
        check_loss(LOSSES[name], name, replace(KD, loss=name), 2)
    check_loss(LOSSES[name], name, replace(KD, loss=name), 3)
    check_loss(LOSSES["kd"], "kd", KD, 2)
