from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tasearch.chains.hop import Hop
from tasearch.errors import OutOfMemoryError, TrainingError
from tasearch.train import soft_targets as targets
from tasearch.train.augmentation import AugmentedData
from tasearch.train.fast import memory
from tasearch.train.loop import evaluate
from tests.helpers.studies import tiny
from tests.helpers.training import (
    DEVICES,
    files,
    hops,
    image_study,
    steps,
    train_all,
    train_in_parts,
    trainer,
)


@pytest.mark.parametrize("device", DEVICES)
def test_trainer_lowers_the_loss(tmp_path: Path, device: str) -> None:
    study = tiny(teacher={"epochs": 8})
    own = trainer(tmp_path, study, device)
    (teacher,) = hops(study, 4)[:1]
    progress = list(steps(own, teacher))
    assert [p.epoch for p in progress] == list(range(1, 9))
    assert progress[-1].loss < progress[0].loss
    record = own.saved(teacher)
    assert record is not None
    assert record.curve[-1] > 0.8
    assert record.epochs == (2, 4, 6, 8)


@pytest.mark.parametrize(
    "training",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"optimizer": "sgd", "schedule": "one-cycle", "ema": 0.9, "clip": 1.0},
        pytest.param({"precision": "bf16", "augment": "flip", "ema": 0.99}, marks=pytest.mark.slow),
    ],
    ids=["adamw", "sgd", "bf16"],
)
def test_resumed_training_ends_in_the_same_bits(tmp_path: Path, training: dict[str, Any]) -> None:
    """Stop after every single epoch, with a new trainer each time: the same files, bit for bit."""
    study = tiny(model={"family": "cnn"}, training=training, student={"guidance": "dense"})
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    lineage = hops(study, 8, 4)
    train_all(trainer(straight, study), lineage)
    train_in_parts(broken, study, lineage, 1)
    assert files(straight) == files(broken)


def test_resumed_training_repeats_dropout(tmp_path: Path) -> None:
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
            epochs = steps(own, lineage[1])
            next(epochs)
            epochs.close()
            torch.rand(3)  # whatever else draws from torch's generator in between
        train_all(own, lineage[1:])
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("mode", ["", "fp32 x2"])
def test_samples_that_stay_in_their_file_end_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    study = image_study(tmp_path, "flip", search={"replicates": 2})
    lineage = hops(study, 4)
    train_all(trainer(tmp_path / "held", study, mode=mode), lineage)
    monkeypatch.setattr(memory, "SAMPLES", 0)
    by_batch = trainer(tmp_path / "mapped", study, mode=mode)
    assert not by_batch.views[0].held
    assert isinstance(by_batch.validation[0], AugmentedData)
    train_all(by_batch, lineage)
    assert files(tmp_path / "held") == files(tmp_path / "mapped")


def test_order_of_hops_changes_no_result(tmp_path: Path) -> None:
    study = tiny()
    chains = [hops(study, 12, 6), hops(study, 8, 6), hops(study, 6)]
    wanted = list(dict.fromkeys(hop for chain in chains for hop in chain))
    for name, order in (("a", wanted), ("b", sorted(wanted, key=lambda h: len(h.lineage)))):
        own = trainer(tmp_path / name, study)
        train_all(own, order if name == "a" else [order[0], *reversed(order[1:4]), *order[4:]])
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_models_of_one_width_start_alike_under_any_teacher(tmp_path: Path) -> None:
    """Common random numbers: with no weight on the teacher, chains end in the same student."""
    study = tiny(student={"alpha": 1e-30})
    own = trainer(tmp_path, study)
    ends = []
    for widths in ((12, 6), (6,)):
        lineage = hops(study, *widths)
        train_all(own, [h for h in lineage if not own.store.has(own.key(h))])
        ends.append(own.store.load("hops", own.key(lineage[-1])))
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("views", ["none", "flip", "crop4+flip", "mine:turned", "mixup"])
def test_stored_targets_equal_an_online_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: str
) -> None:
    """In every epoch, for each sample, on the very view that the model sees."""
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    text = "import torch\ndef turned(x):\n    return x.rot90(int(torch.randint(4, ())), (1, 2))\n"
    (tmp_path / "mine.py").write_text(text)
    training = {"mine:turned": {"views": 3}, "mixup": {"views": 3, "mixup": 1.0}}.get(views, {})
    name = "crop4+flip" if views == "mixup" else views
    study = image_study(tmp_path, name, training=training)
    own = trainer(tmp_path, study)
    lineage = hops(study, 8, 4)
    train_all(own, lineage[:2])
    for ancestor in lineage[:2]:
        net = own.nets(ancestor)[0]
        assert not net.training
        cached = own._soft_targets(Hop(lineage=(*ancestor.lineage, lineage[-1].model)))
        for epoch in range(4):
            phase = own.views[0].phase(epoch)
            for samples in torch.randperm(len(own.views[0])).split(50):
                with torch.no_grad():
                    online = net(own.views[0].batch(samples, own.views[0].numbers(phase)))
                found = cached(epoch)[0][0][samples]
                assert found.dtype == torch.float16
                assert not found.requires_grad
                assert torch.allclose(found.float(), online, rtol=2**-10, atol=1e-5)


