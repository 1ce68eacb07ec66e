"""Online teachers, and views that are drawn anew in each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.chains.hop import Hop
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.errors import StudyError, TrainingError
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.batches import EpochPlan
from tasearch.train.online import OnlineTeachers
from tasearch.train.redrawn import RedrawnData, RedrawnMixes
from tasearch.train.trainer import Trainer
from tests.helpers.studies import tiny
from tests.helpers.training import (
    files,
    hops,
    image_study,
    steps,
    train_all,
    train_in_parts,
    trainer,
)

ONLINE = {"teacher": "online"}
MINE = """
import torch

def dimmed(x):
    return (x * torch.rand(())).to(x.dtype)
"""


def drawing(folder: Path, text: str = MINE, **sections: Any) -> Study:
    """A study of images whose augmentation, of the user's, draws in each epoch anew."""
    (folder / "mine.py").write_text(text)
    training = {**ONLINE, **sections.pop("training", {})}
    study = image_study(folder, "mine:dimmed", training=training, **sections)
    plugins.new_run()  # another test's module may have the same name
    plugins.resolve("mine:dimmed", {}, path="training.augment", root=study.root)
    return study


def logits_of_epochs(own: Trainer, student: Hop, epochs: int) -> list[Tensor]:
    """What teaches a model in its first epochs, batch by batch."""
    found = own.begin(student)
    assert found is not None
    plans = [EpochPlan(found[0][0].recipe, found[1][0], epoch) for epoch in range(epochs)]
    batches = (batch.targets for plan in plans for batch in plan.batches())
    return [targets for targets in batches if targets is not None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "student",
    [{}, {"guidance": "dense"}, {"teacher_epoch": "progressive"}],
    ids=["serial", "dense", "progressive"],
)
@pytest.mark.parametrize("augment", ["none", "crop4+flip"])
def test_online_logits_are_the_cached_ones_up_to_16_bits(
    tmp_path: Path, augment: str, student: dict[str, Any]
) -> None:
    """With the same teacher and assistant, in each batch of three epochs."""
    study = image_study(tmp_path, augment, student=student)
    training = study.training.model_copy(update=ONLINE)
    cached = trainer(tmp_path / "run", study)
    online = trainer(tmp_path / "run", study.model_copy(update={"training": training}))
    *before, last = hops(study, 8, 4)
    train_all(cached, before)
    online.setting = cached.setting  # the same keys, so that it reads the same ancestors
    stored = [*(tmp_path / "run").rglob("*")]
    asked = logits_of_epochs(online, last, 3)
    assert [*(tmp_path / "run").rglob("*")] == stored
    known = logits_of_epochs(cached, last, 3)
    assert len(asked) == len(known) > 3
    for ours, theirs in zip(asked, known, strict=True):
        assert ours.dtype == torch.float32
        assert len(ours) == (2 if "guidance" in student else 1)
        assert torch.allclose(ours, theirs, rtol=2**-10, atol=1e-4)


def test_key_tells_whether_a_model_has_an_online_teacher(tmp_path: Path) -> None:
    studies = tiny(), tiny(training=ONLINE)
    (cached, online) = (trainer(tmp_path, study) for study in studies)
    first, *distilled = hops(studies[0], 8, 4)
    assert cached.key(first) == online.key(first)  # it learns from labels, in the same views
    for hop in distilled:
        assert cached.key(hop) != online.key(hop)
    drawn = trainer(tmp_path, tiny(training={**ONLINE, "mixup": 0.2}))
    assert drawn.key(first) != cached.key(first)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fp32", "fp32 x2"])
