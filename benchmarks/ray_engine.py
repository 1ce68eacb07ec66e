"""What does Ray cost beside the pool of workers on one machine, and how far would 64 workers help?

The same tasks go to worker processes of this machine and to those of a Ray cluster of its own, in
turns, round after round, so that other work on the machine meets both. Measured are the start of an
engine until its first hop has ended; a hop of no length, which is a stored one that is asked for
again; and the speed-up of two workers over one, with hops of the digits. The overhead is then put
into searches with simulated workers (`benchmarks.ray_replay`).

    python -m benchmarks.ray_engine --rounds 5
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.ray_affinity import affinity
from benchmarks.ray_replay import simulated
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset, load_data
from tasearch.models import Models
from tasearch.runs.events import HopEnded
from tasearch.runs.store import Store
from tasearch.train.archive import HopArchive
from tasearch.train.tasks import Task
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.ray_cluster import RayCluster, Resources
from tasearch.train.workers.worker_process import WorkerProcess

KINDS = ("pool", "ray")
CORES = 0.25  # of a training, as Ray counts: room for all workers beside each other
STUDENTS = (12, 11, 10, 9, 8, 7, 6, 5)
SIMULATED = [  # workers, trials at the same time, median length of a hop in seconds
    (8, 8, 60.0),
    (64, 8, 60.0),
    (64, 64, 60.0),
    (64, 64, 1.0),
]


class Bench:
    """Engines of both kinds, and a stored teacher.

    Args:
        folder: Folder for everything.
        epochs: Number of epochs of the hops that are timed.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        self._folder = folder
        content = {
            "teacher": {"width": 32, "epochs": 1},
            "assistants": {"max": 0},
            "student": {"widths": [*STUDENTS], "epochs": epochs},
            "training": {"precision": "fp32", "stack": "never"},
        }
        self.study: Study = parse_study(content)
        self._data: Dataset = load_data(self.study)
        self._modes = dict.fromkeys(self.study.widths, Mode.parse("fp32"))
        resources = Resources(cpus=CORES, gpus=0, memory=0)
        self._cluster = RayCluster(None, resources, self.study.training.threads)
        self._pools = list[Pool]()
        self._first = folder / "first"
        self.teacher, _ = self._chain(STUDENTS[0]).hops()

    def close(self) -> None:
        """End all engines, and leave the cluster."""
        for pool in self._pools:
            pool.close()
        self._cluster.close()

    def start(self, kind: str, workers: int) -> tuple[Pool, float]:
        """A new engine, and the seconds until it has trained the teacher."""
        start = time.perf_counter()
        elsewhere: Callable[[], WorkerProcess] | None = None
        if kind == "ray":
            elsewhere = self._cluster.start
        shared = self._folder / f"shared-{len(self._pools)}"
        pool = Pool(["cpu"] * workers, self.study, elsewhere=elsewhere, folder=shared)
        self._pools.append(pool)
        store = self._folder / f"teacher-{len(self._pools)}"
        self.seconds(pool, store, [self.teacher])
        if not self._first.exists():
            store.rename(self._first)
        return pool, time.perf_counter() - start

    def started(self, workers: int) -> dict[str, Pool]:
        """An engine of each kind whose workers have all started."""
        pools = {kind: self.start(kind, workers)[0] for kind in KINDS}
        for pool in pools.values():
            while pool.free_workers < workers:
                for _ in pool.events():
                    pass
        return pools

    def empty_hop_s(self, pool: Pool, count: int) -> float:
        """Seconds of a hop that is stored already, on average over so many."""
        return self.seconds(pool, self._first, [self.teacher] * count, set_up=False) / count

    def students_s(self, pool: Pool) -> float:
        """Seconds of all students' hops."""
        store = Path(tempfile.mkdtemp(dir=self._folder))
        shutil.copytree(self._first, store, dirs_exist_ok=True)
        return self.seconds(pool, store, [self._chain(width).hop() for width in STUDENTS])

    def seconds(
        self, pool: Pool, store: Path, hops: Sequence[Hop], *, set_up: bool = True
    ) -> float:
        """Seconds until an engine has trained hops whose ancestors are stored."""
        archive = self._archive(store)
        if set_up:
            store.mkdir(exist_ok=True)
            code = UserCode(digests={})
            pool.set_up(self.study, self._data, Store(store), self._modes, archive.separable, code)
        waiting = [Task(key=archive.key(hop), hop=hop) for hop in hops]
        left, start = len(waiting), time.perf_counter()
        while left:
            while waiting and pool.free_workers:
                pool.submit([waiting.pop()])
            for event in pool.events():
                assert not isinstance(event, HopEnded) or event.outcome == "complete", event
                left -= isinstance(event, HopEnded)
        return time.perf_counter() - start

    def _chain(self, width: int) -> Chain:
        recipe = self.study.recipes("student").one_per_loss()[0]
        teacher = ModelSpec(width=self.study.teacher.width, recipe=self.study.teacher_recipe())
        return Chain(models=(teacher, ModelSpec(width=width, recipe=recipe)))

    def _archive(self, store: Path) -> HopArchive:
        return HopArchive(
            study=self.study,
            data=self._data.fingerprint,
            family=Models.for_study(self.study, self._data).family,
            device="cpu",
            modes=self._modes,
            store=Store(store),
        )


