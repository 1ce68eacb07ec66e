"""A pool whose workers are on other machines: some have none yet, some lose theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tasearch.chains.hop import Hop
from tasearch.config.user_modules import UserCode
from tasearch.data import load_data
from tasearch.errors import RunError
from tasearch.runs.events import EpochDone, Event, HopEnded, HopStarted, Notice
from tasearch.runs.store import Store
from tasearch.train.tasks import Task
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.ray_cluster import Resources
from tasearch.train.workers.worker import _known
from tasearch.train.workers.worker_process import Death
from tests.helpers.studies import tiny
from tests.helpers.training import hops

STUDY = tiny()
LOST = Death(words="was lost with its node", own=False, lost=True)


class Scripted:
    """A worker process that says what a test has it say."""

    def __init__(self, *, placed: bool) -> None:
        self.placed = placed
        self.given: list[Any] = []  # keys of its tasks
        self.tell: Callable[[str | None], None] = print

    def say(self, content: Mapping[str, Any]) -> None:
        self.given += [task["key"] for task in content.get("tasks", ())]

    def listen(self, tell: Callable[[str | None], None]) -> None:
        self.tell = tell
        if self.placed:
            self.begin()

    def begin(self) -> None:
        """Get a machine, and start."""
        self.placed = True
        self.answer("Ready", None)
        self.answer("SetUp", None)

    def answer(self, kind: str, content: Any) -> None:
        self.tell(json.dumps([kind, content]))

    def report(self, event: Event) -> None:
        self.answer(type(event).__name__, asdict(event))

    def lose(self) -> None:
        self.tell(None)

    def death(self) -> Death:
        return LOST

    def end(self) -> None:
        self.placed = False


class Machines:
    """A pool, and all processes that it has started."""

    def __init__(self, folder: Path, number: int, *, placed: int) -> None:
        self.started: list[Scripted] = []
        self.room = placed

        def start() -> Scripted:
            made = Scripted(placed=len(self.started) < self.room)
            self.started.append(made)
            return made

        self.pool = Pool(["cpu"] * number, STUDY, elsewhere=start, folder=folder / "shared")
        code = UserCode(digests={})
        self.pool.set_up(STUDY, load_data(STUDY), Store(folder), {}, lambda hop: (), code)
        self.hear(2 * min(number, placed))

    def hear(self, lines: int) -> list[Event]:
        """The events of as many lines."""
        return [event for _ in range(lines) for event in self.pool.events()]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Callable[..., Machines]]:
    made: list[Machines] = []

    def make(number: int, *, placed: int) -> Machines:
        made.append(Machines(tmp_path, number, placed=placed))
        return made[-1]

    yield make
    for found in made:
        found.pool.close()
    assert not [*(tmp_path / "shared").iterdir()]


def tasks(*keys: str) -> list[Task]:
    hop: Hop = hops(STUDY, 8)[-1]
    return [Task(key=key, hop=hop) for key in keys]


def epoch(key: str, number: int) -> EpochDone:
    return EpochDone(key=key, label="a", epoch=number, epochs=9, loss=1.0, accuracy=0.5)


def started(key: str) -> HopStarted:
    return HopStarted(key=key, label="a", epoch=0, epochs=9, recipe=None)


def test_task_waits_for_the_first_machine(machines: Any) -> None:
    found = machines(2, placed=0)
    assert found.pool.free_workers == 1  # else a search would find nothing to wait for
    found.pool.submit(tasks("a"))
    assert found.pool.free_workers == 0
    late = found.started[1]
    late.begin()
    assert found.hear(2) == []
    assert late.given == ["a"]
    assert found.pool.free_workers == 0


def test_another_worker_takes_over_from_a_lost_one(machines: Any) -> None:
    """The one in its place may never get a machine."""
    found = machines(2, placed=2)
    first, other = found.started
    found.pool.submit(tasks("a", "b"))
    first.report(started("a"))
    first.lose()
    *_, one, two = found.hear(2)
    assert isinstance(one, Notice)
    assert "lost with its node; hop 16 → 8 goes on in a new one" in one.message
    assert one == two  # for each hop, which go on one by one
    assert other.given == ["a", "b"]
    assert not found.started[2].given


def test_task_of_the_last_machine_waits(machines: Any) -> None:
    found = machines(1, placed=1)
    found.pool.submit(tasks("a"))
    found.started[0].lose()
    found.hear(1)
    assert found.pool.free_workers == 0
    found.started[1].begin()
    found.hear(2)
    assert found.started[1].given == ["a"]


@pytest.mark.parametrize("progress", [False, True])
def test_hop_that_takes_machines_down_is_given_up(machines: Any, progress: bool) -> None:
    """Unless it gets further each time."""
    found = machines(1, placed=9)
    found.pool.submit(tasks("a"))
    for number in range(3):
        worker = found.started[-1]
        if progress:
            worker.report(epoch("a", number + 1))
            found.hear(1)
        worker.lose()
        events = found.hear(1)
        found.hear(2)
    (last,) = events
    assert isinstance(last, HopEnded) is not progress
    if isinstance(last, HopEnded):
        assert last.reason == "hop 16 → 8: its worker was lost with its node, 3 times"
        assert not found.started[-1].given


def test_machines_lost_while_workers_start_end_no_search(machines: Any) -> None:
    found = machines(1, placed=1)
    for _ in range(5):
        found.started[-1].placed = True
        found.started[-1].lose()
        assert found.hear(1) == []


def test_worker_that_does_not_see_the_data_says_so() -> None:
    with pytest.raises(RunError, match=r"does not see it; --runs-dir .* must be a folder that all"):
        _known(STUDY.model_dump_json(), "/nowhere/data.arrays")


def test_resources_of_a_training() -> None:
    plain = Resources.of(STUDY, "cpu")
    assert plain.options == {"num_cpus": 1, "num_gpus": 0}
    assert Resources.of(STUDY, "cuda").gpus == 1
    study = tiny(resources={"cpus": 2.0, "gpus": 0.25, "memory_gb": 4.0})
    named = Resources.of(study, "cpu")
    assert named.slots({"CPU": 16, "GPU": 1, "memory": 64e9}) == 4
    assert named.slots({"CPU": 5, "GPU": 1, "memory": 64e9}) == 2
    assert named.slots({"CPU": 5, "GPU": 1, "memory": 3e9}) == 0
    assert named.slots({"CPU": 64}) == 0
    assert str(named) == "2 cores and 0.25 GPUs and 4 GB of memory"
    assert study.identity() == STUDY.identity()
