"""Models stacked as one, against each of them alone."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode, modes_as_text
from tasearch.config.study import Study
from tasearch.models import Models
from tasearch.pareto.skyline import Threshold
from tasearch.runs.events import EpochDone, HopEnded, HopStarted
from tasearch.train.fast.autotuning import choose_modes
from tasearch.train.fast.group import Group
from tasearch.train.fast.memory import Memory
from tasearch.train.fast.stacked_loop import train_models
from tasearch.train.fast.stacking import CannotStack, stacked_model
from tasearch.train.loop import train
from tasearch.train.state import State
from tasearch.train.tasks import Task, train_hops
from tasearch.train.trainer import Trainer
from tests.helpers.studies import IMAGES_ONLY, tiny
from tests.helpers.training import (
    DEVICES,
    close,
    files,
    hops,
    image_study,
    steps,
    train_all,
    trainer,
)

SGD = {"optimizer": "sgd", "weight_decay": 1e-3, "batch_size": 128}
ALL = {**SGD, "schedule": "one-cycle", "clip": 0.5, "ema": 0.9}


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize(
    "family",
    [
        "cnn",
        "mlp",
        pytest.param("mobile", marks=pytest.mark.slow),
        pytest.param("plain", marks=pytest.mark.slow),
        pytest.param("resnet", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "training",
    [
        SGD,
        {**ALL, "augment": "flip"},
        pytest.param({**SGD, "mixup": 0.4, "views": 3}, marks=pytest.mark.slow),
    ],
    ids=["sgd", "all", "mixup"],
)
@pytest.mark.parametrize("device", DEVICES)
def test_stacked_replicates_end_as_each_alone(
    tmp_path: Path, family: str, training: dict[str, Any], device: str
) -> None:
    """Five steps: sums in another order differ in float64's 16th digit, and ten times more each."""
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
        assert own.mode(lineage[0]).slots == (3 if mode.endswith("x3") else None)
        train_all(own, lineage[:1])
        ends.append(own.store.load("hops", own.key(lineage[0])))
    (alone, record), (wide, other) = ends[0], ends[1]
    assert {name.partition("/")[0] for name in alone} == {"0", "1", "2"}
    name = next(name for name in alone if name.endswith("weight"))[2:]
    assert not torch.equal(alone[f"0/{name}"], alone[f"1/{name}"])
    assert close(alone, wide, 1e-9)
    assert record.curve == pytest.approx(other.curve, abs=0.03)


@pytest.mark.slow
@pytest.mark.usefixtures("in_double")
def test_stacked_models_may_differ_in_teacher_recipe_and_seed(tmp_path: Path) -> None:
    """Five candidates of one architecture: each ends as it does alone, from copied weights."""
    study = tiny(
        model={"family": "cnn"},
        training=SGD,
        assistants={"widths": [8, 6]},
        student={
            "widths": [4],
            "loss": ["ce", "kd", "dist"],
            "temperature": [2.0, 8.0],
            "guidance": ["serial", "dense"],
        },
    )
    own = trainer(tmp_path, study)
    lineages = [hops(study, 8, 4), hops(study, 6, 4), hops(study, 8, 6, 4), hops(study, 4)]
    for lineage in lineages:
        train_all(own, [hop for hop in lineage[:-1] if not own.store.has(own.key(hop))])
    recipes = [
        {"loss": "kd", "temperature": 2.0},
        {"loss": "dist", "temperature": 8.0, "alpha": 0.5},
        {"loss": "kd", "temperature": 8.0, "guidance": "dense", "teacher_dropout": 0.5},
        {"loss": "ce"},
    ]
    found = []
    for lineage, recipe in zip(lineages, recipes, strict=True):
        *before, student = lineage[-1].lineage
        assert student.recipe is not None
        model = replace(student, recipe=replace(student.recipe, **recipe))
        learning = own.begin(Hop(lineage=(*before, model)))
        assert learning is not None
        found.append((learning[0][0], learning[1][0]))
    other = State(copy.deepcopy(found[0][0].net), found[0][0].recipe)
    with torch.no_grad():
        for parameter in other.net.parameters():
            parameter.mul_(0.9)  # another seed
    found.append((other, found[0][1]))
    found.sort(key=lambda pair: pair[0].recipe.loss)
    states, jobs = zip(*found, strict=True)
    alone = [State(copy.deepcopy(state.net), state.recipe) for state in states]
    for state, job in zip(alone, jobs, strict=True):
        for _ in train(state, job):
            pass
    for _ in train_models(states, jobs, slots=4):
        pass
    for state, same in zip(states, alone, strict=True):
        assert close(state.net.state_dict(), same.net.state_dict(), 1e-9)
        assert state.curve == pytest.approx(same.curve, abs=0.02)


