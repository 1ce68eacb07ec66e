from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tasearch.chain import Chain, Hop, Pupil
from tasearch.data import load_data
from tasearch.errors import OutOfMemoryError, TrainingError
from tasearch.models import Models
from tasearch.store import Store
from tasearch.study import Study
from tasearch.train import Trainer
from tasearch.train.loop import learning_rate, make_optimizer, predict, rung_epochs
from tasearch.train.losses import LOSSES
from tests.conftest import tiny
from tests.test_chain import CE, KD

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    ),
]


def trainer(folder: Path, study: Study | None = None, device: str = "cpu") -> Trainer:
    study = study or tiny()
    data = load_data(study)
    return Trainer(
        study=study,
        models=Models.of(study, data),
        data=data,
        store=Store(folder),
        device=torch.device(device),
    )


def hops(study: Study, *widths: int) -> list[Hop]:
    recipe = study.recipes("assistants").firsts()[0]
    teacher = Pupil(width=study.teacher.width, recipe=study.teacher_recipe())
    student = Pupil(width=widths[-1], recipe=study.recipes("student").firsts()[0])
    assistants = [Pupil(width=w, recipe=recipe) for w in widths[:-1]]
    return list(Chain(pupils=(teacher, *assistants, student)).hops())


def train_all(own: Trainer, lineage: list[Hop]) -> None:
    for hop in lineage:
        for _ in own.train(hop):
            pass


# Losses


def by_hand(logits: Tensor, labels: Tensor, targets: Tensor, t: float, alpha: float) -> float:
    """The distillation loss in plain Python, sample by sample, class by class."""
    total = 0.0
    for z, y, v in zip(logits.tolist(), labels.tolist(), targets.tolist(), strict=True):

        def shares(values: list[float], t: float) -> list[float]:
            powers = [math.exp(value / t) for value in values]
            return [p / sum(powers) for p in powers]

        soft, goal = shares(z, t), shares(v, t)
        divergence = sum(q * math.log(q / p) for p, q in zip(soft, goal, strict=True))
        total += (1 - alpha) * -math.log(shares(z, 1.0)[y]) + alpha * t * t * divergence
    return total / len(labels)


@given(st.integers(0, 1000), st.floats(0.5, 20), st.floats(0, 1), st.integers(2, 12))
@settings(max_examples=50)
def test_kd_is_hintons(seed: int, t: float, alpha: float, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, targets = (
        torch.randn(5, classes, generator=generator, dtype=torch.float64) * 3 for _ in range(2)
    )
    labels = torch.randint(classes, (5,), generator=generator)
    recipe = replace(KD, temperature=t, alpha=alpha)
    expected = by_hand(logits, labels, targets, t, alpha)
    assert LOSSES["kd"](logits, labels, targets, recipe).item() == pytest.approx(expected)


def test_kd_does_not_depend_on_the_number_of_classes_or_samples() -> None:
    """The default mean of KLDivLoss divides by the classes too, and distillation vanishes."""
    logits, targets = torch.randn(4, 6), torch.randn(4, 6)
    labels = torch.zeros(4, dtype=torch.int64)
    recipe = replace(KD, alpha=1.0)
    once = LOSSES["kd"](logits, labels, targets, recipe)
    padding = torch.full((4, 94), -1e4)
    wide = LOSSES["kd"](
        torch.cat([logits, padding], 1), labels, torch.cat([targets, padding], 1), recipe
    )
    twice = LOSSES["kd"](logits.repeat(2, 1), labels.repeat(2), targets.repeat(2, 1), recipe)
    assert torch.allclose(once, wide)
    assert torch.allclose(once, twice)


def test_limits_and_gradients_of_kd() -> None:
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(4, 5, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 4])
    alone = LOSSES["kd"](logits, labels, targets, replace(KD, alpha=0.0))
    assert torch.allclose(alone, F.cross_entropy(logits, labels))
    same = LOSSES["kd"](targets, labels, targets, replace(KD, alpha=1.0))
    assert same.item() == pytest.approx(0.0, abs=1e-12)
    hot = LOSSES["kd"](logits, labels, targets, replace(KD, alpha=1.0, temperature=1e4))
    gap = (logits - logits.mean(1, keepdim=True)) - (targets - targets.mean(1, keepdim=True))
    assert torch.allclose(hot, gap.square().sum(1).mean() / (2 * 5), rtol=1e-3)
    assert torch.autograd.gradcheck(lambda z: LOSSES["kd"](z, labels, targets, KD), (logits,))