def test_trainer_computes_targets_once_and_checks_them(tmp_path: Path, monkeypatch: Any) -> None:
    study = tiny(model={"family": "cnn"})
    lineage = hops(study, 4)
    own = trainer(tmp_path, study)
    train_all(own, lineage[:1])
    passes = []
    usual = targets.view_logits
    monkeypatch.setattr(targets, "view_logits", lambda *a: passes.append(a) or usual(*a))
    first = own._soft_targets(lineage[1])(0)[0]
    file = tmp_path / "targets" / f"{own.key(lineage[0])}-0.safetensors"
    assert len(passes) == 1 and file.is_file()
    again = trainer(tmp_path, study)
    assert torch.equal(again._soft_targets(lineage[1])(0)[0], first)
    assert len(passes) == 1
    file.write_bytes(file.read_bytes()[:-2])
    assert torch.equal(trainer(tmp_path, study)._soft_targets(lineage[1])(0)[0], first)
    assert len(passes) == 2


def test_trainer_stores_targets_for_the_phases_of_epochs(tmp_path: Path) -> None:
    study = image_study(tmp_path, "crop4+flip")
    own = trainer(tmp_path, study)
    lineage = hops(study, 8, 4)
    train_all(own, lineage)
    found = sorted(file.stem for file in (tmp_path / "targets").iterdir())
    ancestors = [(own.key(lineage[0]), 3), (own.key(lineage[1]), 4)]
    assert found == sorted(f"{key}-{phase}" for key, n in ancestors for phase in range(n))


def test_targets_keep_to_their_size_on_disk(tmp_path: Path) -> None:
    study = image_study(tmp_path, "crop4+flip", training={"targets_gb": 1.1e-5})
    own = trainer(tmp_path, study)
    train_all(own, hops(study, 8, 4))
    files = list((tmp_path / "targets").iterdir())
    assert 1 <= len(files) < 7
    assert sum(file.stat().st_size for file in files) <= 1.1e4


def test_dense_model_learns_from_all_its_ancestors(tmp_path: Path) -> None:
    study = tiny(student={"guidance": "dense", "teacher_dropout": 0.0})
    own = trainer(tmp_path, study)
    lineage = hops(study, 8, 4)
    train_all(own, lineage)
    both = own._soft_targets(lineage[-1])(0)[0]
    serial = [own._soft_targets(hops(tiny(), 8, 4)[i])(0)[0] for i in (1, 2)]
    assert torch.equal(both, torch.cat(serial))
    other = tiny(student={"guidance": "dense", "teacher_dropout": 0.9})
    dropping = hops(other, 8, 4)[-1]
    train_all(trainer(tmp_path, other), [dropping])
    ends = [own.store.load("hops", own.key(hop)) for hop in (lineage[-1], dropping)]
    assert not torch.equal(ends[0][0]["0/1.weight"], ends[1][0]["0/1.weight"])


def test_trainer_evaluates_and_stores_averaged_weights(tmp_path: Path) -> None:
    study = tiny(training={"ema": 0.9})
    own, teacher = trainer(tmp_path, study), hops(study, 4)[0]
    train_all(own, [teacher])
    record = own.saved(teacher)
    assert record is not None
    assert evaluate(own.nets(teacher)[0], *own.validation) == record.curve[-1]
    plain = trainer(tmp_path / "plain")
    train_all(plain, [hops(tiny(), 4)[0]])
    live = plain.nets(hops(tiny(), 4)[0])[0].state_dict()
    kept = own.nets(teacher)[0].state_dict()
    assert not torch.equal(live["1.weight"], kept["1.weight"])


