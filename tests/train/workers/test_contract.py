"""What every engine must do: in this process, in a pool of workers, on the nodes of a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.config.study import Study
from tasearch.pareto.skyline import Threshold
from tasearch.runs.events import EpochDone, HopEnded, HopEvent, HopStarted, Notice
from tests.helpers.engines import OWN, Engines, engines, events, tasks
from tests.helpers.processes import wait_for
from tests.helpers.studies import tiny
from tests.helpers.training import files, hops, train_all, trainer

POOLS = ["pool", pytest.param("ray", marks=pytest.mark.slow)]
STUDY = tiny(student={"loss": ["kd", "ce"]}, search={"replicates": 2})
TEACHER, ASSISTANT, GRANDCHILD = hops(STUDY, 8, 4)
NEVER = Threshold(gain=0.0, margin=0.0, skyline=2.0)  # an accuracy that no model reaches


def students(study: Study) -> list[Hop]:
    """The teacher's own students: each width with each loss."""
    teacher = ModelSpec(width=16, recipe=study.teacher_recipe())
    recipes = study.recipes("student").one_per_loss()
    models = [ModelSpec(width=w, recipe=recipe) for w in study.student.widths for recipe in recipes]
    return [Chain(models=(teacher, model)).hop() for model in models]


@pytest.fixture(scope="module", params=["in process", *POOLS])
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with engines(request.param, tmp_path_factory.mktemp("engines")) as found:
        yield found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of all hops, trained one after another without an engine."""
    folder = tmp_path_factory.mktemp("expected")
    train_all(trainer(folder, STUDY), [TEACHER, ASSISTANT, GRANDCHILD, *students(STUDY)])
    return files(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose models fail, each width in its own way."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    study = tiny(model={"family": "own:build"})
    return study.model_copy(update={"root": str(folder)})


def ends(told: Iterable[HopEvent]) -> list[HopEnded]:
    return [event for event in told if isinstance(event, HopEnded)]


def same(folder: Path, expected: dict[str, bytes]) -> None:
    """The files of a folder are those that are expected of its hops."""
    found = files(folder)
    assert any(name.startswith("hops/") for name in found)
    assert found == {name: expected.get(name) for name in found}


def test_results_are_those_of_a_trainer(
    made: Engines, folder: Path, expected: dict[str, bytes]
) -> None:
    """Bit for bit, whatever the order; a hop ends once, and is stored before that is told."""
    engine, keys = made.engine(STUDY, folder), trainer(folder, STUDY)
    [*events(engine, tasks(keys, [TEACHER]))]
    found = tasks(keys, [*reversed(students(STUDY)), ASSISTANT])
    told = []
    for event in events(engine, found):
        if not isinstance(event, Notice):
            told.append(event)
        if isinstance(event, HopEnded):
            assert keys.store.record("hops", event.key) is not None
    [*events(engine, tasks(keys, [GRANDCHILD]))]
    assert files(folder) == expected
    for task in found:
        first, *epochs, last = [event for event in told if event.key == task.key]
        assert isinstance(first, HopStarted)
        assert first.epoch == 0
        assert all(isinstance(event, EpochDone) for event in epochs)
        assert [event.epoch for event in epochs] == [*range(1, first.epochs + 1)]
        assert isinstance(last, HopEnded)
        assert (last.outcome, last.epoch, last.reason) == ("complete", first.epochs, "")


def test_group_trains_what_each_hop_does_alone(made: Engines, folder: Path, tmp_path: Path) -> None:
    mode, pair = "fp32 x8+", students(STUDY)[:2]
    alone = trainer(tmp_path / "alone", STUDY, mode=mode)
    assert alone.stacking_key(pair[0]) == alone.stacking_key(pair[1]) is not None
    train_all(alone, [TEACHER, *pair])
    engine = made.engine(STUDY, folder, mode)
    [*events(engine, tasks(alone, [TEACHER]))]
    told = [*events(engine, tasks(alone, pair), together=True)]
    assert {event.key for event in ends(told)} == {alone.key(hop) for hop in pair}
    assert files(folder) == files(tmp_path / "alone")


def test_engine_takes_as_many_groups_as_it_says(made: Engines, folder: Path) -> None:
    study = tiny(student={"loss": ["kd", "ce"]})  # with one replicate, which no workers share
    engine, keys = made.engine(study, folder), trainer(folder, study)
    [*events(engine, tasks(keys, hops(study, 4)[:1]))]
    while engine.free_workers < made.workers:  # a node has not started it yet
        [*engine.events()]
    given = 0
    while engine.free_workers:
        engine.submit(tasks(keys, [students(study)[given]]))
        given += 1
    assert given == made.workers
    left = given
    while left:
        left -= len(ends(engine.events()))
    assert engine.free_workers == given


def test_finished_hop_is_not_trained_again(made: Engines, folder: Path) -> None:
    engine, keys = made.engine(STUDY, folder), trainer(folder, STUDY)
    first = [*events(engine, tasks(keys, [TEACHER]))]
    again = [*events(engine, tasks(keys, [TEACHER]))]
    assert any(isinstance(event, EpochDone) for event in first)
    assert [type(event) for event in again] == [HopStarted, HopEnded]
    assert ends(again)[0].outcome == "complete"


def test_pruned_hop_goes_on_from_its_rung(
    made: Engines, folder: Path, expected: dict[str, bytes]
) -> None:
    engine, keys = made.engine(STUDY, folder), trainer(folder, STUDY)
    [*events(engine, tasks(keys, [TEACHER]))]
    (stopped,) = ends(events(engine, tasks(keys, [ASSISTANT], (None, NEVER))))
    assert (stopped.outcome, stopped.epoch) == ("stopped", 2)
    assert not keys.finished(ASSISTANT)
    begun, *_ = events(engine, tasks(keys, [ASSISTANT]))
    assert isinstance(begun, HopStarted)
    assert begun.epoch == 2
    same(folder, expected)


@pytest.mark.parametrize(
    ("width", "outcome", "reason"),
    [
        (4, "failed", "hop 16 → 4: ValueError: broken on purpose"),
        (6, "out of memory", "hop 16 → 6: out of memory on cpu"),
    ],
)
def test_failing_hop_says_why_and_others_go_on(
    made: Engines, folder: Path, own: Study, width: int, outcome: str, reason: str
) -> None:
    engine, keys = made.engine(own, folder), trainer(folder, own)
    teacher, failing, whole = hops(own, width)[0], hops(own, width)[1], hops(own, 12)[1]
    [*events(engine, tasks(keys, [teacher]))]
    told = {event.key: event for event in ends(events(engine, tasks(keys, [failing, whole])))}
    failed = told[keys.key(failing)]
    assert (failed.outcome, failed.reason) == (outcome, reason)
    assert told[keys.key(whole)].outcome == "complete"
    assert keys.finished(whole)
    assert not keys.finished(failing)


def test_closed_engine_loses_no_rung(
    made: Engines, folder: Path, expected: dict[str, bytes]
) -> None:
    """It may be closed twice, in the middle of a hop; another engine goes on."""
    first, keys = made.fresh_engine(STUDY, folder), trainer(folder, STUDY)
    for event in events(first, tasks(keys, [TEACHER])):
        if isinstance(event, EpochDone) and event.accuracy is not None:
            break
    first.close()
    first.close()
    second = made.engine(STUDY, folder)
    begun, *rest = events(second, tasks(keys, [TEACHER]))
    assert isinstance(begun, HopStarted)
    assert begun.epoch >= 1
    assert len(ends(rest)) == 1
    same(folder, expected)


def test_engine_that_got_nothing_may_be_closed(made: Engines, folder: Path) -> None:
    engine = made.fresh_engine(STUDY, folder)
    engine.close()
    engine.close()


@pytest.mark.parametrize("made", POOLS, indirect=True)
def test_hop_of_a_killed_worker_goes_on(
    made: Engines, folder: Path, tmp_path: Path, own: Study
) -> None:
    """From its last rung, in another worker; what it is in the end is what it would have been."""
    engine, keys, held = made.engine(own, folder), trainer(folder, own), Path(own.root) / "held"
    held.unlink(missing_ok=True)
    teacher, hop = hops(own, 8)
    [*events(engine, tasks(keys, [teacher]))]
    told = []
    for event in events(engine, tasks(keys, [hop])):
        told.append(event)
        if isinstance(event, EpochDone) and event.epoch == 1:
            wait_for(held.exists)
            os.kill(int(held.read_text()), signal.SIGKILL)
    notice = next(event.message for event in told if isinstance(event, Notice))
    assert notice == "a worker was killed by signal 9 (killed); hop 16 → 8 goes on in a new one"
    begun = [event.epoch for event in told if isinstance(event, HopStarted)]
    assert begun[0] == 0
    assert begun[1] >= 1
    assert [event.outcome for event in ends(told)] == ["complete"]
    straight = trainer(tmp_path / "straight", own)
    train_all(straight, [teacher, hop])
    same(folder, files(tmp_path / "straight"))


@pytest.mark.slow
@pytest.mark.parametrize("made", POOLS, indirect=True)
def test_hop_that_ends_its_workers_is_given_up(made: Engines, folder: Path, own: Study) -> None:
    engine, keys = made.engine(own, folder), trainer(folder, own)
    teacher, deadly, whole = hops(own, 2)[0], hops(own, 2)[1], hops(own, 12)[1]
    [*events(engine, tasks(keys, [teacher]))]
    told = {event.key: event for event in ends(events(engine, tasks(keys, [deadly, whole])))}
    failed = told[keys.key(deadly)]
    assert failed.outcome == "failed"
    assert failed.reason == "hop 16 → 2: its worker ended with code 3, 3 times"
    assert told[keys.key(whole)].outcome == "complete"
