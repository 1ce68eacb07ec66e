"""Weights of classes: scikit-learn's, in every loss, and in the key of a hop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.errors import StudyError
from tasearch.runs.store import Store
from tasearch.train.archive import HopArchive
from tasearch.train.class_weights import class_weights
from tasearch.train.losses import LOSSES, Terms, cross_entropy

LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])


def study(weights: Any) -> Study:
    return parse_study({"training": {"class_weights": weights}})


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    known = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    found = class_weights(study("balanced"), LABELS, 3)
    assert found is not None
    np.testing.assert_allclose(found.numpy(), known, rtol=1e-6)


def test_only_ratios_of_given_weights_count() -> None:
    one, other = (class_weights(study(w), LABELS, 3) for w in ([1, 2, 6], [10, 20, 60]))
    assert one is not None and other is not None
    torch.testing.assert_close(one, other)
    assert float(one[LABELS].mean()) == pytest.approx(1.0)
    assert class_weights(study("none"), LABELS, 3) is None


def test_weights_of_another_number_of_classes_are_refused() -> None:
    rule = "training.class_weights: should have a number for each of the 3 classes, found 2"
    with pytest.raises(StudyError, match=rule):
        class_weights(study([1, 2]), LABELS, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_multiply_the_cross_entropy_alone(name: str) -> None:
    """In each loss, for one model and for several at once."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = (torch.randn(2, 10, 3, generator=generator) for _ in range(2))
    labels, weights = LABELS.expand(2, -1), torch.tensor([0.5, 1.0, 4.0])
    plain = Terms(temperature=2.0, alpha=0.25)
    share = 1.0 if name == "ce" else 0.75
    heavy = replace(plain, class_weights=weights)
    together = LOSSES[name](logits, labels, targets, heavy)
    for i in range(2):
        own = logits[i], labels[i], targets[i]
        each = torch.nn.functional.cross_entropy(*own[:2], reduction="none")
        more = share * ((weights[LABELS] * each).mean() - each.mean())
        torch.testing.assert_close(LOSSES[name](*own, heavy), LOSSES[name](*own, plain) + more)
        torch.testing.assert_close(together[i], LOSSES[name](*own, heavy))


def test_weights_are_in_the_key_of_a_hop_and_the_metric_is_not(tmp_path: Path) -> None:
    """A study without the new keys has the keys of before."""

    def key(**sections: Any) -> str:
        own = parse_study(sections)
        archive = HopArchive(
            study=own,
            data="data",
            family="mlp",
            device="cpu",
            modes={own.teacher.width: Mode(bf16=False, slots=None, shared=False)},
            store=Store(tmp_path),
        )
        recipe = own.teacher_recipe()
        return archive.key(Hop(lineage=(ModelSpec(width=own.teacher.width, recipe=recipe),)))

    plain = key()
    assert key(objective={"metric": "auc"}) == plain
    weighted = {key(training={"class_weights": w}) for w in ("balanced", [1, 2], [2, 1])}
    assert len(weighted | {plain}) == 4
    identity = parse_study({}).identity()
    assert not {"objective.metric", "training.class_weights"} & identity.keys()


def test_weights_of_one_are_the_plain_loss() -> None:
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    terms = Terms(temperature=1.0, alpha=0.0)
    ones = replace(terms, class_weights=torch.ones(3))
    plain = cross_entropy(logits, LABELS, None, terms)
    torch.testing.assert_close(cross_entropy(logits, LABELS, None, ones), plain)
