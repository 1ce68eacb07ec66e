"""Metrics equal scikit-learn's, and what is not defined is refused before training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor

from tasearch.config import plugins
from tasearch.errors import StudyError, TrainingError
from tasearch.train.metrics import METRICS, check_metric, score_function, standard_error, top_k

MINE = """
def error(logits, labels):
    return float((logits.argmax(1) != labels).float().mean())

def right(logits, labels):
    return 1 - error(logits, labels)

def nan(logits, labels):
    return float("nan")

def raises(logits, labels):
    raise ValueError("no cost of this class")

def text(logits, labels):
    return "good"

def changes(logits, labels):
    value = right(logits, labels)
    logits.zero_()
    labels.zero_()
    return value
def booleans(logits, labels):
    return (logits.argmax(dim=1) == labels).mean()
def arrays(logits, labels):
    return (logits.argmax(dim=1) == labels.astype(int)).mean()
def hits(logits, labels):
    return (logits.argmax(dim=1) == labels).sum()
def all_right(logits, labels):
    return (logits.argmax(dim=1) == labels).all()
"""


def drawn(seed: int, *, classes: int, samples: int = 60, ties: bool = False) -> tuple[Tensor, ...]:
    """Logits and labels, each class with a sample, the last one rare."""
    generator = np.random.default_rng(seed)
    share = np.array([*[3.0] * (classes - 1), 1.0])
    labels = generator.choice(classes, samples, p=share / share.sum())
    labels[:classes] = range(classes)
    logits = generator.normal(size=(samples, classes)) + 1.2 * np.eye(classes)[labels]
    if ties:
        logits = logits.round()
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(labels)


def reference(name: str, logits: Tensor, labels: Tensor) -> float:
    """What scikit-learn says."""
    predicted, p = logits.argmax(1), logits.double().softmax(1).numpy()
    if name == "accuracy":
        return float(sk.accuracy_score(labels, predicted))
    if name == "balanced-accuracy":
        return float(sk.balanced_accuracy_score(labels, predicted))
    if name == "macro-f1":
        return float(sk.f1_score(labels, predicted, average="macro"))
    if name == "auc":
        if p.shape[1] == 2:
            return float(sk.roc_auc_score(labels, logits[:, 1] - logits[:, 0]))
        logs = logits.double().log_softmax(1)  # softmax would round ties apart
        return float(
            np.mean([sk.roc_auc_score(labels == i, logs[:, i]) for i in range(p.shape[1])])
        )
    return -float(sk.log_loss(labels, p))


@pytest.mark.parametrize("name", METRICS)
@given(seed=st.integers(0, 10_000), classes=st.sampled_from([2, 3, 5]), ties=st.booleans())
def test_metric_equals_that_of_scikit_learn(name: str, seed: int, classes: int, ties: bool) -> None:
    logits, labels = drawn(seed, classes=classes, ties=ties)
    found = METRICS[name](logits, labels)
    assert found.dtype == torch.float64 and found.shape == ()
    assert float(found) == pytest.approx(reference(name, logits, labels), abs=1e-12)


@given(seed=st.integers(0, 10_000), classes=st.sampled_from([3, 5]))
def test_auc_of_several_classes_is_one_vs_rest(seed: int, classes: int) -> None:
    logits, labels = drawn(seed, classes=classes)
    p = logits.double().softmax(1).numpy()
    known = sk.roc_auc_score(labels, p, multi_class="ovr")
    assert float(METRICS["auc"](logits, labels)) == pytest.approx(float(known), abs=1e-12)


@given(seed=st.integers(0, 10_000), k=st.sampled_from([2, 3, 4]), ties=st.booleans())
def test_top_k_equals_that_of_scikit_learn(seed: int, k: int, ties: bool) -> None:
    logits, labels = drawn(seed, classes=5, ties=ties)
    known = sk.top_k_accuracy_score(labels, logits.numpy(), k=k)
    assert float(top_k(logits, labels, k=k)) == known
    assert float(score_function(f"top-{k}", ".")(logits, labels)) == known


def test_metrics_tell_the_majority_guess_from_a_classifier() -> None:
    labels = torch.tensor([0] * 95 + [1] * 5)
    majority = torch.tensor([[3.0, 0.0]]).repeat(100, 1)
    found = {name: float(score(majority, labels)) for name, score in METRICS.items()}
    assert found["accuracy"] == 0.95
    assert found["balanced-accuracy"] == found["auc"] == 0.5
    assert found["macro-f1"] < 0.5


def test_likelihood_of_vast_logits_is_finite() -> None:
    logits, labels = torch.tensor([[1e30, -1e30]]), torch.tensor([1])
    assert float(METRICS["nll"](logits, labels)) == pytest.approx(-2e30)


@pytest.mark.parametrize("name", METRICS)
def test_standard_error_is_the_spread_over_fresh_samples(name: str) -> None:
    score = METRICS[name]
    told = np.mean([standard_error(score, *drawn(i, classes=3, samples=300)) for i in range(10)])
    fresh = [float(score(*drawn(100 + i, classes=3, samples=300))) for i in range(200)]
    assert told == pytest.approx(np.std(fresh), rel=0.25)
    again = [standard_error(score, *drawn(0, classes=3)) for _ in range(2)]
    assert again[0] == again[1]


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A root with metrics of a user's."""
    (tmp_path / "mine.py").write_text(MINE)
    plugins.new_run()
    return str(tmp_path)


