"""What a search would do, told before anything is trained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasearch
from tasearch.chains.hop import ModelSpec
from tasearch.data import Dataset, Split, load_data
from tasearch.data.ids import Tokens
from tasearch.runs.manifest import Manifest
from tasearch.search.chain_space import make_space
from tasearch.search.outlook import rules_of, trial_seconds, typical_shape, with_unlabelled
from tests.helpers.studies import tiny
from tests.helpers.texts import text_study

EPOCH_S = {16: 8.0, 12: 4.0, 8: 2.0, 6: 1.0, 4: 0.5, 2: 0.25}


@pytest.fixture(scope="module")
def manifest(finished: tasearch.Run) -> Manifest:
    return finished.manifest


def seconds(manifest: Manifest, trials: int, **changes: Any) -> tuple[float, float]:
    study = tiny(**changes)
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    return trial_seconds(make_space(study, teacher, manifest.measured), EPOCH_S, trials)


def test_direct_chains_cost_their_students(manifest: Manifest) -> None:
    """The teacher is told apart."""
    study = tiny()
    alone = {"assistants": {"max": 0}, "student": {"loss": "kd", "temperature": 4.0}}
    own = sorted(study.student.epochs * EPOCH_S[width] for width in study.student.widths)
    assert seconds(manifest, 1, **alone) == (own[0], own[-1])
    assert seconds(manifest, 100, **alone) == (sum(own), sum(own))


def test_shared_assistants_are_counted_once(manifest: Manifest) -> None:
    """All chains cost less than the sum of each chain on its own."""
    every, same = seconds(manifest, 10_000, assistants={"max": 2})
    assert every == pytest.approx(same)
    one, costliest = seconds(manifest, 1, assistants={"max": 2})
    two, costliest_two = seconds(manifest, 2, assistants={"max": 2})
    assert one < two < every
    assert costliest < costliest_two < 2 * costliest


def test_epochs_take_longer_with_samples_without_labels(manifest: Manifest) -> None:
    part = Split(x=np.eye(4, dtype=np.float32), y=np.arange(4) % 2)
    data = Dataset.from_splits(train=part, validation=part, class_names=("0", "1"))
    assert with_unlabelled(EPOCH_S, manifest, data) == EPOCH_S
    study = tiny(training={"unlabelled_share": 0.75})
    more = replace(data, unlabelled=part.x)
    found = with_unlabelled(EPOCH_S, replace(manifest, study=study), more)
    assert found == {w: s if w == 16 else 4 * s for w, s in EPOCH_S.items()}


def test_time_of_texts_is_that_of_cut_batches(tmp_path: Path) -> None:
    study = text_study(tmp_path)
    data = load_data(study)
    tokens = Tokens(vocabulary=31, pad=0, cls=None, sep=None, length=40)
    few = np.zeros((4, 40), dtype=np.int32)
    few[:, :11] = 5
    few[3, 11:22] = 5
    texts = replace(data, tokens=tokens, train=Split(x=few, y=np.arange(4) % 2))
    assert typical_shape(study, texts) == (16,)  # 13.75 in the mean
    assert typical_shape(study, data) == data.in_shape  # integers that are no texts


def test_rules_are_told_for_students_within_the_budget(manifest: Manifest) -> None:
    found = {rule.student: rule for rule in rules_of(manifest)}
    assert [*found] == [w for w in manifest.study.student.widths if w in manifest.candidates]
    sizes = {width: size.params for width, size in manifest.measured.items()}
    teacher = sizes[manifest.study.teacher.width]
    for width, rule in found.items():
        wider = [w for w in manifest.study.assistants.widths if w > width]
        if not wider:
            assert (rule.law, rule.midpoint) == ((), None)
            continue
        target = math.sqrt(sizes[width] * teacher)
        nearest = min(wider, key=lambda w: abs(math.log(sizes[w] / target)))
        assert rule.midpoint == nearest
        assert all(w in wider for w in rule.law)


def test_no_rule_without_assistants(manifest: Manifest) -> None:
    study = tiny(assistants={"max": 0, "widths": [1_000]})
    rules = [*rules_of(replace(manifest, study=study))]
    assert rules and all(rule.midpoint is None for rule in rules)
