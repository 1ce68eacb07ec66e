"""A search on a table: the code of `tasearch run`, with an engine that looks results up.

Nothing is trained. Time is simulated: a hop takes the seconds that it took when the table was made,
and so many workers take hops up as they come free. Proposals take no simulated time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from benchmarks.table import Table
from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode
from tasearch.config.sections import BudgetSection, SearchSection
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.runs.directory import Manifest
from tasearch.runs.events import HopEnded, HopEvent, HopOutcome, HopStarted, TrialDone
from tasearch.runs.journal import DIRECTIONS
from tasearch.runs.records import Bill, TrialRecord, candidates
from tasearch.runs.store import HopRecord
from tasearch.search.driver import Driver
from tasearch.search.executor import HopExecutor
from tasearch.search.sampler import ChainSampler
from tasearch.train.loop import rung_epochs
from tasearch.train.tasks import Task


class Shelf:
    """The hops that a replayed search has trained so far.

    Args:
        table: of all results.
        rungs: of the search.
    """

    def __init__(self, table: Table, rungs: int) -> None:
        self.table, self.rungs = table, rungs
        self.replicates = range(table.replicates)
        self._records: dict[str, HopRecord] = {}
        self._keys: dict[Hop, str] = {}

    def key(self, hop: Hop) -> str:
        if hop not in self._keys:
            words = [
                f"{p.width}r{self.table.number(p.recipe)}"
                for p in hop.canonical_lineage
                if p.recipe
            ]
            self._keys[hop] = "-".join(words)
        return self._keys[hop]

    def whole(self, hop: Hop) -> HopRecord:
        """A hop trained to its end."""
        recipe = hop.model.recipe
        assert recipe is not None
        epochs = rung_epochs(recipe.epochs, self.rungs)
        return HopRecord(
            widths=tuple(model.width for model in hop.lineage),
            recipes=(),
            mode=Mode(bf16=False, slots=None, shared=False),
            epoch=recipe.epochs,
            epochs=tuple(epochs),
            curves=tuple(tuple(c[e - 1] for e in epochs) for c in self.table[hop].curves),
        )

    def finished(self, hop: Hop) -> bool:
        saved, recipe = self.saved(hop), hop.model.recipe
        assert recipe is not None
        return saved is not None and saved.epoch == recipe.epochs

    def saved(self, hop: Hop) -> HopRecord | None:
        return self._records.get(self.key(hop))

    def keep(self, hop: Hop, record: HopRecord) -> None:
        self._records[self.key(hop)] = record

    def stacking_key(self, hop: Hop) -> None:
        """Nobody's: seconds in the table are each hop's own."""


class Lookup:
    """An engine that answers from a table.

    Args:
        shelf: receives what would have been trained.
        workers: at once.

    Attributes:
        clock: simulated seconds.
    """

    def __init__(self, shelf: Shelf, workers: int) -> None:
        self._shelf, self._workers = shelf, workers
        self._order = itertools.count()
        self._begun: list[HopStarted] = []
        self._busy: list[tuple[float, int, Task, HopRecord]] = []
        self.clock = 0.0

    @property
    def free(self) -> int:
        return self._workers - len(self._busy)

    def submit(self, tasks: Sequence[Task]) -> None:
        (task,) = tasks
        whole, before = self._shelf.whole(task.hop), self._shelf.saved(task.hop)
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
        share = (end.epoch - start) / whole.epoch
        then = self.clock + share * self._shelf.table[task.hop].seconds
        heapq.heappush(self._busy, (then, next(self._order), task, end))
        self._begun.append(
            HopStarted(
                key=task.key, label=task.hop.label, epoch=start, epochs=whole.epoch, recipe=None
            )
        )

    def events(self) -> Iterator[HopEvent]:
        while self._begun:
            yield self._begun.pop()
        self.clock, _, task, record = heapq.heappop(self._busy)
        self._shelf.keep(task.hop, record)
        recipe = task.hop.model.recipe
        assert recipe is not None
        outcome: HopOutcome = "complete" if record.epoch == recipe.epochs else "stopped"
        label = task.hop.label
        yield HopEnded(key=task.key, label=label, outcome=outcome, epoch=record.epoch, seconds=0.0)

    def close(self) -> None:
        self._busy.clear()


@dataclass(frozen=True, kw_only=True)
class Step:
    """A search after one of its trials.

    Args:
        paid: training FLOPs so far, each hop once.
        unshared: had each chain trained its own hops.
        proposals: so far.
        seconds: simulated.
        volume: hypervolume of the front.
    """

    paid: float
    unshared: float
    proposals: int
    seconds: float
    volume: float


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One search.

    Args:
        steps: after each trial.
        trials: all of them.
    """

    steps: list[Step]
    trials: list[TrialRecord]


def restudied(
    table: Table, search: Mapping[str, Any], seed: int, budget: Mapping[str, Any]
) -> Manifest:
    """The table's manifest with another search, seed and budget."""
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
    shelf: Shelf,
    engine: Lookup,
    open_optuna: Callable[[ChainSampler], optuna.Study],
    trials: int,
) -> Driver:
    """The driver of `tasearch run` over the hops of a table."""
    space = shelf.table.space(manifest)
    return Driver(
        manifest=manifest,
        space=space,
        hops=HopExecutor(
            archive=shelf,
            make_engine=lambda: engine,
            teacher=space.teacher,
            chance=0.0,
            log=lambda *args, **values: None,
            warnings=[],
        ),
        open_optuna=open_optuna,
        trials=trials,
    )


def replay(table: Table, manifest: Manifest, *, trials: int, workers: int = 1) -> Replayed:
    """Run a search on a table.

    Args:
        table: that answers.
        manifest: of the study to run; see `restudied`.
        trials: to propose at most.
        workers: simulated.
    """
    shelf = Shelf(table, manifest.study.search.rungs)
    engine = Lookup(shelf, workers)
    driver = make_driver(
        manifest,
        shelf,
        engine,
        lambda sampler: optuna.create_study(directions=DIRECTIONS, sampler=sampler),
        trials,
    )
    bill = Bill(manifest.trained_samples, manifest.measured)
    steps: list[Step] = []
    records: list[TrialRecord] = []
    front = Front([])
    volume = 0.0
    for event in driver.events():
        if not isinstance(event, TrialDone):
            continue
        record = event.record
        records.append(record)
        bill.add(record)
        grown = Front([*front.members, *candidates([record], manifest.measured)])
        if grown.members != front.members:
            front, volume = grown, hypervolume(grown.members, manifest.reference)
        step = Step(
            paid=bill.paid,
            unshared=bill.unshared,
            proposals=event.done,
            seconds=engine.clock,
            volume=volume,
        )
        steps.append(step)
    return Replayed(steps=steps, trials=records)
