"""Samples without labels beside labelled ones: batches, losses, soft targets and keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.errors import StudyError
from tasearch.train.batches import EpochPlan, batch_shape, epoch_samples
from tasearch.train.loss_check import check_loss
from tasearch.train.losses import LOSSES, Terms
from tests.helpers.clusters import SAMPLES, problem
from tests.helpers.studies import tiny
from tests.helpers.training import close, files, hops, train_all, train_in_parts, trainer

OTHERS = 150  # samples without labels


def digits(folder: Path, *, unlabelled: bool = True, **sections: Any) -> Study:
    """A study of 300 digits with labels, and perhaps 150 without."""
    x, y = load_digits(return_X_y=True)
    arrays = {"x_train": x[:300].astype(np.uint8), "y_train": y[:300]}
    if unlabelled:
        arrays["x_unlabelled"] = x[300 : 300 + OTHERS].astype(np.uint8)
    name = "both.npz" if unlabelled else "labelled.npz"
    np.savez(folder / name, **arrays)
    study = tiny(data={"source": "npz", "path": name}, **sections)
    return study.model_copy(update={"root": str(folder)})


def test_batch_has_fixed_shares_and_an_epoch_is_one_pass_over_the_labelled() -> None:
    state, job = problem(0, batch_size=20, loss="kd")
    job = replace(job, y=job.y[: SAMPLES - 30], unlabelled=0.25)
    labelled, size, steps = batch_shape(20, SAMPLES - 30, 0.25)
    assert (labelled, size, steps) == (15, 20, (SAMPLES - 30) // 15)
    order = epoch_samples(state.recipe, job, 0).view(steps, 20)
    assert bool((order[:, :15] < SAMPLES - 30).all())
    assert len(order[:, :15].unique()) == steps * 15
    others = order[:, 15:].flatten()
    assert int(others.min()) >= SAMPLES - 30
    assert len(others[:30].unique()) == min(30, len(others))  # none twice before all
    assert not torch.equal(order, epoch_samples(state.recipe, job, 1).view(steps, 20))
    assert torch.equal(order, epoch_samples(state.recipe, job, 0).view(steps, 20))
    for i, batch in enumerate(EpochPlan(state.recipe, job, 0).batches()):
        assert torch.equal(batch.labels, job.y[order[i, :15]])
        numbers = job.views.numbers(0)
        assert torch.equal(batch.x, job.views.batch(order[i], numbers))
        assert batch.targets is not None and batch.targets.shape[1] == 20


@pytest.mark.parametrize(("share", "expected"), [(0.001, 1), (0.5, 32), (0.999, 63)])
def test_batch_has_samples_of_both_kinds(share: float, expected: int) -> None:
    assert batch_shape(64, 1000, share)[0] == 64 - expected


@pytest.mark.parametrize("name", ["kd", "kd-std", "dist"])
def test_labels_count_for_labelled_samples_alone(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(2, 2, 6, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[0, 3, 1], [4, 4, 2]])
    terms = Terms(temperature=2.0, alpha=0.6)
    together = LOSSES[name](logits, labels, targets, terms)
    for i in range(2):
        entropy = LOSSES["ce"](logits[i, :3], labels[i], None, terms)
        soft = LOSSES[name](logits[i], labels[i], targets[i], replace(terms, alpha=1.0))
        found = LOSSES[name](logits[i], labels[i], targets[i], terms)
        assert found.item() == pytest.approx((0.4 * entropy + 0.6 * soft).item())
        assert together[i].item() == pytest.approx(found.item())


def test_models_that_learn_from_labels_alone_are_as_without(tmp_path: Path) -> None:
    """The teacher has the same key and the same weights; what it teaches has others."""
    ends = []
    for unlabelled in (True, False):
        study = digits(tmp_path, unlabelled=unlabelled)
        own, lineage = trainer(tmp_path / str(unlabelled), study), hops(study, 6)
        train_all(own, lineage)
        ends.append((own, [own.key(hop) for hop in lineage]))
    (own, (teacher, student)), (other, (same, another)) = ends
    assert teacher == same
    assert student != another
    assert len(own.views[0]) == len(other.views[0]) + OTHERS
    path = f"hops/{teacher}.safetensors"
    assert files(tmp_path / "True")[path] == files(tmp_path / "False")[path]
    half = digits(tmp_path, training={"unlabelled_share": 0.25})
    assert trainer(tmp_path / "half", half).key(hops(half, 6)[1]) not in (student, another)


def test_stored_targets_are_of_samples_without_labels_too(tmp_path: Path) -> None:
    study = digits(tmp_path)
    own, lineage = trainer(tmp_path / "run", study), hops(study, 4)
    train_all(own, lineage[:1])
    found = own._soft_targets(lineage[1])(0)[0][0]
    views = own.views[0]
    with torch.no_grad():
        online = own.nets(lineage[0])[0](views.batch(torch.arange(len(views)), views.numbers(0)))
    assert torch.allclose(found.float(), online, rtol=2**-10, atol=1e-5)
    x = load_digits().data[300 : 300 + OTHERS].astype(np.float32)
    data = load_data(study)
    shown = views.batch(torch.arange(len(views))[-OTHERS:], views.numbers(0))
    assert torch.allclose(shown, torch.tensor((x - data.mean) / data.std), atol=1e-5)


@pytest.mark.parametrize("training", [{}, {"mixup": 0.4, "views": 2}], ids=["plain", "mixup"])
def test_stopped_training_ends_the_same(tmp_path: Path, training: dict[str, Any]) -> None:
    study = digits(tmp_path, training=training)
    lineage = hops(study, 8, 4)
    train_all(trainer(tmp_path / "a", study), lineage)
    train_in_parts(tmp_path / "b", study, lineage, epochs=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("training", [{}, {"mixup": 0.4, "views": 2}], ids=["plain", "mixup"])
def test_stacked_replicates_end_as_each_alone(tmp_path: Path, training: dict[str, Any]) -> None:
    training = {"optimizer": "sgd", "batch_size": 128, **training}
    study = digits(tmp_path, training=training, search={"replicates": 3})
    ends = []
    for mode in ("fp32", "fp32 x3"):
        own, lineage = trainer(tmp_path / mode, study, mode=mode), hops(study, 4)
        train_all(own, lineage)
        saved = own.store.load("hops", own.key(lineage[1]))
        assert saved is not None
        ends.append(saved[0])
    assert close(*ends, 1e-9)


def test_models_with_other_batches_are_not_stacked(tmp_path: Path) -> None:
    study = digits(tmp_path, student={"loss": ["kd", "dist", "ce"]})
    for unlabelled in (True, False):
        study = digits(tmp_path, unlabelled=unlabelled)
        own = trainer(tmp_path / str(unlabelled), study, mode="fp32 x4+")
        *before, model = hops(study, 6)[-1].lineage
        assert model.recipe is not None
        kd, dist, ce = (
            replace(hops(study, 6)[-1], lineage=(*before, replace(model, recipe=recipe)))
            for recipe in (replace(model.recipe, loss=name) for name in ("kd", "dist", "ce"))
        )
        assert own.stacking_key(kd) == own.stacking_key(dist) is not None
        assert (own.stacking_key(kd) == own.stacking_key(ce)) is not unlabelled


def test_losses_that_need_all_labels_are_refused() -> None:
    def own(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
        return torch.nn.functional.cross_entropy(logits, labels)

    recipe = tiny().recipes("student").one_per_loss()[0]
    check_loss(own, "mine:own", recipe, 10)
    check_loss(LOSSES["kd"], "kd", recipe, 10, unlabelled=True)
    with pytest.raises(StudyError, match=r"only the first len\(labels\) samples have labels"):
        check_loss(own, "mine:own", recipe, 10, unlabelled=True)
    with pytest.raises(StudyError, match="'dkd' compares the label of each sample"):
        check_loss(LOSSES["dkd"], "dkd", recipe, 10, unlabelled=True)
