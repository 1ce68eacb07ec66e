"""What a search on a table is compared with: plain Optuna, MO-ASHA, and an oracle."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import optuna

from benchmarks.replay import Step
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.config.sections import BudgetSection
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.runs.accuracies import mean_accuracy
from tasearch.runs.directory import Manifest
from tasearch.runs.journal import DIRECTIONS
from tasearch.search.parameters import distributions

ETA = 3  # MO-ASHA's reduction factor: a third passes each rung, rungs are a factor of 3 apart


class HopCosts:
    """Costs and front of chains that are trained one after another; the teacher costs nothing.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        free: Whether assistants within the budget count for the front.

    Attributes:
        steps: State of the search after each chain.
        found: Canonical lineages of the students that were trained to their ends.
        volume: Hypervolume of the front.
    """

    def __init__(self, table: Table, manifest: Manifest, *, free: bool = False) -> None:
        self._table, self._manifest, self._free = table, manifest, free
        self._epochs: dict[tuple[ModelSpec, ...], int] = {}
        self._paid = self._unshared = self._seconds = 0.0
        self._front = Front([])
        self.volume = 0.0
        self.steps: list[Step] = []
        self.found: set[tuple[ModelSpec, ...]] = set()

    def train(self, chain: Chain, epochs: int | None = None) -> None:
        """Train a chain.

        Args:
            chain: Chain to train.
            epochs: Epochs of its student; None for all. Its assistants are trained to their ends.
        """
        hops = self._hops(chain)
        for hop in hops:
            until = epochs if hop is hops[-1] else None
            self._pay(hop, until)
        finished = self._students(hops) if epochs is None else ()
        self.found.update(hop.canonical_lineage for hop in finished)
        grown = self._grown(finished)
        if grown.members != self._front.members:
            self._front, self.volume = (
                grown,
                hypervolume(grown.members, self._manifest.reference_box),
            )
        step = Step(
            paid=self._paid,
            unshared=self._unshared,
            seconds=self._seconds,
            volume=self.volume,
            finished=tuple(finished),
        )
        self.steps.append(step)

    def missing(self, chain: Chain) -> dict[tuple[ModelSpec, ...], float]:
        """Training FLOPs of each hop that this chain still needs, by canonical lineage."""
        left = {
            hop.canonical_lineage: self._flops(
                hop, _epochs(hop) - self._epochs.get(hop.canonical_lineage, 0)
            )
            for hop in self._hops(chain)
        }
        return {lineage: flops for lineage, flops in left.items() if flops}

    def accuracy(self, hop: Hop) -> float:
        """A model's accuracy, which is known of the teacher and of what was trained to its end."""
        if hop != self._table.teacher_hop:
            trained = self._epochs.get(hop.canonical_lineage)
            assert trained == _epochs(hop), "an accuracy that was not paid for"
        return self._table.end(hop)

    def rate(self, chain: Chain) -> float:
        """Gain of hypervolume for each training FLOP, if this chain were trained."""
        cost = sum(self.missing(chain).values())
        if not cost:
            return 0.0
        students = self._students(self._hops(chain))
        grown = hypervolume(self._grown(students).members, self._manifest.reference_box)
        return (grown - self.volume) / cost

    def _hops(self, chain: Chain) -> list[Hop]:
        return [hop for hop in chain.hops() if hop.lineage != (self._table.teacher,)]

    def _students(self, hops: Sequence[Hop]) -> Sequence[Hop]:
        """The hops of a chain whose models are candidates."""
        return hops if self._free else hops[-1:]

    def _grown(self, students: Sequence[Hop]) -> Front:
        """The front with these candidates."""
        found = (self._table.candidate(hop, self._manifest) for hop in students)
        return Front([*self._front.members, *filter(None, found)])

    def _pay(self, hop: Hop, epochs: int | None) -> None:
        until, before = epochs or _epochs(hop), self._epochs.get(hop.canonical_lineage, 0)
        self._epochs[hop.canonical_lineage] = max(until, before)
        new = max(0, until - before)
        self._paid += self._flops(hop, new)
        self._unshared += self._flops(hop, until)
        self._seconds += self._table[hop].seconds * new / _epochs(hop)

    def _flops(self, hop: Hop, epochs: int) -> float:
        return self._table.cost(hop, self._manifest, epochs)


def _epochs(hop: Hop) -> int:
    assert hop.model.recipe is not None
    return hop.model.recipe.epochs


def unlimited(manifest: Manifest) -> Manifest:
    """The manifest without a budget."""
    study = manifest.study.model_copy(update={"budget": BudgetSection()})
    return replace(manifest, study=study)