# Hops that share a stacked model


RECIPES = [
    {"loss": "ce"},
    {"loss": "kd", "temperature": 2.0},
    {"loss": "kd", "temperature": 8.0, "alpha": 0.5},
    {"loss": "dist"},
    {"loss": "dkd", "guidance": "dense", "teacher_dropout": 0.5},
    {"loss": "kd-std"},
]


def many_recipes(**sections: Any) -> Study:
    """A study of all those recipes."""
    student = {
        "widths": [4, 3],
        "loss": sorted({recipe["loss"] for recipe in RECIPES}),
        **sections.pop("student", {}),
    }
    content: dict[str, Any] = {"model": {"family": "cnn"}, "assistants": {"widths": [8, 6]}}
    return tiny(**{**content, **sections}, student=student)


def student_hops(
    study: Study, width: int, recipes: Sequence[dict[str, Any]] = RECIPES
) -> list[Hop]:
    """Students of one width under several chains, with several recipes."""
    found = []
    for chain, recipe in zip(itertools.cycle([(8,), (6,), (8, 6), ()]), recipes, strict=False):
        *before, student = hops(study, *chain, width)[-1].lineage
        assert student.recipe is not None
        model = replace(student, recipe=replace(student.recipe, **recipe))
        lineage = (*before, model) if model.distilled else (model,)
        found.append(Hop(lineage=lineage))
    return found


def train_ancestors(own: Trainer, students: Sequence[Hop]) -> None:
    for hop in students:
        for end in range(1, len(hop.lineage)):
            ancestor = Hop(lineage=hop.lineage[:end])
            if not own.store.has(own.key(ancestor)):
                train_all(own, [ancestor])


def tasks(own: Trainer, students: Sequence[Hop]) -> list[Task]:
    return [Task(key=own.key(hop), hop=hop) for hop in students]


def outcomes(messages: Iterator[Any]) -> dict[str, HopEnded]:
    """How each hop ended, by key."""
    return {m.key: m for m in messages if isinstance(m, HopEnded)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "training"),
    [
        ("cnn", {}),
        ("cnn", {**ALL, "batch_size": 51}),
        ("cnn", {"teacher": "online", "augment": "flip", "batch_size": 51}),
        ("mlp", {}),
        ("mlp", ALL),
        ("mlp", {"teacher": "online"}),
    ],
)
def test_shared_model_changes_no_bit_of_a_hop(
    tmp_path: Path, family: str, training: dict[str, Any]
) -> None:
    """Six recipes under four chains: one by one, in pairs, and all in another order."""
    study = many_recipes(model={"family": family}, training=training)
    students = student_hops(study, 3)
    ways = {
        "one by one": [[hop] for hop in students],
        "in pairs": [students[i : i + 2] for i in (4, 0, 2)],
        "all": [students[::-1]],
    }
    ends = []
    for way, groups in ways.items():
        own = trainer(tmp_path / way, study, mode="fp32 x8+")
        train_ancestors(own, students)
        for group in groups:
            assert len({own.stacking_key(hop) for hop in group}) == 1
            ended = outcomes(train_hops(own, tasks(own, group)))
            assert [end.outcome for end in ended.values()] == ["complete"] * len(group)
        ends.append(files(tmp_path / way))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.slow
