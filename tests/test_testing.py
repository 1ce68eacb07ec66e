"""The contract suites: what comes along passes them, and what breaks a rule is told which one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from tasearch import testing
from tasearch.errors import DataError, ModelError, StudyError
from tasearch.models import FAMILIES
from tasearch.search.sampler import SAMPLERS
from tasearch.train.losses import LOSSES, Terms, kd
from tasearch.train.metrics import METRICS
from tests.helpers.studies import IMAGES_ONLY, LADDERS

COUNT = iter(range(1000))


@pytest.mark.slow
@pytest.mark.parametrize("family", LADDERS)
def test_check_accepts_families(family: str) -> None:
    shape = (3, 32, 32) if family in IMAGES_ONLY else (1, 8, 8)
    testing.check_family(FAMILIES[family], widths=LADDERS[family][1:], in_shape=shape)


@pytest.mark.parametrize("loss", LOSSES)
def test_check_accepts_losses(loss: str) -> None:
    testing.check_loss_function(LOSSES[loss])


@pytest.mark.parametrize("metric", METRICS)
def test_check_accepts_metrics(metric: str) -> None:
    testing.check_metric_function(METRICS[metric])
    testing.check_metric_function(METRICS[metric], num_classes=2)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (lambda logits, labels: float("inf"), "should be finite"),
        (
            lambda logits, labels: logits.zero_().sum() + labels.sum(),
            "change none of its arguments",
        ),
        (lambda logits, labels: next(COUNT), "the same value twice"),
        (lambda logits, labels: logits[0, 0], "not depend on the order"),
        (
            lambda logits, labels: (logits.argmax(1) != labels).float().mean(),
            "more should be better",
        ),
    ],
)
def test_check_refuses_metrics_that_break_a_rule(
    metric: Callable[[Tensor, Tensor], float], words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        testing.check_metric_function(metric)


def test_check_accepts_source() -> None:
    def load() -> Mapping[str, Any]:
        digits = load_digits()
        return {"x_train": digits.images, "y_train": digits.target}

    testing.check_source(load)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS.keys() - {"ehvi"}))
def test_check_accepts_samplers(sampler: str) -> None:
    testing.check_sampler(SAMPLERS[sampler](None), trials=6)  # type: ignore[arg-type]


class Shared(nn.Module):
    weight = nn.Parameter(torch.ones(64, 10))

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(10, width)
        self.shared = Shared.weight

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.shared


def mute(width: int, **shape: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width))


BROKEN_FAMILIES: dict[str, tuple[Callable[..., nn.Module], type[Exception], str]] = {
    "logits": (mute, ModelError, "logits"),
    "sizes": (
        lambda width, **shape: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        AssertionError,
        "more parameters",
    ),
    "sharing": (lambda width, **shape: Shared(width), AssertionError, "share the memory of"),
    "seed": (
        lambda width, **shape: nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10)
        ).apply(lambda m: m.register_buffer("count", torch.tensor(next(COUNT)))),
        AssertionError,
        "differs between two builds",
    ),
}


@pytest.mark.parametrize("case", BROKEN_FAMILIES)
def test_check_refuses_family_that_breaks_a_rule(case: str) -> None:
    build, error, words = BROKEN_FAMILIES[case]
    with pytest.raises(error, match=words):
        testing.check_family(build, widths=(4, 8))


class Bag(nn.Module):
    """A model of token ids below a number of words."""

    def __init__(self, width: int, classes: int, words: int) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(words, width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out(self.words(x).mean(1))
        return logits


def bags(words: int) -> Callable[..., nn.Module]:
    return lambda width, in_shape, num_classes: Bag(width, num_classes, words)


def test_check_tries_families_of_integers_on_integers() -> None:
    given: dict[str, Any] = {"widths": (4, 8), "in_shape": (6,), "num_classes": 3}
    testing.check_family(bags(words=50), ids=(0, 49), **given)
    with pytest.raises(ModelError, match=r"failed on a batch.*IndexError"):
        testing.check_family(bags(words=49), ids=(0, 49), **given)
    with pytest.raises(ModelError, match="failed on a batch"):
        testing.check_family(bags(words=50), **given)
    for wrong in ({"in_shape": (1, 8, 8), "ids": (0, 49)}, {"ids": (9, 1)}):
        with pytest.raises(AssertionError, match=r"ids should be \(least, greatest\)"):
            testing.check_family(bags(words=50), **given | wrong)


def overwriting(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    assert targets is not None
    targets.mul_(0.5)
    return kd(logits, labels, targets, terms)


def overflowing(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    return (8 * logits).exp().square().mean()


def ordered(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    return (logits.square().mean(1) * torch.arange(len(logits))).sum()


def counting(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
    return logits.square().mean() * next(COUNT)


BROKEN_LOSSES: dict[str, tuple[Any, type[Exception], str]] = {
    "shape": (lambda logits, *rest: logits, StudyError, "scalar"),
    "in place": (overwriting, AssertionError, "change none"),
    "overflow": (overflowing, AssertionError, "finite"),
    "order": (ordered, AssertionError, "order of the samples"),
    "state": (counting, AssertionError, "same value twice"),
    "no gradient": (lambda logits, *rest: logits.sum() * 0, AssertionError, "not be zero"),
}


@pytest.mark.parametrize("case", BROKEN_LOSSES)
def test_check_refuses_loss_that_breaks_a_rule(case: str) -> None:
    loss, error, words = BROKEN_LOSSES[case]
    with pytest.raises(error, match=words):
        testing.check_loss_function(loss)


def test_check_refuses_source_that_breaks_a_rule() -> None:
    with pytest.raises(AssertionError, match="same arrays each time"):
        testing.check_source(
            lambda: {"x_train": np.full((6, 2), next(COUNT)), "y_train": np.arange(6) % 2}
        )
    with pytest.raises(DataError):
        testing.check_source(lambda: {"x_train": np.eye(6)})


def test_check_refuses_sampler_that_breaks_a_rule() -> None:
    with pytest.raises(AssertionError, match="seed and the trials alone"):
        testing.check_sampler(lambda seed: optuna.samplers.RandomSampler(seed=next(COUNT)))

    with pytest.raises(StudyError, match="should return an Optuna sampler, returned int"):
        testing.check_sampler(lambda seed: 3)  # type: ignore[arg-type, return-value]
    with pytest.raises(StudyError, match="should take a seed, raised TypeError"):
        testing.check_sampler(lambda: None)  # type: ignore[arg-type]

    class Broken(optuna.samplers.RandomSampler):
        def sample_relative(self, *args: Any) -> dict[str, Any]:
            raise ValueError("broken")

    with pytest.raises(StudyError, match="broken"):
        testing.check_sampler(lambda seed: Broken(seed=seed))


def test_check_refuses_augmentations_that_differ_or_change_the_shape() -> None:
    x = np.zeros((3, 1, 8, 8), np.uint8)
    testing.check_augmentation(lambda x: x + torch.randint(9, (), dtype=torch.uint8), x)
    with pytest.raises(StudyError, match="made two views with the same seed"):
        testing.check_augmentation(lambda x: x + next(COUNT), x)
    with pytest.raises(StudyError, match=r"should return uint8 of shape \(1, 8, 8\)"):
        testing.check_augmentation(lambda x: x[:, 1:], x)