def test_student_does_not_change_its_teachers_hop(tmp_path: Path) -> None:
    study = tiny()
    own = trainer(tmp_path, study)
    lineage = hops(study, 4)
    train_all(own, lineage[:1])
    before = files(tmp_path)[f"hops/{own.key(lineage[0])}.safetensors"]
    train_all(own, lineage[1:])
    assert files(tmp_path)[f"hops/{own.key(lineage[0])}.safetensors"] == before


def test_infinite_loss_names_its_hop(tmp_path: Path) -> None:
    study = tiny(teacher={"learning_rate": 1e30})
    with pytest.raises(TrainingError) as error:
        train_all(trainer(tmp_path, study), hops(study, 4)[:1])
    assert str(error.value) == (
        "hop 16: the loss became nan in epoch 1 of 3 (loss 'ce', learning_rate 1e+30)"
    )


def test_infinite_outputs_fail_the_hop(tmp_path: Path) -> None:
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


def test_trainer_leaves_the_callers_threads_between_epochs(tmp_path: Path) -> None:
    study = tiny()
    torch.set_num_threads(2)
    seen = [torch.get_num_threads() for _ in steps(trainer(tmp_path, study), hops(study, 4)[0])]
    assert seen == [2, 2, 2]


def test_own_code_that_raises_fails_the_hop(tmp_path: Path) -> None:
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


def test_trainer_reports_short_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    study = tiny()
    own = trainer(tmp_path, study)
    monkeypatch.setattr(F, "cross_entropy", full)
    with pytest.raises(OutOfMemoryError, match=r"^hop 16: out of memory on cpu$"):
        train_all(own, hops(study, 4)[:1])


def test_trainer_restores_threads_and_seed(tmp_path: Path) -> None:
    study = tiny()
    torch.set_num_threads(2)
    state = torch.random.get_rng_state()
    train_all(trainer(tmp_path, study), hops(study, 4)[:1])
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("training", [{}, {"optimizer": "sgd", "ema": 0.9}], ids=["adamw", "sgd"])
def test_cuda_agrees_with_cpu(tmp_path: Path, training: dict[str, Any]) -> None:
    """Some twenty steps in fp32; each tensor within a thousandth of its norm."""
    sections = {"teacher": {"epochs": 1}, "student": {"epochs": 1}}
    training = {"precision": "fp32", "batch_size": 52, **training}
    study = tiny(model={"family": "cnn"}, training=training, **sections)
    ends = []
    for device in ("cpu", "cuda"):
        own = trainer(tmp_path / device, study, device)
        lineage = hops(study, 4)
        train_all(own, lineage)
        ends.append([own.store.load("hops", own.key(hop))[0] for hop in lineage])
    assert len(own.y) // 52 == 20
    for cpu, cuda in zip(*ends, strict=True):
        for name, tensor in cpu.items():
            gap = (tensor.double() - cuda[name].double()).norm()
            assert gap <= 1e-3 * tensor.double().norm(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", ["bf16", "bf16 x3"])
def test_deterministic_training_on_cuda_repeats_itself(tmp_path: Path, mode: str) -> None:
    training = {"deterministic": True, "optimizer": "sgd", "schedule": "one-cycle"}
    study = image_study(
        tmp_path, "crop4+flip", training=training, search={"replicates": 3}, student={"epochs": 8}
    )
    for run in ("one", "two"):
        train_all(trainer(tmp_path / run, study, "cuda", mode=mode), hops(study, 8, 4))
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_samples_of_floats_that_stay_in_their_file_change_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny()
    lineage, found = hops(study, 4), []
    for most in (float("inf"), 0):
        monkeypatch.setattr("tasearch.train.samples.samples_in_memory", lambda device, m=most: m)
        own = trainer(tmp_path / str(most), study)
        assert own.views[0].held == isinstance(own.validation[0], torch.Tensor) == (most > 0)
        train_all(own, lineage)
        found.append(files(tmp_path / str(most)))
    assert found[0] == found[1]