def test_replicates_of_several_hops_share_a_stacked_model(tmp_path: Path) -> None:
    study = many_recipes(model={"family": "mlp"}, search={"replicates": 3})
    students = student_hops(study, 4)[:3]
    ends = []
    for way, groups in (("alone", [[hop] for hop in students]), ("together", [students])):
        own = trainer(tmp_path / way, study, mode="fp32 x4+")
        train_ancestors(own, students)
        for group in groups:
            outcomes(train_hops(own, tasks(own, group)))
        ends.append(files(tmp_path / way))
    assert ends[0] == ends[1]


@pytest.mark.slow
def test_stopped_hop_leaves_the_others_unchanged(tmp_path: Path) -> None:
    """One stops at its second rung; it has read no more targets than alone, and goes on later."""
    study = many_recipes(model={"family": "mlp"})
    students = student_hops(study, 3)[1:4]
    own = trainer(tmp_path / "together", study, mode="fp32 x8+")
    train_ancestors(own, students)
    group = tasks(own, students)
    threshold = Threshold(gain=0.0, margin=0.0, skyline=2.0)
    group[1] = replace(group[1], thresholds=(None, threshold, None))
    ended = outcomes(train_hops(own, group))
    assert [ended[t.key].outcome for t in group] == ["complete", "stopped", "complete"]
    assert [ended[t.key].epoch for t in group] == [4, 2, 4]
    assert own.stacking_key(students[1]) != own.stacking_key(
        students[0]
    )  # not at one epoch any more
    train_all(own, [students[1]])
    alone = trainer(tmp_path / "alone", study, mode="fp32 x8+")
    train_ancestors(alone, students)
    train_all(alone, students)
    assert files(tmp_path / "together") == files(tmp_path / "alone")


@pytest.mark.slow
def test_failing_model_leaves_the_others_unchanged(tmp_path: Path) -> None:
    """The middle one's loss is no number in its third epoch, which is no rung."""
    (tmp_path / "bad.py").write_text(
        "from torch.nn.functional import cross_entropy\n"
        "calls = 0\n"
        "def loss(logits, labels, targets, terms):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    return cross_entropy(logits, labels) * (float('nan') if calls > 40 else 1)\n"
    )
    study = many_recipes(
        model={"family": "mlp"},
        student={"loss": ["kd", "dist", "bad:loss"]},
        search={"rungs": 2},
    ).model_copy(update={"root": str(tmp_path)})
    recipes = [{"loss": "kd"}, {"loss": "bad:loss"}, {"loss": "dist"}]
    students = student_hops(study, 3, recipes)
    own = trainer(tmp_path / "together", study, mode="fp32 x8+")
    train_ancestors(own, students)
    group = tasks(own, students)
    ended = outcomes(train_hops(own, group))
    assert [ended[t.key].outcome for t in group] == ["complete", "failed", "complete"]
    assert ended[group[1].key].reason.startswith(
        f"hop {students[1].label}: the loss became nan in epoch 3 of 4 (loss 'bad:loss', "
    )
    alone = trainer(tmp_path / "alone", study, mode="fp32 x8+")
    train_ancestors(alone, students)
    train_all(alone, [students[0], students[2]])
    for name, content in files(tmp_path / "alone").items():
        assert files(tmp_path / "together")[name] == content


def narrow(folder: Path, error: str, **sections: Any) -> Study:
    """A study whose models raise in their third epoch where more than two models share one, unless
    STEPS is in the environment."""
    (folder / "narrow.py").write_text(
        "import os, torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width, classes):\n"
        "        super().__init__()\n"
        "        self.flat = nn.Flatten()\n"
        "        self.one, self.two = nn.Linear(64, width), nn.Linear(width, classes)\n"
        "        self.steps = 0\n"
        "    def forward(self, x):\n"
        "        self.steps += self.training and x.shape[1] > 2\n"
        "        if self.steps > int(os.environ.get('STEPS', 40)):\n"
        f"            raise {error}\n"
        "        return self.two(torch.relu(self.one(self.flat(x))))\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return Net(width, num_classes)\n"
    )
    study = many_recipes(model={"family": "narrow:build"}, **sections)
    return study.model_copy(update={"root": str(folder)})


