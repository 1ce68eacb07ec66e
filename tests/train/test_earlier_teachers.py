"""Teachers that teach as they were at an earlier epoch."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.config.study import Study
from tasearch.runs.events import EpochDone, HopEnded
from tasearch.runs.store import Store
from tasearch.train.soft_targets import view_logits
from tasearch.train.tasks import Task, train_hops
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

PROGRESSIVE: dict[str, Any] = {"teacher_epoch": "progressive"}


def early(value: float | str | list[float], **sections: Any) -> Study:
    """A study whose assistants and students learn from an earlier epoch, at four rungs."""
    for role in ("assistants", "student"):
        sections[role] = {"teacher_epoch": value, **sections.get(role, {})}
    return tiny(teacher={"epochs": 5}, **sections)


def logits_at(folder: Path, study: Study, hop: Hop, rung: int, phase: int = 0) -> Tensor:
    """Logits of the first replicate of a hop that is stopped at a rung, in a store of its own."""
    own, key = trainer(folder / "stopped", study), trainer(folder, study).key(hop)
    if not own.store.has(key):
        own.store.drop("checkpoints", f"{key}-0")
        epochs = steps(own, hop)
        for done in epochs:
            rung -= done.accuracy is not None
            if not rung:
                break
        epochs.close()
    if own.store.has(key):
        net = own.nets(hop)[0]
        return view_logits(net, own.views[0], phase).half()
    assert hop.model.recipe is not None
    (state,) = own._restore(hop, hop.model.recipe)
    with state.result() as net:
        return view_logits(net.eval(), own.views[0], phase).half()


@pytest.mark.parametrize("training", [{}, {"ema": 0.9}], ids=["plain", "ema"])
def test_targets_are_those_of_the_model_stopped_at_the_rung(
    tmp_path: Path, training: dict[str, Any]
) -> None:
    study = early(0.3, training=training)
    own, (teacher, student) = trainer(tmp_path, study), hops(study, 4)
    train_all(own, [teacher])
    found = own._soft_targets(student)
    expected = logits_at(tmp_path, study, teacher, 2)  # 0.3 of four rungs, rounded up
    assert not torch.equal(expected, logits_at(tmp_path, study, teacher, 4))
    for epoch in range(4):
        assert torch.equal(found(epoch)[0][0], expected)


def test_progressive_teacher_uses_each_rung_in_turn(tmp_path: Path) -> None:
    """On crops, whose phase is another in each epoch; the last epoch learns from the whole hop."""
    study = image_study(
        tmp_path, "crop4+flip", teacher={"epochs": 4}, student={**PROGRESSIVE, "epochs": 4}
    )
    own, (teacher, student) = trainer(tmp_path, study), hops(study, 4)
    train_all(own, [teacher])
    found = own._soft_targets(student)
    for epoch in range(4):
        expected = logits_at(tmp_path, study, teacher, epoch + 1, phase=epoch)
        assert torch.equal(found(epoch)[0][0], expected)
    key = own.key(teacher)
    stored = {file.stem for file in (tmp_path / "targets").iterdir()}
    assert stored == {f"{key}-1-0", f"{key}-2-1", f"{key}-3-2", f"{key}-3"}


def with_epoch(hop: Hop, value: float | str) -> Hop:
    """The hop, whose model learns from another epoch of its teachers."""
    assert hop.model.recipe is not None
    recipe = replace(hop.model.recipe, teacher_epoch=value)
    return Hop(lineage=(*hop.lineage[:-1], replace(hop.model, recipe=recipe)))


@pytest.mark.parametrize("mode", ["fp32", "fp32 x3", "fp32 x4+"])
def test_progressive_student_is_handed_on_from_epoch_to_epoch(tmp_path: Path, mode: str) -> None:
    """It ends as a student that learns an epoch each from the teacher at 1/4, 2/4, 3/4 and 1."""
    study = tiny(
        teacher={"epochs": 4}, student={**PROGRESSIVE, "epochs": 4}, search={"replicates": 3}
    )
    own, (teacher, student) = trainer(tmp_path, study, mode=mode), hops(study, 4)
    train_all(own, [teacher])
    before = None
    for epoch, share in enumerate((0.25, 0.5, 0.75, 1.0), start=1):
        hop = with_epoch(student, share)
        if before is not None:
            names = zip(own.checkpoints(before), own.checkpoints(hop), strict=True)
            for old, new in names:
                saved = own.store.load("checkpoints", old)
                assert saved is not None
                own.store.save("checkpoints", new, *saved)
        going = steps(own, hop)
        assert next(going).epoch == epoch
        going.close()
        before = hop
    train_all(own, [student])
    ends = [own.nets(hop) for hop in (student, with_epoch(student, 1.0))]
    for a, b in zip(*ends, strict=True):
        assert all(torch.equal(t, b.state_dict()[name]) for name, t in a.state_dict().items())


def test_student_depends_on_its_teachers_epoch(tmp_path: Path) -> None:
    ends = []
    for value in (1.0, 0.5, "progressive"):
        study = early(value)
        own, lineage = trainer(tmp_path, study), hops(study, 4)
        train_all(own, lineage)
        ends.append(own.nets(lineage[-1])[0].state_dict()["1.weight"])
        assert own.key(lineage[0]) == trainer(tmp_path).key(hops(early(1.0), 4)[0])
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(ends, 2))


def test_last_rung_is_the_trained_teacher(tmp_path: Path) -> None:
    ends = []
    for value in (1.0, 0.99):
        study = early(value)
        own, lineage = trainer(tmp_path, study), hops(study, 4)
        train_all(own, lineage)
        ends.append(own.nets(lineage[-1])[0].state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_dense_guidance_takes_all_ancestors_at_the_rung(tmp_path: Path) -> None:
    study = early(0.5, student={"guidance": "dense"}, assistants={"epochs": 2})
    own, (teacher, assistant, student) = trainer(tmp_path, study), hops(study, 8, 4)
    train_all(own, [teacher, assistant])
    both = own._soft_targets(student)(0)[0]
    assert torch.equal(both[0], logits_at(tmp_path, study, teacher, 2))
    net = own._teachers.nets(assistant, 1)[0]  # the first of its two rungs
    assert torch.equal(both[1], view_logits(net, own.views[0], 0).half())
    assert not torch.equal(both[1], view_logits(own.nets(assistant)[0], own.views[0], 0).half())


def test_resumed_training_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Stop after every two epochs, with a new trainer each time: the same files, bit for bit."""
    study = early("progressive", training={"ema": 0.9}, student={"guidance": "dense"})
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    lineage = hops(study, 8, 4)
    train_all(trainer(straight, study), lineage)
    train_in_parts(broken, study, lineage, 2)
    assert files(straight) == files(broken)
    assert sum(name.startswith("snapshots/") for name in files(broken)) == 3 + 2