def test_cross_entropy_needs_no_targets() -> None:
    logits, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 4])
    expected = -logits.log_softmax(1)[torch.arange(4), labels].mean()
    assert torch.allclose(LOSSES["ce"](logits, labels, None, CE), expected)


# The loop


@given(st.integers(1, 200), st.integers(1, 20))
def test_rungs_are_distinct_epochs_up_to_the_last(epochs: int, rungs: int) -> None:
    found = rung_epochs(epochs, rungs)
    assert found == sorted(set(found))
    assert found[-1] == epochs
    assert found[0] >= 1
    assert len(found) == min(epochs, rungs)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    recipe = replace(KD, learning_rate=0.5, warmup=0.1)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert max(rates) == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    flat = [learning_rate(step, 10, replace(recipe, warmup=0.0)) for step in range(10)]
    assert flat[0] == 0.5


def test_norms_and_biases_do_not_decay() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = make_optimizer(net, replace(KD, weight_decay=0.1)).param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(net[0].weight)}


# The trainer


@pytest.mark.parametrize("device", DEVICES)
def test_a_hop_learns(tmp_path: Path, device: str) -> None:
    study = tiny(teacher={"epochs": 8})
    own = trainer(tmp_path, study, device)
    (teacher,) = hops(study, 4)[:1]
    progress = list(own.train(teacher))
    assert [p.epoch for p in progress] == list(range(1, 9))
    assert progress[-1].loss < progress[0].loss
    record = own.saved(teacher)
    assert record is not None
    assert record.curve[-1] > 0.8
    assert record.epochs == (2, 4, 6, 8)


def test_resuming_equals_never_stopping(tmp_path: Path) -> None:
    """Stop after every single epoch, with a new trainer each time: the same files, bit for bit."""
    study = tiny(model={"family": "cnn"})
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    lineage = hops(study, 8, 4)
    train_all(trainer(straight, study), lineage)
    for hop in lineage:
        for _ in range(20):
            own = trainer(broken, study)
            if own.store.has(own.key(hop)):
                break
            steps = own.train(hop)
            for _ in itertools.islice(steps, 1):
                pass
            steps.close()
    assert files(straight) == files(broken)


def test_dropout_is_reproduced_too(tmp_path: Path) -> None:
    (tmp_path / "dropping.py").write_text(
        "from torch import nn\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Dropout(0.3),\n"
        "                         nn.Linear(width, num_classes))\n"
    )
    study = tiny(model={"family": "dropping:build"}).model_copy(update={"root": str(tmp_path)})
    lineage = hops(study, 4)
    for name, stop in (("a", False), ("b", True)):
        own = trainer(tmp_path / name, study)
        train_all(own, lineage[:1])
        if stop:
            steps = own.train(lineage[1])
            next(steps)
            steps.close()
            torch.rand(3)  # whatever else draws from torch's generator in between
        train_all(own, lineage[1:])
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_the_order_of_hops_does_not_matter(tmp_path: Path) -> None:
    study = tiny()
    chains = [hops(study, 12, 6), hops(study, 8, 6), hops(study, 6)]
    wanted = list(dict.fromkeys(hop for chain in chains for hop in chain))
    for name, order in (("a", wanted), ("b", sorted(wanted, key=lambda h: len(h.lineage)))):
        own = trainer(tmp_path / name, study)
        train_all(own, order if name == "a" else [order[0], *reversed(order[1:4]), *order[4:]])
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_pupils_of_one_width_start_alike_whatever_teaches_them(tmp_path: Path) -> None:
    """Common random numbers: with no weight on the teacher, chains end in the same student."""
    study = tiny(student={"alpha": 1e-30})
    own = trainer(tmp_path, study)
    ends = []
    for widths in ((12, 6), (6,)):
        lineage = hops(study, *widths)
        train_all(own, [h for h in lineage if not own.store.has(own.key(h))])
        ends.append(own.store.load("hops", own.key(lineage[-1])))
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])