@pytest.mark.parametrize("training", [{}, {"mixup": 0.4}], ids=["views", "mixes"])
def test_stopped_training_with_an_online_teacher_ends_the_same(
    tmp_path: Path, training: dict[str, Any], mode: str
) -> None:
    study = drawing(tmp_path, training=training, search={"replicates": 2})
    lineage = hops(study, 8, 4)
    train_all(trainer(tmp_path / "a", study, mode=mode), lineage)
    train_in_parts(tmp_path / "b", study, lineage, 1, mode)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_view_depends_on_seed_epoch_and_sample_alone(tmp_path: Path) -> None:
    study = drawing(tmp_path)
    data = load_data(study)
    own = trainer(tmp_path / "run", study).views[0]
    assert isinstance(own, RedrawnData)
    assert own.on_host
    assert (len(own), own.shape) == (len(data.train), (2, 16, 16))
    first, second = (own.numbers(own.phase(epoch)) for epoch in (0, 1))
    all_ = own.batch(torch.arange(20), first)
    assert torch.equal(own.batch(torch.tensor([7, 3, 7]), first), all_[[7, 3, 7]])
    assert not torch.equal(own.batch(torch.arange(20), second), all_)
    other, again = own.reseeded(5), own.reseeded(5)
    assert torch.equal(other.batch(torch.arange(20), first), again.batch(torch.arange(20), first))
    assert not torch.equal(other.batch(torch.arange(20), first), all_)
    raw = all_ * torch.tensor(data.std) + torch.tensor(data.mean)
    shares = raw.flatten(1).sum(1) / torch.tensor(data.train.x[:20]).float().flatten(1).sum(1)
    assert len(set(shares.tolist())) > 15
    assert float(shares.max()) <= 1.0
    assert bool((raw <= torch.tensor(data.train.x[:20]) + 1e-3).all())


def test_mixes_of_an_epoch_are_of_two_samples_with_their_labels() -> None:
    data = AugmentedData(torch.eye(40), torch.zeros(40), torch.ones(40), AUGMENTATIONS["none"], 0)
    mixes = RedrawnMixes(data, 30, 4, alpha=0.5, seed=3)
    y, samples = torch.arange(30) % 4, torch.arange(40)
    epochs = [mixes.numbers(mixes.phase(epoch)) for epoch in range(8)]
    shown = torch.stack([mixes.batch(samples, numbers) for numbers in epochs])
    assert torch.allclose(shown.sum(-1), torch.ones(8, 40))
    assert int((shown > 0).sum(-1).max()) == 2
    assert float(shown[:, :30, 30:].max()) == 0.0  # a labelled sample is mixed with such alone
    assert len({tuple(row) for row in shown[:, 5].tolist()}) == 8
    for numbers, views in zip(epochs, shown, strict=True):
        labels = mixes.labels(y, samples[:30], numbers)
        assert torch.allclose(labels, views[:30, :30] @ F.one_hot(y, 4).float())
    assert torch.equal(mixes.reseeded(4).numbers(2), mixes.reseeded(4).numbers(2))
    assert not torch.equal(mixes.reseeded(4).numbers(2), mixes.numbers(2))


def test_logits_do_not_depend_on_the_other_batches_of_a_call() -> None:
    torch.manual_seed(0)
    teachers = OnlineTeachers((torch.nn.Linear(7, 3), torch.nn.Linear(7, 3)))
    x = torch.randn(30, 7)
    whole = teachers.logits(x, 5)
    assert whole.shape == (2, 30, 3)
    assert not whole.requires_grad
    for start in range(0, 30, 5):
        part = teachers.logits(x[start : start + 5], 5)
        assert torch.equal(part, whole[:, start : start + 5])


def test_function_that_fails_in_training_fails_its_hop(tmp_path: Path) -> None:
    late = MINE.replace("return", "if torch.rand(()) < 0.05:\n        raise KeyError\n    return")
    study = drawing(tmp_path, late)
    (teacher,) = hops(study, 4)[:1]
    own = trainer(tmp_path / "run", study)
    assert own.uses_user_code(teacher)
    with pytest.raises(TrainingError, match=r"'mine:dimmed' of sample [0-9]+ raised KeyError"):
        [*steps(own, teacher)]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"training": {**ONLINE, "mixup": 0.2, "views": 4}},
            'training.views: should be left out with training.teacher = "online", which draws in '
            "each epoch anew, found 4",
        ),
        (
            {"training": ONLINE, "teacher": {"outputs": "logits"}},
            'training.teacher: should be "cached" with teacher.outputs: there is no model to call',
        ),
        (
            {"training": ONLINE, "student": {"loss": "ce"}, "assistants": {"max": 0}},
            "training.teacher: should be left out where every loss is 'ce': no model is taught",
        ),
        (
            {"training": {"mixup": 0.2}},
            'training.views: is required with training.mixup, unless training.teacher = "online"',
        ),
        ({"training": {"teacher": "cache"}}, "training.teacher: should be"),
    ],
)
def test_rules_of_keys(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(sections)
    assert message in str(caught.value)