def turns(number: int) -> Sequence[str]:
    """The kinds of engines, each of which is the first in every second round."""
    return KINDS if number % 2 else KINDS[::-1]


def starts(bench: Bench, rounds: int) -> Iterator[dict[str, float]]:
    """Seconds from nothing to the end of a first hop of one epoch, with one worker."""
    for number in range(rounds):
        found = {}
        for kind in turns(number):
            pool, found[kind] = bench.start(kind, 1)
            pool.close()
        yield found


def empty_hops(bench: Bench, rounds: int, count: int) -> Iterator[dict[str, float]]:
    """Milliseconds of a hop of no length, with one worker."""
    pools = bench.started(1)
    for pool in pools.values():
        bench.seconds(pool, bench._first, [bench.teacher])
    for number in range(rounds):
        yield {kind: 1e3 * bench.empty_hop_s(pools[kind], count) for kind in turns(number)}


def speed_ups(bench: Bench, rounds: int) -> Iterator[dict[str, dict[str, float]]]:
    """Seconds of the students' hops with one worker and with two."""
    pools = {workers: bench.started(workers) for workers in (1, 2)}
    for number in range(rounds):
        found: dict[str, dict[str, float]] = {}
        for kind in turns(number):
            one, two = (bench.students_s(pools[workers][kind]) for workers in (1, 2))
            found[kind] = {"one_s": one, "two_s": two, "speed_up": one / two}
        yield found


def told(words: str, rounds: Iterator[Any]) -> list[Any]:
    """All rounds, each printed as it comes."""
    found = []
    for each in rounds:
        print(words, each, flush=True)
        found.append(each)
    return found


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--hops", type=int, default=200, help="hops of no length in each round")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of the students")
    parser.add_argument("--images", type=int, default=2000, help="images that have soft targets")
    parser.add_argument("--seeds", type=int, default=5, help="simulated searches")
    parser.add_argument("--trials", type=int, default=300, help="trials of a simulated search")
    common.add_out_option(parser, "ray-engine.json")
    args = parser.parse_args()
    result: dict[str, Any] = {"question": common.question(__doc__), **common.provenance(args)}
    with tempfile.TemporaryDirectory() as root, contextlib.ExitStack() as stack:
        bench = stack.enter_context(contextlib.closing(Bench(Path(root), args.epochs)))
        empty = told("ms of a hop of no length:", empty_hops(bench, args.rounds, args.hops))
        speed = told("students:", speed_ups(bench, args.rounds))
        begun = told("s to start:", starts(bench, args.rounds))
        soft_targets = affinity(args.images)
    overhead = common.spread([each["ray"] for each in empty])
    result |= {
        "load_after": os.getloadavg()[0],
        "start_s": summary(begun),
        "empty_hop_ms": summary(empty),
        "speed_up_of_two_workers": summary(
            [{kind: own["speed_up"] for kind, own in each.items()} for each in speed]
        ),
        "students": speed,
        "soft_targets": soft_targets,
        "simulated": [],
    }
    common.write_json(args.out, result)
    for case in SIMULATED:
        options = {"seeds": args.seeds, "trials": args.trials}
        result["simulated"].append(simulated(*case, overhead["median"] / 1e3, **options))
        common.write_json(args.out, result)


def summary(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The spread of each kind, and that of Ray's share of the pool's, round by round."""
    found: dict[str, Any] = {kind: common.spread([r[kind] for r in rounds]) for kind in KINDS}
    return found | {"ray_over_pool": common.spread([r["ray"] / r["pool"] for r in rounds])}


if __name__ == "__main__":
    main()
