"""Mixup in a fixed number of views, by hand and against what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.errors import StudyError
from tasearch.search.prices import price_of_views
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.loss_check import check_loss
from tasearch.train.losses import Terms, cross_entropy
from tasearch.train.mixup import MixedData
from tests.helpers.studies import tiny
from tests.helpers.training import files, hops, image_study, train_all, train_in_parts, trainer

SAMPLES, CLASSES, COUNT = 40, 4, 6


def unit_vectors(alpha: float = 0.4, seed: int = 3) -> MixedData:
    """Mixes of unit vectors, which show what was mixed: sample i is 1 at i, and 0 elsewhere."""
    x = torch.eye(SAMPLES)
    data = AugmentedData(x, torch.zeros(SAMPLES), torch.ones(SAMPLES), AUGMENTATIONS["none"], 0)
    return MixedData(data, SAMPLES, CLASSES, count=COUNT, alpha=alpha, seed=seed)


def all_views(data: MixedData) -> Tensor:
    """(views, samples, features)."""
    samples = torch.arange(SAMPLES)
    return torch.stack([data.views(samples, torch.full((SAMPLES,), n)) for n in range(COUNT)])


def test_view_is_a_mix_of_two_samples_and_so_is_its_label() -> None:
    data, y = unit_vectors(), torch.arange(SAMPLES) % CLASSES
    views = all_views(data)
    assert torch.allclose(views.sum(-1), torch.ones(COUNT, SAMPLES))
    assert int((views > 0).sum(-1).max()) == 2
    assert bool((views.diagonal(dim1=1, dim2=2) > 0).all())  # the sample itself is in each
    partners = views.clone()
    partners.diagonal(dim1=1, dim2=2).zero_()
    assert len(set(partners.argmax(-1).flatten().tolist())) > 30
    samples, numbers = torch.tensor([3, 17, 3]), torch.arange(SAMPLES) % COUNT
    shown = data.batch(samples, numbers)
    assert torch.equal(shown, views[numbers[samples], samples])
    labels = data.labels(y, samples, numbers)
    assert labels.dtype == torch.float32
    assert torch.allclose(labels, shown @ F.one_hot(y, CLASSES).float())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    """Its variance is 1 / (8 alpha + 4); its fourth moment bounds the error of 240 draws."""
    shares = all_views(unit_vectors(alpha)).diagonal(dim1=1, dim2=2).double()
    shares = shares[shares < 1]  # mixed with another sample
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.12)
    assert float(shares.var()) == pytest.approx(1 / (8 * alpha + 4), rel=0.35)


def test_order_of_mixes_depends_on_the_replicate_and_mixes_do_not() -> None:
    data, other = unit_vectors(), unit_vectors(seed=4)
    again = data.reseeded(9)
    assert torch.equal(all_views(data), all_views(again))
    assert not torch.equal(data.numbers(1), again.numbers(1))
    assert not torch.equal(all_views(data), all_views(other))


def test_images_are_mixed_in_their_views(tmp_path: Path) -> None:
    study = image_study(tmp_path, "crop4+flip", training={"mixup": 1.0, "views": 5})
    data = trainer(tmp_path, study).views[0]
    assert isinstance(data, MixedData)
    assert (data.count, data.shape) == (5, (2, 16, 16))
    samples, numbers = torch.arange(7), data.numbers(2)
    batch = data.batch(samples, numbers)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    places = samples * 5 + numbers[samples]
    (one, other), (left, right) = data._parts[:, places], data._numbers[:, places]
    assert torch.equal(one, samples)
    assert len({*left.tolist(), *right.tolist()}) > 5  # among 162
    share = data._shares[places][:, None, None, None]
    parts = [data._data.views(a.long(), b.long()) for a, b in ((one, left), (other, right))]
    assert torch.allclose(batch, share * parts[0] + (1 - share) * parts[1])


def test_stopped_training_on_mixes_ends_the_same(tmp_path: Path) -> None:
    study = tiny(training={"mixup": 0.3, "views": 3})
    lineage = hops(study, 8, 4)
    train_all(trainer(tmp_path / "a", study), lineage)
    train_in_parts(tmp_path / "b", study, lineage, epochs=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    plain = trainer(tmp_path / "c")
    assert plain.key(lineage[0]) != trainer(tmp_path / "a", study).key(lineage[0])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"mixup": 0.2}}, "training.views: is required with training.mixup"),
        (
            {"training": {"mixup": 0.2, "views": 4}, "student": {"loss": ["kd", "dkd"]}},
            "student.loss: 'dkd' compares the label's class with the others, and a mix has two",
        ),
        (
            {"training": {"mixup": 0.2, "views": 4}, "teacher": {"outputs": "logits"}},
            "training.mixup: should be left out with teacher.outputs",
        ),
        ({"training": {"mixup": 0.0}}, "training.mixup: should be greater than 0"),
    ],
)
def test_rules_of_keys(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(sections)
    assert message in str(caught.value)


@pytest.mark.parametrize(("views", "passes"), [(3, 3), (500, 4)])
def test_price_is_told(views: int, passes: int) -> None:
    """No model sees more mixes of a sample than it has epochs."""
    study = tiny(training={"mixup": 0.3, "views": views})
    assert max(study.student.epochs, study.assistants.epochs) == 4
    (notice,) = price_of_views(study, load_data(study), 0.0)
    assert notice.startswith(f"training.mixup: each sample has {views} mixes")
    assert f"soft targets up to {passes} times, not once" in notice
    assert not [*price_of_views(tiny(), load_data(study), 0.0)]


def test_own_loss_that_takes_classes_alone_is_refused() -> None:
    def picked(logits: Tensor, labels: Tensor, targets: Tensor | None, terms: Terms) -> Tensor:
        return -logits.log_softmax(1).gather(1, labels[:, None]).mean()

    recipe = tiny().recipes("student").one_per_loss()[0]
    check_loss(picked, "mine:picked", recipe, 10)
    check_loss(cross_entropy, "ce", recipe, 10, shares=True)
    with pytest.raises(StudyError, match=r"raised RuntimeError.*; with training\.mixup labels are"):
        check_loss(picked, "mine:picked", recipe, 10, shares=True)
