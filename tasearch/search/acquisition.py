"""The acquisition function: expected hypervolume improvement per training cost.

Size and latency of a chain are known before it is trained. Its hypervolume improvement is therefore
a function of one unknown, the student's accuracy. A regression predicts the accuracy, with an
uncertainty, for every chain that has not been tried. From it the expected hypervolume improvement
follows in closed form (Emmerich et al., 2006, with two of three objectives known). Divided by what
the chain would still cost, as in cost-aware Bayesian optimization (Snoek et al., 2012, arXiv
1206.2944, section 3.2), it ranks the chains. Hops that are stored, or in training, cost nothing.
Before anything is known, all accuracies are predicted alike, and the ranking is mostly one by cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.pareto.expected_improvement import expected_improvement
from tasearch.pareto.hypervolume import HypervolumeGrid
from tasearch.runs.directory import Manifest
from tasearch.runs.trial_attributes import chain_of, is_free, is_queued, is_retry
from tasearch.search.accuracy_regression import AccuracyRegression, StartedChain, TrainedStudent
from tasearch.search.candidate_pool import Array, CandidatePool, HopCosts, make_candidate_pool
from tasearch.search.encoding import ChainEncoder


@dataclass(frozen=True, kw_only=True)
class RankedChain:
    """A chain that has not been tried, with what the acquisition function knows of it.

    Args:
        choices: Its canonical choices.
        gain: Expected hypervolume improvement, as a share of the reference box.
        cost: Training FLOPs that it still takes.
    """

    choices: Choices
    gain: float
    cost: float


class Acquisition:
    """The acquisition function of a search.

    Args:
        manifest: The run's manifest.
        space: The chains of the study.
    """

    def __init__(self, manifest: Manifest, space: Space) -> None:
        self._space, self._seed = space, manifest.study.seed
        self._sizes, self._reference = manifest.candidates, manifest.reference_box
        self._encoder = ChainEncoder(space, manifest.measured, [*self._sizes])
        self._baselines = len(space.baselines())
        self._hop_costs = HopCosts(manifest, space.teacher)
        self._regression = AccuracyRegression(self._reference, len(self._sizes))
        self._complete: set[int] = set()  # hops that are the student of a complete trial
        self._started = self._seen = 0  # numbers of trials: taken in as started, learned from
        self._running: dict[int, StartedChain] = {}  # trials that are not learned from yet
        self._tried: set[str] = set()  # canonical JSON of choices
        self._proposed = 0
        self._ranking: tuple[Array, Array, Array] | None = None  # None after something new

    def catch_up(self, trials: Sequence[FrozenTrial], seen: int) -> None:
        """Take in new trials.

        Args:
            trials: All trials of the search, in its order; the last may be one that is just being
                asked for.
            seen: Number of the first of these trials that may be learned from; all have ended.
        """
        for trial in trials[self._started :]:
            if "recipe" not in trial.user_attrs:
                break
            self._ranking = None
            self._start(trial)
            self._started += 1
        for trial in trials[self._seen : seen]:
            self._ranking = None
            self._learn(trial, self._running.pop(trial.number))
        self._seen = max(seen, self._seen)

    def _start(self, trial: FrozenTrial) -> None:
        """Take in a trial that was started."""
        chain = chain_of(trial.user_attrs, self._space.teacher)
        hops = [self._hop_costs.number(hop) for hop in chain.hops()]
        within = chain.student.width in self._sizes  # not if the budget was tightened since
        self._running[trial.number] = StartedChain(
            hops=hops,
            features=self._encoder.encode(chain) if within else [],
            width=chain.student.width,
        )
        self._proposed += not (is_free(trial) or is_queued(trial) or is_retry(trial))
        choices = self._space.member(chain)
        if choices is not None:
            self._tried.add(canonical_json(choices))

    def _learn(self, trial: FrozenTrial, chain: StartedChain) -> None:
        """Take in a trial that has ended."""
        for number, use in zip(chain.hops, trial.user_attrs.get("hops", ()), strict=False):
            share = use["trained"] / use["epochs"] if use["epochs"] else 1.0
            self._hop_costs.pay(number, share)
        curve = tuple(trial.user_attrs.get("curve", ()))
        student, complete = chain.hops[-1], trial.state == TrialState.COMPLETE
        new = student not in self._complete and chain.features
        if curve and trial.state != TrialState.FAIL and new:
            trained = TrainedStudent(chain=chain, curve=curve, complete=complete)
            self._regression.students.append(trained)
        if complete:
            self._complete.add(student)  # another trial may have the same student

    @property
    def paid(self) -> float:
        """Training FLOPs so far; hops of running trials count as if trained to their last epoch."""
        hop_costs = self._hop_costs
        running = {number for chain in self._running.values() for number in chain.hops}
        left = (hop_costs.costs[number] - hop_costs.paid[number] for number in running)
        return sum(hop_costs.paid) + sum(left)

    def best(self) -> RankedChain | None:
        """The untried chain with the largest gain for its cost; None if all have been tried."""
        left, gains, costs = self._ranked()
        if not left.size:
            return None
        pick = int(np.argmax(gains / costs))
        choices = self._candidate_pool.choices[left[pick]]
        return RankedChain(choices=choices, gain=float(gains[pick]), cost=float(costs[pick]))

    def expected_growth(self) -> float | None:
        """The growth of the hypervolume to expect if as much again were spent as was so far.

        It assumes the best gain per cost among the chains that are left, and is at most the sum of
        their gains.

        Returns:
            The growth as a share of the present hypervolume; None if too little is known yet.
        """
        if self._proposed <= self._baselines:
            return None
        left, gains, costs = self._ranked()
        volume = self._grid().volume
        if not left.size or not volume:
            return None
        return min(float(np.max(gains / costs)) * self.paid, float(gains.sum())) / volume

    def _ranked(self) -> tuple[Array, Array, Array]:
        """The chains of the candidate pool that have not been tried.

        Returns:
            Their indices in the pool, expected gains, and costs, each of shape (chains left,).
        """
        if self._ranking is None:
            self._ranking = self._rank()
        return self._ranking

    def _rank(self) -> tuple[Array, Array, Array]:
        pool = self._candidate_pool
        untried = np.ones(len(pool.choices), dtype=bool)
        untried[[pool.index[c] for c in self._tried if c in pool.index]] = False
        left = np.flatnonzero(untried)
        costs = self._remaining_costs()[pool.hops[left]].sum(axis=1)
        if not left.size:
            return left, np.ones(0), costs
        running = [chain for chain in self._running.values() if chain.features]
        others = np.array([c.features for c in running]).reshape(-1, pool.features.shape[1])
        prediction = self._regression.fit(pool.features.shape[1])
        mean, sd = prediction.predict(pool.features[left], others)
        grid = self._grid()
        for chain, accuracy in zip(running, prediction.mean(others).tolist(), strict=True):
            grid.add(chain.width, accuracy)  # they count as if they ended as predicted
        return left, expected_improvement(grid, pool.widths[left], mean, sd), costs

    def _grid(self) -> HypervolumeGrid:
        """The hypervolume of the complete students."""
        grid = HypervolumeGrid(self._sizes, self._reference)
        best: dict[int, float] = {}
        for student in self._regression.complete:
            width, accuracy = student.chain.width, student.curve[-1]
            best[width] = max(accuracy, best.get(width, accuracy))
        for width, accuracy in best.items():
            grid.add(width, accuracy)
        return grid

    def _remaining_costs(self) -> Array:
        """Training FLOPs that each hop still takes, shape (hops,)."""
        costs: Array = np.array(self._hop_costs.costs) - np.array(self._hop_costs.paid)
        costs[[number for chain in self._running.values() for number in chain.hops]] = 0.0
        return costs

    @cached_property
    def _candidate_pool(self) -> CandidatePool:
        return make_candidate_pool(self._space, self._hop_costs, self._encoder, self._seed)