def test_failing_group_continues_in_two_halves(tmp_path: Path) -> None:
    study = narrow(tmp_path, "ValueError('bad')")
    students = student_hops(study, 4)[:3]
    own = trainer(tmp_path / "together", study, mode="fp32 x1+")
    train_ancestors(own, students)
    messages = list(train_hops(own, tasks(own, students)))
    ended = outcomes(iter(messages))
    assert [end.outcome for end in ended.values()] == ["complete"] * 3
    begun = [m.epoch for m in messages if isinstance(m, HopStarted)]
    assert begun == [0, 0, 0, 2, 2, 2]  # from the last rung
    epochs = [m.epoch for m in messages if isinstance(m, EpochDone)]
    assert sorted(epochs) == sorted([1, 2, 3, 4] * 3)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize(("mode", "tried"), [("fp32 x5", (5, 3)), ("fp32 x2+", (6, 4))])
def test_short_memory_halves_the_stacked_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, tried: tuple[int, int]
) -> None:
    """From the last rung; where the mode is open, to the same bits."""
    study = narrow(tmp_path, "torch.OutOfMemoryError('full')", search={"replicates": 5})
    (teacher,) = hops(study, 4)[:1]
    said: list[str] = []
    own = trainer(tmp_path / "short", study, mode=mode)
    own.memory = Memory(said.append)
    messages = list(train_hops(own, tasks(own, [teacher])))
    assert [m.epoch for m in messages if isinstance(m, HopStarted)] == [0, 2]
    (end,) = outcomes(iter(messages)).values()
    assert end.outcome == "complete"
    words = "hop 16: no memory for {} models at once; continuing with {}".format(*tried)
    assert said == [words + ("" if mode.endswith("+") else "; the last bits may differ")]
    monkeypatch.setenv("STEPS", "1000000")
    ample = trainer(tmp_path / "ample", study, mode=mode)
    train_all(ample, [teacher])
    if mode.endswith("+"):
        assert files(tmp_path / "short") == files(tmp_path / "ample")
    ends = (t.store.load("hops", t.key(teacher)) for t in (own, ample))
    assert close(*(end[0] for end in ends), 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("in_double")
def test_stacking_calls_own_loss_for_one_model_at_a_time(tmp_path: Path) -> None:
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
    assert close(*ends, 1e-6)


@pytest.mark.parametrize(
    "training", [pytest.param({}, marks=pytest.mark.slow), ALL], ids=["adamw", "sgd"]
)
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


def test_group_hands_back_states_unchanged(tmp_path: Path) -> None:
    study = tiny(model={"family": "cnn"}, training={"ema": 0.9})
    recipe = study.recipes("student").one_per_loss()[0]
    states = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5))
        state = State(net, recipe)
        net(torch.randn(4, 2, 4, 4)).square().sum().backward()
        state.optimizer.step()
        states.append(state)
    before = [copy.deepcopy((s.net.state_dict(), s.optimizer_state())) for s in states]
    group = Group(states, stacked=True)
    with torch.no_grad():
        for state in states:
            for tensor in [
                *state.flat.tensors,
                *itertools.chain(*state.optimizer_state().values()),
            ]:
                tensor.zero_()
    group.hand_back()
    for state, (weights, kept) in zip(states, before, strict=True):
        assert close(state.net.state_dict(), weights, 0.0)
        for name, values in kept.items():
            for value, now in zip(values, state.optimizer_state()[name], strict=True):
                assert torch.equal(value, now), name


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), nn.LayerNorm(4), nn.Conv2d(4, 4, 1, padding_mode="reflect")]
)
def test_stacking_refuses_layer_of_unknown_width(layer: nn.Module) -> None:
    with pytest.raises(CannotStack):
        stacked_model(nn.Sequential(nn.Conv2d(4, 4, 1), layer), 2)


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


