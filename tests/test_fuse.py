"""Pupils side by side as one wide model, against each of them alone."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tasearch.models import Models
from tasearch.train.fuse import CannotFuse, widened
from tasearch.train.loop import train
from tasearch.train.precision import choose_modes, is_bf16, is_fused
from tasearch.train.state import Group, State
from tests.conftest import IMAGES_ONLY, tiny
from tests.test_train import DEVICES, files, hops, image_study, steps, train_all, trainer

SGD = {"optimizer": "sgd", "weight_decay": 1e-3, "batch_size": 128}
ALL = {**SGD, "schedule": "one-cycle", "clip": 0.5, "ema": 0.9}


def close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-4) -> bool:
    return all(
        torch.allclose(t.float(), b[name].float(), rtol=tolerance, atol=tolerance)
        for name, t in a.items()
    )


@pytest.mark.parametrize("family", ["cnn", "mlp", "plain", "resnet"])
@pytest.mark.parametrize("training", [SGD, {**ALL, "views": "flip"}], ids=["sgd", "all"])
@pytest.mark.parametrize("device", DEVICES)
def test_replicates_side_by_side_end_as_they_do_in_turn(
    tmp_path: Path, family: str, training: dict[str, Any], device: str
) -> None:
    """Five steps: sums in another order differ in the last bits, ten times more at each step."""
    if family in IMAGES_ONLY:
        widths = {"teacher": {"width": 8, "epochs": 5}, "student": {"widths": [2]}}
        if family == "resnet":
            widths = {"teacher": {"width": 14, "epochs": 5}, "student": {"widths": [8]}}
        sections: dict[str, Any] = {**widths, "assistants": {"max": 0}}
    else:
        sections = {"teacher": {"epochs": 5}, "student": {"widths": [4]}}
    study = image_study(tmp_path, "none", training=training, search={"replicates": 3}, **sections)
    study = study.model_copy(update={"model": study.model.model_copy(update={"family": family})})
    lineage = hops(study, study.student.widths[0])
    ends = []
    for mode in ("fp32", "fp32 x3"):
        own = trainer(tmp_path / mode, study, device, mode=mode)
        assert own.fuses(lineage[0]) == is_fused(mode)
        train_all(own, lineage[:1])
        ends.append(own.store.load("hops", own.key(lineage[0])))
    (alone, record), (wide, other) = ends[0], ends[1]
    assert {name.partition("/")[0] for name in alone} == {"0", "1", "2"}
    name = next(name for name in alone if name.endswith("weight"))[2:]
    assert not torch.equal(alone[f"0/{name}"], alone[f"1/{name}"])
    assert close(alone, wide, 2e-3)
    assert record.curve == pytest.approx(other.curve, abs=0.03)


def test_other_teachers_recipes_and_seeds_train_side_by_side(tmp_path: Path) -> None:
    """Five candidates of one architecture: each ends as it does alone, from copied weights."""
    study = tiny(
        model={"family": "cnn"},
        training=SGD,
        assistants={"widths": [8, 6]},
        student={
            "widths": [4],
            "loss": ["ce", "kd", "dist"],
            "temperature": [2.0, 8.0],
            "edges": ["serial", "dense"],
        },
    )
    own = trainer(tmp_path, study)
    lineages = [hops(study, 8, 4), hops(study, 6, 4), hops(study, 8, 6, 4), hops(study, 4)]
    for lineage in lineages:
        train_all(own, [hop for hop in lineage[:-1] if not own.store.has(own.key(hop))])
    recipes = [
        {"loss": "kd", "temperature": 2.0},
        {"loss": "dist", "temperature": 8.0, "alpha": 0.5},
        {"loss": "kd", "temperature": 8.0, "edges": "dense", "drop": 0.5},
        {"loss": "ce"},
    ]
    from dataclasses import replace

    from tasearch.chain import Hop

    found = []
    for lineage, recipe in zip(lineages, recipes, strict=True):
        *before, student = lineage[-1].lineage
        assert student.recipe is not None
        pupil = replace(student, recipe=replace(student.recipe, **recipe))
        learning = own.begin(Hop(lineage=(*before, pupil)))
        assert learning is not None
        found.append((learning[0][0], learning[1][0]))
    other = State(copy.deepcopy(found[0][0].net), found[0][0].recipe)
    with torch.no_grad():
        for parameter in other.net.parameters():
            parameter.mul_(0.9)  # another seed
    found.append((other, found[0][1]))
    found.sort(key=lambda pair: pair[0].recipe.loss)
    states, lessons = zip(*found, strict=True)
    alone = [State(copy.deepcopy(state.net), state.recipe) for state in states]
    for state, lesson in zip(alone, lessons, strict=True):
        for _ in train([state], [lesson], fused=False):
            pass
    for _ in train(states, lessons, fused=True):
        pass
    for state, same in zip(states, alone, strict=True):
        assert close(state.net.state_dict(), same.net.state_dict(), 1e-3)
        assert state.curve == pytest.approx(same.curve, abs=0.02)


def test_a_users_own_loss_is_asked_pupil_by_pupil(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch.nn.functional as F\n"
        "def loss(logits, labels, targets, terms):\n"
        "    assert logits.ndim == 2 and targets.shape == logits.shape\n"
        "    return F.cross_entropy(logits, labels) + F.mse_loss(logits, targets)\n"
    )
    study = tiny(
        model={"family": "cnn"},
        training=SGD,
        student={"loss": "mine:loss", "widths": [4]},
        search={"replicates": 2},
    ).model_copy(update={"root": str(tmp_path)})
    ends = []
    for mode in ("fp32", "fp32 x2"):
        own, lineage = trainer(tmp_path / mode, study, mode=mode), hops(study, 4)
        train_all(own, lineage)
        ends.append(own.store.load("hops", own.key(lineage[-1]))[0])
    assert close(*ends, 1e-2)


@pytest.mark.parametrize("training", [{}, ALL], ids=["adamw", "sgd"])
def test_resuming_side_by_side_equals_never_stopping(
    tmp_path: Path, training: dict[str, Any]
) -> None:
    study = tiny(model={"family": "cnn"}, training=training, search={"replicates": 3})
    lineage = hops(study, 4)
    train_all(trainer(tmp_path / "straight", study, mode="fp32 x3"), lineage)
    for hop in lineage:
        for _ in range(20):
            own = trainer(tmp_path / "broken", study, mode="fp32 x3")
            if own.store.has(own.key(hop)):
                break
            epochs = steps(own, hop)
            next(epochs)
            epochs.close()
    assert files(tmp_path / "straight") == files(tmp_path / "broken")


def test_what_a_group_hands_back_is_what_it_took(tmp_path: Path) -> None:
    study = tiny(model={"family": "cnn"}, training={"ema": 0.9})
    recipe = study.recipes("student").firsts()[0]
    states = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5))
        state = State(net, recipe)
        net(torch.randn(4, 2, 4, 4)).square().sum().backward()
        state.optimizer.step()
        states.append(state)
    before = [copy.deepcopy((s.net.state_dict(), s.slots())) for s in states]
    group = Group(states, fused=True)
    with torch.no_grad():
        for state in states:
            for tensor in [*state.flat.tensors, *itertools.chain(*state.slots().values())]:
                tensor.zero_()
    group.hand_back()
    for state, (weights, slots) in zip(states, before, strict=True):
        assert close(state.net.state_dict(), weights, 0.0)
        for name, values in slots.items():
            for value, now in zip(values, state.slots()[name], strict=True):
                assert torch.equal(value, now), name


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), nn.LayerNorm(4), nn.Conv2d(4, 4, 1, padding_mode="reflect")]
)
def test_a_layer_of_unknown_width_is_refused(layer: nn.Module) -> None:
    with pytest.raises(CannotFuse):
        widened(nn.Sequential(nn.Conv2d(4, 4, 1), layer), 2)


MIXING = (
    "import torch\n"
    "from torch import nn\n"
    "class Net(nn.Module):\n"
    "    def __init__(self, width, classes):\n"
    "        super().__init__()\n"
    "        self.one, self.two = nn.Linear(64, width), nn.Linear(width, classes)\n"
    "    def forward(self, x):\n"
    "        h = torch.relu(self.one(x.flatten(1)))\n"
    "        return self.two(h / h.norm(dim=1, keepdim=True).clamp(min=1e-3))\n"
    "def build(width, *, in_shape, num_classes):\n"
    "    return Net(width, num_classes)\n"
)


def modes(tmp_path: Path, family: str, fuse: str, replicates: int = 4) -> dict[int, str]:
    study = tiny(model={"family": family}).model_copy(update={"root": str(tmp_path)})
    models = Models(
        study=study, in_shape=(1, 8, 8), num_classes=10, mean=torch.zeros(1), std=torch.ones(1)
    )
    return choose_modes(
        "fp32",
        fuse,
        models.build,
        (4, 2),
        recipe=study.recipes("student").firsts()[0],
        in_shape=(1, 8, 8),
        device=torch.device("cpu"),
        threads=1,
        replicates=replicates,
    )


def test_modes_are_fused_only_where_asked_and_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose layers are all known, but which mixes its channels, is found out by trying."""
    monkeypatch.setattr("tasearch.train.precision.GAIN", 1e9)  # whatever the time it takes
    (tmp_path / "mixing.py").write_text(MIXING)
    assert modes(tmp_path, "cnn", "auto") == {4: "fp32 x4", 2: "fp32 x4"}
    assert modes(tmp_path, "cnn", "never") == {4: "fp32", 2: "fp32"}
    assert modes(tmp_path, "cnn", "auto", replicates=1) == {4: "fp32", 2: "fp32"}
    assert modes(tmp_path, "mixing:build", "auto") == {4: "fp32", 2: "fp32"}
    monkeypatch.setattr("tasearch.train.precision.GAIN", 0.0)
    assert modes(tmp_path, "cnn", "auto") == {4: "fp32", 2: "fp32"}


def test_the_words_of_modes() -> None:
    assert [is_bf16(m) for m in ("fp32", "bf16", "bf16 x5")] == [False, True, True]
    assert [is_fused(m) for m in ("fp32", "bf16", "bf16 x5")] == [False, False, True]
