"""Hops whose replicates are trained in parts: together they are what one training makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.config.study import Study
from tasearch.runs.events import EpochDone, HopEnded, HopEvent, HopOutcome, HopStarted, Notice
from tasearch.train.tasks import Task, train_hops
from tasearch.train.trainer import Trainer
from tasearch.train.workers.replicates import ReplicateMerger
from tests.helpers.runs import contents, facts
from tests.helpers.studies import tiny
from tests.helpers.training import family, files, hops, train_all, trainer

ALONE = dict.fromkeys(("16", "12", "8", "6", "4", "2"), "fp32")
A, B = (0, 2), (1,)


def study(**sections: Any) -> Study:
    search = {"replicates": 3, "rungs": 4, **sections.pop("search", {})}
    return tiny(search=search, training={"modes": ALONE, "ema": 0.9}, **sections)


def begin(own: Trainer, hop: Hop, part: tuple[int, ...] = (), *, rungs: int = 9) -> list[HopEvent]:
    """Train a part of a hop, or all of it, and leave it after some rungs."""
    told = []
    steps = train_hops(own, [Task(key=own.key(hop), hop=hop, part=part)])
    for message in steps:
        told.append(message)
        if isinstance(message, EpochDone):
            rungs -= message.accuracy is not None
            if not rungs:
                break
    steps.close()
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        [(A, 9), (B, 9)],
        [(B, 9), (A, 9)],
        [(A, 2), (B, 1), (A, 9), (B, 9)],
        [((0,), 9), ((1,), 1), ((2,), 3), ((), 9)],
        [(A, 3), ((), 9)],
        [(A, 9), (A, 9), (B, 9)],
        [((), 2), (B, 1), (A, 9), (B, 9)],
        [((), 1), ((2,), 2), ((), 1), ((0, 1), 1), ((), 9)],
    ],
    ids=str,
)
def test_parts_in_any_order_equal_the_whole(
    tmp_path: Path, way: list[tuple[tuple[int, ...], int]]
) -> None:
    teacher, student = hops(study(), 4)
    straight, parted = trainer(tmp_path / "straight", study()), trainer(tmp_path / "p", study())
    train_all(straight, [teacher, student])
    for hop in (teacher, student):
        for part, rungs in way:
            if not parted.finished(hop):  # the teacher has a rung fewer
                begin(parted, hop, part, rungs=rungs)
        assert parted.finished(hop)
    assert files(tmp_path / "straight") == files(tmp_path / "p")


def test_death_before_merge_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, straight = (trainer(tmp_path / name, study()) for name in ("own", "straight"))
    (teacher, _) = hops(study(), 4)
    train_all(straight, [teacher])
    for part in ((), B):  # who goes on
        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "_finish", lambda *args: None)
            for first in (A, B):
                begin(own, teacher, first)
        assert not own.finished(teacher)
        told = begin(own, teacher, part)
        assert [type(message) for message in told] == [HopStarted, HopEnded]
        assert own.finished(teacher)
        assert files(tmp_path / "own") == files(tmp_path / "straight")
        own.store.drop("hops", own.key(teacher))


def test_saved_record_holds_rungs_of_all_replicates(tmp_path: Path) -> None:
    own, other = (trainer(tmp_path / name, study()) for name in ("own", "other"))
    (teacher, _) = hops(study(), 4)
    begin(own, teacher, A, rungs=2)
    assert own.saved(teacher) is None
    begin(own, teacher, B, rungs=1)
    begin(other, teacher, rungs=1)
    assert own.saved(teacher) == other.saved(teacher)
    begin(own, teacher, B)
    begin(other, teacher, rungs=1)
    assert own.saved(teacher) == other.saved(teacher)


def test_advanced_replicate_waits_and_keeps_its_grades(tmp_path: Path) -> None:
    own, straight = (trainer(tmp_path / name, study()) for name in ("own", "straight"))
    (teacher, _) = hops(study(), 4)
    begin(own, teacher, A, rungs=3)
    begun, *later = begin(own, teacher)
    expected = begin(straight, teacher)[1:]
    assert isinstance(begun, HopStarted)
    assert begun.epoch == 0
    assert len(later) == len(expected)
    for message, same in zip(later, expected, strict=True):
        if isinstance(message, EpochDone) and isinstance(same, EpochDone):
            assert message.epoch == same.epoch
            assert message.accuracy == same.accuracy


def test_wide_model_and_loaded_teacher_have_no_parts(tmp_path: Path) -> None:
    teacher, student = hops(study(), 4)
    alone = trainer(tmp_path, study())
    assert [*alone.separable(teacher)] == [*alone.separable(student)] == [0, 1, 2]
    wide = trainer(tmp_path, study(), mode="fp32 x3")
    assert not wide.separable(teacher)
    assert not alone.separable(Hop(lineage=(ModelSpec(width=16, recipe=None, origin="a file"),)))


# What parts tell


def started(epoch: int) -> HopStarted:
    return HopStarted(key="k", label="8", epoch=epoch, epochs=4, recipe=None)


def done(epoch: int, loss: float, accuracy: float | None = None) -> EpochDone:
    return EpochDone(key="k", label="8", epoch=epoch, epochs=4, loss=loss, accuracy=accuracy)


def ended(outcome: HopOutcome, epoch: int, reason: str = "", seconds: float = 1.5) -> HopEnded:
    return HopEnded(
        key="k", label="8", outcome=outcome, epoch=epoch, seconds=seconds, reason=reason
    )


def test_merger_yields_an_event_when_all_shares_have() -> None:
    merger = ReplicateMerger([A, B])
    assert merger.merge(B, started(2)) is None
    assert merger.merge(B, done(3, 1.0)) is None
    assert merger.merge(A, started(0)) == started(0)
    assert merger.merge(A, done(1, 7.0)) is None
    assert merger.merge(A, done(3, 4.0)) == done(3, 3.0)  # two replicates to one
    assert merger.merge(A, done(4, 4.0, 0.75)) is None
    assert merger.merge(B, done(4, 1.0, 0.0)) == done(4, 3.0, 0.5)
    assert merger.merge(A, Notice(message="w")) == Notice(message="w")
    assert merger.merge(B, ended("complete", 4)) is None
    assert not merger.over
    assert merger.merge(A, ended("complete", 4, seconds=2.0)) == ended("complete", 4, seconds=3.5)
    assert merger.over


def test_merger_reports_no_event_twice_when_a_share_starts_again() -> None:
    merger = ReplicateMerger([A, B])
    for part in (A, B):
        merger.merge(part, started(0))
        merger.merge(part, done(1, 1.0))
    assert merger.merge(B, started(0)) is None
    assert merger.merge(B, done(1, 1.0)) is None


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_merger_ends_with_the_share_that_was_trained_least(
    order: tuple[tuple[int, ...], ...],
) -> None:
    late = {A: ended("failed", 2, "a"), B: ended("out of memory", 3, "b")}
    one = {A: ended("complete", 4), B: ended("failed", 3, "b")}
    for ends, expected in ((late, "a"), (one, "b")):
        merger = ReplicateMerger([A, B])
        *_, last = (merger.merge(part, ends[part]) for part in order)
        assert isinstance(last, HopEnded)
        assert (last.outcome, last.reason, last.seconds) == ("failed", expected, 3.0)


# In a pool


@pytest.mark.slow
def test_workers_share_replicates_of_teacher(tmp_path: Path) -> None:
    """Each worker that trains a model of its width leaves its mark."""
    (tmp_path / "marks").mkdir()
    mark = f"self.width == 16 and open(f'{tmp_path}/marks/{{os.getpid()}}', 'w').close()"
    shared = family(tmp_path, mark, search={"replicates": 3}, training={"modes": ALONE})
    one = tasearch.run(shared, runs_dir=tmp_path / "one", trials=3)
    assert len([*(tmp_path / "marks").iterdir()]) == 1  # of its worker
    options: dict[str, Any] = {"trials": 3, "workers": 2, "latency_from": one.path}
    two = tasearch.run(shared, runs_dir=tmp_path / "two", **options)
    assert len([*(tmp_path / "marks").iterdir()]) == 3
    assert facts(two) == facts(one)
    assert contents(two) == contents(one)


@pytest.mark.slow
def test_failing_part_fails_its_hop(tmp_path: Path) -> None:
    """One replicate's loss is no number after two rungs, another's never: with two workers the
    trials end as with one."""
    body = (
        "self.mark = getattr(self, 'mark', float(self.one.weight.detach()[0, 3]) > 0)\n"
        "            self.count = getattr(self, 'count', 0) + 1\n"
        "            open(f'{here}/{self.width}{self.mark}', 'w').close()\n"
        "            if self.width == 4 and self.mark and self.count > 30: x = x * float('nan')"
    ).replace("{here}", str(tmp_path))
    search = {"replicates": 3, "pruner": "none", "rungs": 4}
    own = family(tmp_path, body, search=search, training={"modes": ALONE})
    one = tasearch.run(own, runs_dir=tmp_path / "one", trials=4)
    options: dict[str, Any] = {"trials": 4, "workers": 2, "latency_from": one.path}
    two = tasearch.run(own, runs_dir=tmp_path / "two", **options)
    assert (tmp_path / "4True").exists()
    assert (tmp_path / "4False").exists()
    failed = [t for t in one.trials if t.state == "failed"]
    assert failed
    assert all("the loss became nan in epoch" in str(t.reason) for t in failed)
    assert any(0 < use.trained < use.epochs for t in failed for use in t.hops)
    assert facts(two) == facts(one)
