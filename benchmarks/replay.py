"""A search on a table: the code of `tasearch run`, with an engine that looks results up.

Nothing is trained. Time is simulated: a hop takes the seconds that it took when the table was made,
and each worker takes its next hop when it is free. Proposals take no simulated time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna

from benchmarks.table import Table
from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode
from tasearch.chains.rungs import rung_epochs
from tasearch.config.search_section import SearchSection
from tasearch.config.sections import BudgetSection
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.runs.directory import Manifest
from tasearch.runs.events import HopEnded, HopEvent, HopOutcome, HopStarted, TrialDone
from tasearch.runs.journal import DIRECTIONS
from tasearch.runs.records import Bill, TrialRecord, candidates
from tasearch.runs.store import HopRecord
from tasearch.runs.trial_attributes import chain_of
from tasearch.search.driver import Driver
from tasearch.search.executor import HopExecutor
from tasearch.search.sampler import ChainSampler
from tasearch.train.tasks import Task


class TableArchive:
    """The hops that a replayed search has trained so far, in place of a trainer's archive.

    Args:
        table: Table with all results.
        rungs: Number of rungs of the search.
    """

    def __init__(self, table: Table, rungs: int) -> None:
        self.table, self.rungs = table, rungs
        self.replicates = range(table.replicates)
        self._records: dict[str, HopRecord] = {}
        self._keys: dict[Hop, str] = {}

    def key(self, hop: Hop) -> str:
        """A name for what decides the hop's weights."""
        if hop not in self._keys:
            words = [
                f"{model.width}r{self.table.number(model.recipe)}"
                for model in hop.canonical_lineage
                if model.recipe
            ]
            self._keys[hop] = "-".join(words)
        return self._keys[hop]

    def whole(self, hop: Hop) -> HopRecord:
        """The record of a hop that was trained to its end."""
        last = _epochs(hop)
        epochs = rung_epochs(last, self.rungs) if last else [1]  # of a loaded teacher, its accuracy
        return HopRecord(
            widths=tuple(model.width for model in hop.lineage),
            recipes=(),
            mode=Mode(bf16=False, slots=None, shared=False),
            epoch=last,
            epochs=tuple(epochs) if last else (0,),
            curves=tuple(tuple(c[e - 1] for e in epochs) for c in self.table[hop].curves),
        )

    def keep_rungs(self, hop: Hop) -> None:
        """Nothing: a table has no weights."""

    def finished(self, hop: Hop) -> bool:
        """Whether a hop was trained to its end."""
        saved = self.saved(hop)
        return saved is not None and saved.epoch == _epochs(hop)

    def saved(self, hop: Hop) -> HopRecord | None:
        """The record of a hop as far as it was trained; None if it was not."""
        return self._records.get(self.key(hop))

    def keep(self, hop: Hop, record: HopRecord) -> None:
        """Store the record of a hop."""
        self._records[self.key(hop)] = record

    def stacking_key(self, hop: Hop) -> None:
        """None, so that hops are not stacked: the seconds in the table are each hop's own."""


def _epochs(hop: Hop) -> int:
    """Epochs of a hop's training, 0 of a loaded teacher."""
    return 0 if hop.model.recipe is None else hop.model.recipe.epochs


class TableEngine:
    """An engine that looks hops up in a table.

    Args:
        archive: Receives the hops.
        workers: Number of simulated workers.
        stretch: A factor for the seconds that a hop took when the table was made.
        overhead_s: Seconds that each hop costs besides.

    Attributes:
        clock: Simulated seconds since the start.
        busy_s: Simulated seconds for which workers had something to do, over all workers.
    """

    def __init__(
        self, archive: TableArchive, workers: int, *, stretch: float = 1.0, overhead_s: float = 0.0
    ) -> None:
        self._archive, self._workers = archive, workers
        self._stretch, self._overhead_s, self.busy_s = stretch, overhead_s, 0.0
        self._order = itertools.count()
        self._started: list[HopStarted] = []
        self._busy: list[tuple[float, int, Task, HopRecord]] = []
        self.clock = 0.0

    @property
    def free_workers(self) -> int:
        """Number of idle workers."""
        return self._workers - len(self._busy)

    def submit(self, tasks: Sequence[Task]) -> None:
        (task,) = tasks
        whole, before = self._archive.whole(task.hop), self._archive.saved(task.hop)
        start = before.epoch if before else 0
        end = whole
        for rung, threshold in enumerate(task.thresholds):
            if (
                threshold is not None
                and whole.epochs[rung] > start
                and threshold.stops(whole.curve[rung])
            ):
                end = whole.until(rung)
                break
        share = (end.epoch - start) / max(whole.epoch, 1)
        seconds = self._stretch * share * self._archive.table[task.hop].seconds + self._overhead_s
        self.busy_s += seconds
        heapq.heappush(self._busy, (self.clock + seconds, next(self._order), task, end))
        self._started.append(
            HopStarted(
                key=task.key, label=task.hop.label, epoch=start, epochs=whole.epoch, recipe=None
            )
        )

    def events(self) -> Iterator[HopEvent]:
        while self._started:
            yield self._started.pop()
        self.clock, _, task, record = heapq.heappop(self._busy)
        self._archive.keep(task.hop, record)
        outcome: HopOutcome = "complete" if record.epoch == _epochs(task.hop) else "stopped"
        label = task.hop.label
        yield HopEnded(key=task.key, label=label, outcome=outcome, epoch=record.epoch, seconds=0.0)

    def close(self) -> None:
        self._busy.clear()