def test_cached_targets_are_what_an_online_teacher_says(tmp_path: Path) -> None:
    study = tiny(model={"family": "cnn"})
    own = trainer(tmp_path, study)
    teacher = hops(study, 4)[0]
    train_all(own, [teacher])
    cached = own._targets(teacher)
    online = predict(own.net(teacher), own.x)
    assert not own.net(teacher).training
    assert torch.equal(cached, online.half().float())
    assert torch.equal(own._targets(teacher), cached)  # now read from the store
    assert not cached.requires_grad
    file = tmp_path / "targets" / f"{own.key(teacher)}.safetensors"
    file.write_bytes(file.read_bytes()[:-2])
    assert torch.equal(own._targets(teacher), cached)  # damaged, so made again


def test_a_teachers_hop_is_not_changed_by_its_pupils(tmp_path: Path) -> None:
    study = tiny()
    own = trainer(tmp_path, study)
    lineage = hops(study, 4)
    train_all(own, lineage[:1])
    before = files(tmp_path)[f"hops/{own.key(lineage[0])}.safetensors"]
    train_all(own, lineage[1:])
    assert files(tmp_path)[f"hops/{own.key(lineage[0])}.safetensors"] == before


def test_a_loss_that_is_not_finite_names_its_hop(tmp_path: Path) -> None:
    study = tiny(teacher={"learning_rate": 1e30})
    with pytest.raises(TrainingError) as error:
        train_all(trainer(tmp_path, study), hops(study, 4)[:1])
    assert str(error.value) == (
        "hop 16: the loss became nan in epoch 1 of 3 (loss 'ce', learning_rate 1e+30)"
    )


def test_outputs_that_are_not_finite_fail_the_hop_too(tmp_path: Path) -> None:
    """One step, so that the loss itself is never computed on the ruined weights."""
    (tmp_path / "plain.py").write_text(
        "from torch import nn\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width),\n"
        "                         nn.Linear(width, num_classes))\n"
    )
    study = tiny(
        model={"family": "plain:build"},
        teacher={"learning_rate": 1e30, "epochs": 1},
        training={"batch_size": 1000, "warmup": 0.0},
    ).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(TrainingError, match="hop 16: the model's outputs are not finite"):
        train_all(trainer(tmp_path / "run", study), hops(study, 4)[:1])


def test_a_consumers_threads_are_its_own_between_epochs(tmp_path: Path) -> None:
    study = tiny()
    torch.set_num_threads(2)
    seen = [torch.get_num_threads() for _ in trainer(tmp_path, study).train(hops(study, 4)[0])]
    assert seen == [2, 2, 2]


def test_a_users_code_that_raises_in_training_fails_the_hop(tmp_path: Path) -> None:
    (tmp_path / "moody.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width, classes):\n"
        "        super().__init__()\n"
        "        dense = nn.Linear(64, width), nn.Linear(width, classes)\n"
        "        self.net = nn.Sequential(nn.Flatten(), *dense)\n"
        "    def forward(self, x):\n"
        "        if len(x) > 2:\n"
        "            raise ValueError('too many')\n"
        "        return self.net(x)\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return Net(width, num_classes)\n"
    )
    study = tiny(model={"family": "moody:build"}).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(TrainingError) as error:
        train_all(trainer(tmp_path / "run", study), hops(study, 4)[:1])
    assert str(error.value) == "hop 16: ValueError: too many"


def test_running_out_of_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    study = tiny()
    own = trainer(tmp_path, study)
    monkeypatch.setattr(F, "cross_entropy", full)
    with pytest.raises(OutOfMemoryError, match=r"^hop 16: out of memory on cpu$"):
        train_all(own, hops(study, 4)[:1])


def test_threads_and_seed_are_put_back(tmp_path: Path) -> None:
    study = tiny()
    torch.set_num_threads(2)
    state = torch.random.get_rng_state()
    train_all(trainer(tmp_path, study), hops(study, 4)[:1])
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu(tmp_path: Path) -> None:
    study = tiny(model={"family": "cnn"}, teacher={"epochs": 1})
    ends = []
    for device in ("cpu", "cuda"):
        own = trainer(tmp_path / device, study, device)
        teacher = hops(study, 4)[0]
        train_all(own, [teacher])
        ends.append(own.store.load("hops", own.key(teacher))[0])
    for name, tensor in ends[0].items():
        assert torch.allclose(tensor.float(), ends[1][name].float(), atol=1e-2), name


def files(folder: Path) -> dict[str, bytes]:
    found = folder.rglob("*.safetensors")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}