@pytest.mark.parametrize("kind", ["snapshots", "checkpoints", "hops"])
def test_death_while_a_file_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A process ends before it writes a snapshot, the checkpoint after it, or the hop."""
    study = early(0.5)
    (teacher, _), save = hops(study, 4), Store.save
    train_all(trainer(tmp_path / "straight", study), [teacher])
    writes = []

    def dying(own: Store, to: str, *rest: Any) -> None:
        writes.append(to)
        if to == kind and writes.count(to) in (1, 3):
            raise KeyboardInterrupt
        save(own, to, *rest)

    monkeypatch.setattr(Store, "save", dying)
    deaths = 0
    for _ in range(4):
        try:
            train_all(trainer(tmp_path / "killed", study), [teacher])
            break
        except KeyboardInterrupt:
            deaths += 1
    assert deaths == (1 if kind == "hops" else 2)
    assert files(tmp_path / "straight") == files(tmp_path / "killed")


@pytest.mark.parametrize("mode", ["fp32", "fp32 x3"])
def test_damaged_or_missing_snapshot_is_made_again(tmp_path: Path, mode: str) -> None:
    study = early(0.5, search={"replicates": 3})
    own, (teacher, _) = trainer(tmp_path, study, mode=mode), hops(study, 4)
    train_all(own, [teacher])
    whole = files(tmp_path)
    names = [name for name in whole if name.startswith("snapshots/")]
    assert len(names) == (9 if mode == "fp32" else 3)
    for name in names:
        (tmp_path / name).unlink()
        assert not own.finished(teacher)
        (tmp_path / name).write_bytes(whole[name][:-1])
        assert not own.finished(teacher)
        train_all(trainer(tmp_path, study, mode=mode), [teacher])
        assert own.finished(teacher)
        assert files(tmp_path) == whole


def test_checkpoint_without_its_snapshots_is_not_continued(tmp_path: Path) -> None:
    """As of a run whose study has had the option added: from its first epoch, to the same bits."""
    study, plain = early(0.5), early(1.0)
    (teacher, _) = hops(study, 4)
    train_all(trainer(tmp_path / "straight", study), [teacher])
    epochs = steps(trainer(tmp_path / "added", plain), teacher)
    assert [next(epochs).epoch for _ in range(3)] == [1, 2, 3]
    epochs.close()
    assert next(steps(trainer(tmp_path / "added", plain), teacher)).epoch == 4
    own = trainer(tmp_path / "added", study)
    assert [done.epoch for done in steps(own, teacher)] == [1, 2, 3, 4, 5]
    assert files(tmp_path / "added") == files(tmp_path / "straight")


def test_hops_share_a_stacked_model_at_the_epoch_from_which_they_go_on(tmp_path: Path) -> None:
    """A checkpoint that is not continued does not count."""
    _, assistant, _ = hops(early(1.0), 8, 4)
    plain = trainer(tmp_path, early(1.0), mode="fp32 x8+")
    fresh = plain.stacking_key(assistant)
    train_all(plain, hops(early(1.0), 8, 4)[:1])
    epochs = steps(plain, assistant)
    next(epochs)
    epochs.close()
    assert plain.stacking_key(assistant) != fresh
    study = early([1.0, 0.5], student={"teacher_epoch": 0.5})
    own = trainer(tmp_path, study, mode="fp32 x8+")
    assert own.key(assistant) == plain.key(assistant)
    assert own.stacking_key(assistant) == fresh


def test_only_models_that_may_teach_keep_their_rungs(tmp_path: Path) -> None:
    study = early(
        0.5, assistants={"widths": [8, 3], "temperature": 2.0}, student={"widths": [12, 4]}
    )
    own = trainer(tmp_path, study)
    teacher, assistant, student = hops(study, 8, 4)
    (_, wide) = hops(study, 12)
    assistants_recipe, students_recipe = assistant.model.recipe, student.model.recipe

    def direct(width: int, recipe: Any) -> Hop:
        return Hop(lineage=(*teacher.lineage, ModelSpec(width=width, recipe=recipe)))

    kept = [teacher, assistant, direct(8, assistants_recipe)]
    others = [student, wide, direct(8, students_recipe), direct(3, assistants_recipe)]
    assert [own.snapshots.kept(hop) for hop in (*kept, *others)] == [True] * 3 + [False] * 4
    late = trainer(tmp_path, early(1.0, assistants={"widths": [8]}))
    assert not any(late.snapshots.kept(hop) for hop in (*kept, *others))


def test_labels_alone_need_no_earlier_teacher(tmp_path: Path) -> None:
    """Recipes with another teacher_epoch are one hop, and no rung is kept for them."""
    study = tiny(student={"loss": "ce", "teacher_epoch": [0.5, 1.0]}, assistants={"max": 0})
    assert study.early_teachers == {}
    own = trainer(tmp_path, study)
    labels = study.recipes("student").one_per_loss()[0]
    keys = {
        own.key(Hop(lineage=(ModelSpec(width=4, recipe=replace(labels, teacher_epoch=value)),)))
        for value in (0.5, 1.0, "progressive")
    }
    assert len(keys) == 1
    train_all(own, hops(study, 4)[:1])
    assert not (tmp_path / "snapshots").exists()


def tasks(own: Trainer, students: list[Hop], part: tuple[int, ...] = ()) -> list[Task]:
    return [Task(key=own.key(hop), hop=hop, part=part) for hop in students]


def test_divided_replicates_equal_the_whole(tmp_path: Path) -> None:
    """In two parts, one of which is stopped at its second rung and goes on later."""
    study = early("progressive", search={"replicates": 3}, training={"ema": 0.9})
    lineage = hops(study, 8, 4)
    straight, parted = trainer(tmp_path / "straight", study), trainer(tmp_path / "parts", study)
    train_all(straight, lineage)
    for hop in lineage:
        rungs = 0
        begun = train_hops(parted, tasks(parted, [hop], (0, 2)))
        while rungs < 2:
            event = next(begun)
            rungs += isinstance(event, EpochDone) and event.accuracy is not None
        begun.close()
        for part in ((1,), (0, 2)):
            *_, last = train_hops(parted, tasks(parted, [hop], part))
            assert isinstance(last, HopEnded) and last.outcome == "complete"
        assert parted.finished(hop)
    assert files(tmp_path / "straight") == files(tmp_path / "parts")


@pytest.mark.parametrize("family", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_students_of_other_epochs_share_a_stacked_model(tmp_path: Path, family: str) -> None:
    """One by one, and all in another order: the same files, bit for bit."""
    study = early(0.5, model={"family": family}, student={"guidance": "dense"})
    lineage = hops(study, 8, 4)
    students = [
        with_epoch(Hop(lineage=(*before.lineage, lineage[-1].model)), v)
        for before in lineage[:2]
        for v in (1.0, 0.5, "progressive")
    ]
    for way, groups in (("alone", [[s] for s in students]), ("all", [students[::-1]])):
        trains = trainer(tmp_path / way, study, mode="fp32 x8+")
        train_all(trains, lineage[:2])
        assert len({trains.stacking_key(hop) for hop in students}) == 1
        for group in groups:
            events = train_hops(trains, tasks(trains, group))
            ends = [event for event in events if isinstance(event, HopEnded)]
            assert [end.outcome for end in ends] == ["complete"] * len(group)
    assert files(tmp_path / "alone") == files(tmp_path / "all")