@dataclass(frozen=True, kw_only=True)
class Step:
    """The state of a search after one of its trials.

    Args:
        paid: Training FLOPs so far beyond the teacher's, each hop counted once.
        unshared: The same if each chain had trained all its hops itself; the teacher is given.
        seconds: Simulated seconds so far.
        volume: Hypervolume of the front.
        finished: Hops that this trial brought to their ends as candidates, its student's last.
    """

    paid: float
    unshared: float
    seconds: float
    volume: float
    finished: tuple[Hop, ...]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One replayed search.

    Args:
        steps: State of the search after each trial.
        trials: All trials.
    """

    steps: list[Step]
    trials: list[TrialRecord]


def manifest_for(
    table: Table, search: Mapping[str, Any], seed: int, budget: Mapping[str, Any]
) -> Manifest:
    """The table's manifest with another search, seed and budget.

    Args:
        table: Table to search.
        search: Keys of the section [search] that differ from their defaults.
        seed: Seed of the study.
        budget: Keys of the section [budget].
    """
    study = table.manifest.study
    section = SearchSection(
        **{**SearchSection().model_dump(), **search, "replicates": table.replicates}
    )
    changed = study.model_copy(
        update={"search": section, "seed": seed, "budget": BudgetSection(**budget)}
    )
    return replace(table.manifest, study=changed)


def make_driver(
    manifest: Manifest,
    archive: TableArchive,
    engine: TableEngine,
    open_optuna: Callable[[ChainSampler], optuna.Study],
    trials: int,
) -> Driver:
    """The driver of `tasearch run` over the hops of a table.

    Args:
        manifest: Manifest of the study.
        archive: Receives the hops.
        engine: Looks them up.
        open_optuna: Makes the Optuna study from a sampler.
        trials: Largest number of trials.
    """
    space = archive.table.space(manifest)
    return Driver(
        manifest=manifest,
        space=space,
        hops=HopExecutor(
            archive=archive,
            make_engine=lambda: engine,
            teacher=space.teacher,
            metric=manifest.metric,
            log=lambda *args, **values: None,
            warnings=[],
        ),
        open_optuna=open_optuna,
        trials=trials,
    )


def replay(
    table: Table, manifest: Manifest, *, trials: int, workers: int = 1, enough: float = math.inf
) -> Replayed:
    """Run a search on a table.

    Args:
        table: Table that takes the trainer's place.
        manifest: Manifest of the study; see `manifest_for`.
        trials: Largest number of trials.
        workers: Number of simulated workers.
        enough: Hypervolume at which the search may end.
    """
    archive = TableArchive(table, manifest.study.search.rungs)
    engine = TableEngine(archive, workers)
    driver = make_driver(
        manifest,
        archive,
        engine,
        lambda sampler: optuna.create_study(directions=DIRECTIONS, sampler=sampler),
        trials,
    )
    bill, teacher = (
        Bill(manifest.trained_samples, manifest.measured),
        archive.key(table.teacher_hop),
    )
    steps: list[Step] = []
    records: list[TrialRecord] = []
    front = Front([])
    volume = 0.0
    for event in driver.events():
        if not isinstance(event, TrialDone):
            continue
        record = event.record
        records.append(record)
        bill.add(replace(record, hops=tuple(use for use in record.hops if use.key != teacher)))
        grown = Front([*front.members, *candidates([record], manifest.measured)])
        if grown.members != front.members:
            front, volume = grown, hypervolume(grown.members, manifest.reference_box)
        step = Step(
            paid=bill.paid,
            unshared=bill.unshared,
            seconds=engine.clock,
            volume=volume,
            finished=_finished(record, table),
        )
        steps.append(step)
        if volume >= enough:
            break
    return Replayed(steps=steps, trials=records)


def _finished(record: TrialRecord, table: Table) -> tuple[Hop, ...]:
    """The student's hop, if a trial is complete."""
    if record.state != "complete":
        return ()
    return (chain_of(asdict(record), table.teacher).hop(),)