def test_own_metric_is_called_with_tensors_of_its_own(mine: str) -> None:
    logits, labels = drawn(0, classes=3)
    kept = logits.clone(), labels.clone()
    score = score_function("mine:changes", mine)
    assert float(score(logits, labels)) == pytest.approx(float(METRICS["accuracy"](*kept)))
    assert torch.equal(logits, kept[0]) and torch.equal(labels, kept[1])
    assert math.isnan(score(torch.full((2, 3), torch.inf), torch.tensor([0, 1])))
    bounds = check_metric("mine:right", score_function("mine:right", mine), labels, "abc")
    assert bounds == (pytest.approx(float((labels == 0).double().mean())), 1.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("error", r"more should be better, but perfect predictions give 0 and equal logits 0\.\d+"),
        ("nan", "should give a finite number, gave nan"),
        ("raises", "raised ValueError: no cost of this class"),
        ("text", "raised ValueError: could not convert string to float"),
        ("booleans", r"Got: Bool; .* are torch tensors: write \.float\(\) before \.mean\(\)$"),
        ("arrays", r"no attribute 'astype'; .* are torch tensors: \.numpy\(\) makes an array"),
    ],
)
def test_wrong_own_metric_is_refused(mine: str, name: str, words: str) -> None:
    score, (_, labels) = score_function(f"mine:{name}", mine), drawn(0, classes=3)
    with pytest.raises(StudyError, match=f"^objective.metric: .*{words}"):
        check_metric(f"mine:{name}", score, labels, "abc")
    if name != "error":
        with pytest.raises(TrainingError, match=words):
            score(*drawn(0, classes=3))


def test_own_metric_may_return_any_tensor_of_one_number(mine: str) -> None:
    logits, labels = drawn(0, classes=3)
    for name in ("hits", "all_right"):
        score = score_function(f"mine:{name}", mine)
        assert score(logits, labels).dtype == torch.float64
    assert float(score(30.0 * torch.nn.functional.one_hot(labels, 3), labels)) == 1


def test_refusal_of_a_metric_has_no_chain_of_errors(mine: str) -> None:
    labels = torch.tensor([0, 1, 2])
    for name, own in (("booleans", type(None)), ("raises", ValueError)):
        with pytest.raises(StudyError) as error:
            check_metric(f"mine:{name}", score_function(f"mine:{name}", mine), labels, "abc")
        cause = error.value.__cause__
        assert isinstance(cause, own) and error.value.__suppress_context__
        assert cause is None or cause.__cause__ is None


@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1", "auc"])
def test_class_without_validation_samples_is_refused(name: str) -> None:
    rule = f"objective.metric: '{name}' needs samples of every class .* class 'rare' has none"
    with pytest.raises(StudyError, match=rule):
        check_metric(name, METRICS[name], torch.tensor([0, 0, 0]), ("usual", "rare"))
    assert check_metric(name, METRICS[name], torch.tensor([0, 1]), ("usual", "rare")) is None


def test_top_k_of_too_few_classes_is_refused() -> None:
    with pytest.raises(StudyError, match="always 100 % of 3 classes: it needs more classes than 3"):
        check_metric("top-3", score_function("top-3", "."), torch.tensor([0, 1, 2]), "abc")