def modes(tmp_path: Path, family: str, stack: str, replicates: int = 4) -> dict[str, str]:
    study = tiny(model={"family": family}).model_copy(update={"root": str(tmp_path)})
    models = Models(
        study=study, in_shape=(1, 8, 8), num_classes=10, mean=torch.zeros(1), std=torch.ones(1)
    )
    found = choose_modes(
        "fp32",
        stack,
        models.build,
        (4, 2),
        recipe=study.recipes("student").one_per_loss()[0],
        in_shape=(1, 8, 8),
        device=torch.device("cpu"),
        threads=1,
        replicates=replicates,
        warn=lambda text: None,
    )
    return modes_as_text(found)


@pytest.mark.slow
def test_autotuning_stacks_only_models_that_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose layers are all known, but which mixes its channels, is found out by trying."""
    monkeypatch.setattr("tasearch.train.fast.autotuning.GAIN", 1e9)  # whatever the time it takes
    (tmp_path / "mixing.py").write_text(MIXING)
    monkeypatch.setattr("tasearch.train.fast.autotuning.ALONE", 0.0)
    assert modes(tmp_path, "cnn", "auto") == {"4": "fp32 x4", "2": "fp32 x4"}
    assert modes(tmp_path, "cnn", "never") == {"4": "fp32", "2": "fp32"}
    assert modes(tmp_path, "cnn", "auto", replicates=1) == {"4": "fp32", "2": "fp32"}
    assert modes(tmp_path, "mixing:build", "auto") == {"4": "fp32", "2": "fp32"}
    monkeypatch.setattr("tasearch.train.fast.autotuning.ALONE", 1e9)
    assert all(m.endswith("+") for m in modes(tmp_path, "cnn", "auto", replicates=1).values())
    assert modes(tmp_path, "mixing:build", "auto") == {"4": "fp32", "2": "fp32"}
    monkeypatch.setattr("tasearch.train.fast.autotuning.GAIN", 0.0)
    assert modes(tmp_path, "cnn", "auto") == {"4": "fp32", "2": "fp32"}


def test_autotuning_shares_no_slots_that_change_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that rounds by its place in the stacked model: right, but not exact."""
    (tmp_path / "placed.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Round(nn.Module):\n"
        "    def forward(self, x):\n"
        "        place = torch.arange(x.shape[1])\n"
        "        return x * (1 + 1e-6 * (place % 40 > 30))\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),\n"
        "                         nn.Linear(width, num_classes), Round())\n"
    )
    for name in ("GAIN", "ALONE"):
        monkeypatch.setattr(f"tasearch.train.fast.autotuning.{name}", 1e9)
    assert modes(tmp_path, "placed:build", "auto", replicates=1) == {"4": "fp32", "2": "fp32"}
    assert modes(tmp_path, "placed:build", "auto", replicates=3) == {"4": "fp32 x3", "2": "fp32 x3"}


def test_mode_parses_its_own_text() -> None:
    for text in ("fp32", "bf16", "bf16 x5", "fp32 x12+"):
        assert str(Mode.parse(text)) == text
    assert Mode.parse("bf16 x12+") == Mode(bf16=True, slots=12, shared=True)
    for wrong in ("fp16", "fp32 x0", "fp32+", "fp32 x4 ", ""):
        with pytest.raises(ValueError, match="should be such as"):
            Mode.parse(wrong)


def test_stacked_model_keeps_frozen_weights_frozen() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(12, 2))
    net[0].requires_grad_(False)
    found = {name: p.requires_grad for name, p in stacked_model(net, 3).named_parameters()}
    assert found == {"0.weight": False, "0.bias": False, "2.weight": True, "2.bias": True}
    alone = stacked_model(net[0], 3)
    assert not any(p.requires_grad for p in alone.parameters())


def test_stacking_refuses_modules_that_share_weights() -> None:
    layer = nn.Linear(4, 4)
    with pytest.raises(CannotStack):
        stacked_model(nn.Sequential(nn.Linear(4, 4), layer, nn.ReLU(), layer), 2)