def plain_optuna(table: Table, manifest: Manifest, seed: int, trials: int) -> HopCosts:
    """Search by Optuna's default sampler on the plain parameters.

    It proposes chains over the budget too, and repeats chains. There are no baselines to begin
    with, no pruning, and no free candidates.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        seed: Seed of the sampler.
        trials: Number of trials.
    """
    space = table.space(unlimited(manifest))
    known = distributions(space)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    hop_costs = HopCosts(table, manifest)
    for _ in range(trials):
        trial = study.ask(known)
        chain = space.chain(trial.params)
        assert chain is not None
        hop_costs.train(chain)
        size = manifest.measured[chain.student.width]
        study.tell(trial, (table.accuracy(chain), size.params, size.latency_ms))
    return hop_costs


def mo_asha(table: Table, manifest: Manifest, seed: int, trials: int) -> HopCosts:
    """Asynchronous successive halving of chains drawn at random, each once, within the budget.

    A student passes a rung if it is among the best third of all that reached the rung, ranked by
    non-dominated sorting of (accuracy there, parameters, latency), as in MO-ASHA (Schmucker et al.,
    arXiv 2106.12639).

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        seed: Seed of the order.
        trials: Largest number of chains.
    """
    rng = random.Random(seed)
    chains = [*table.space(manifest)]
    rng.shuffle(chains)
    hop_costs = HopCosts(table, manifest)
    seen: dict[int, list[tuple[float, ...]]] = {}
    for chain in chains[:trials]:
        *_, student = chain.hops()
        recipe, size = student.model.recipe, manifest.measured[student.model.width]
        assert recipe is not None
        curves = table[student].curves
        stopped = None
        for epoch in asha_rungs(recipe.epochs):
            accuracy = mean_accuracy(curve[epoch - 1] for curve in curves)
            rung = seen.setdefault(epoch, [])
            rung.append((-accuracy, size.params, size.latency_ms))
            if not promoted(rung):
                stopped = epoch
                break
        hop_costs.train(chain, stopped)
    return hop_costs


def asha_rungs(epochs: int) -> list[int]:
    """Epochs at which students are ranked, without the last epoch."""
    return sorted({math.ceil(epochs / ETA**k) for k in (1, 2)} - {epochs})


def promoted(rung: list[tuple[float, ...]]) -> bool:
    """Whether the last point is in the best of `ETA` parts, by layers of non-dominated sorting.

    Args:
        rung: Points of equal length, each coordinate to be minimized.
    """
    points = np.array(rung)
    left = np.arange(len(points))
    better = 0
    while True:
        a = points[left]
        no_worse = np.asarray((a[:, None] <= a[None]).all(axis=2))
        dominated = np.asarray((no_worse & ~no_worse.T).any(axis=0))
        if not dominated[-1]:
            return better < max(1.0, len(points) / ETA)
        better += int((~dominated).sum())
        left = left[dominated]


def oracle(table: Table, manifest: Manifest, regret: float) -> float:
    """Training FLOPs to a regret for a search that knows the table.

    It greedily takes the chain of the largest gain for its marginal cost, assistants within the
    budget included; then it leaves out each chain which later ones made superfluous. This is an
    upper bound of the least cost.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        regret: Share of the front's hypervolume that may be missing.
    """
    enough = (1 - regret) * table.best_volume(manifest)
    chains = [
        *{
            chain.hop().canonical_lineage: chain for chain in _with_assistants(table, manifest)
        }.values()
    ]
    taken: list[Chain] = []
    hop_costs = HopCosts(table, manifest, free=True)
    while hop_costs.volume < enough:
        taken.append(max(chains, key=hop_costs.rate))
        hop_costs.train(taken[-1])

    def trained(chosen: list[Chain]) -> HopCosts:
        found = HopCosts(table, manifest, free=True)
        for chain in chosen:
            found.train(chain)
        return found

    for chain in [*taken]:
        rest = [other for other in taken if other is not chain]
        if rest and trained(rest).volume >= enough:
            taken = rest
    return trained(taken).steps[-1].paid


def _with_assistants(table: Table, manifest: Manifest) -> Iterator[Chain]:
    """All chains within the budget, and those that end in an assistant within it."""
    budget = manifest.study.limits()
    for chain in table.space(manifest):
        yield chain
        for hop in chain.hops():
            within = budget.admits(manifest.measured[hop.model.width])
            if hop.lineage != (table.teacher,) and within:
                yield Chain.ending_in(hop, table.teacher)
