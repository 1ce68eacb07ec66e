"""What chains expected_growth, and what they cost: the search's own sampler, and its end.

Size and latency of a chain are known before it is trained, so its gain in hypervolume is a function
of one unknown, the student's accuracy. A Bayesian ridge regression predicts it, with an
uncertainty, for every chain that was not tried, and the expected gain follows in closed form:
expected hypervolume improvement (Emmerich et al., 2006) with two of three objectives known. Divided
by what the chain would still cost, as in cost-aware Bayesian optimisation (Snoek et al., arXiv
1206.2944, section 3.2), it ranks the chains. Hops that are stored, or in training, cost nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from sklearn.linear_model import BayesianRidge

from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.pareto.grid import HypervolumeGrid
from tasearch.runs.directory import Manifest
from tasearch.runs.trial_attributes import is_free, is_queued, is_retry
from tasearch.search.candidate_pool import Array, CandidatePool, HopCosts, make_candidate_pool
from tasearch.search.encoding import ChainEncoder
from tasearch.search.trials import chain_of

ROWS = 2_000  # trials that the regression sees, at most: the latest
PRUNED_WEIGHT = 0.25  # of a student that was stopped, beside one that has ended
LEAST_SD = 1e-4  # of a predicted accuracy


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """A chain that was not tried.

    Args:
        choices: its canonical parameters.
        gain: expected rise of the hypervolume, as a share of the box.
        cost: training FLOPs that it still takes.
    """

    choices: Choices
    gain: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class _TriedChain:
    """A chain that was tried: its hops, and its student's features, ancestor and width."""

    hops: list[int]
    features: list[float]
    ancestor: int
    width: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A student that the regression learns from."""

    tried: _TriedChain
    curve: tuple[float, ...]
    whole: bool


class Acquisition:
    """What is known of chains, and what the others expected_growth.

    Args:
        manifest: of the run.
        space: of the chains.
    """

    def __init__(self, manifest: Manifest, space: Space) -> None:
        self._space, self._measured = space, manifest.measured
        self._seed = manifest.study.seed
        self._sizes, self._reference = manifest.candidates, manifest.reference
        self._features = ChainEncoder(space, manifest.measured, [*self._sizes])
        self._baselines = len(space.baselines())
        self._hop_costs = HopCosts(manifest, space.teacher)
        self._accuracy: dict[int, float] = {}  # of hops trained to their ends
        self._ended: set[int] = set()  # hops that are the student of a complete trial
        self._known = self._seen = 0  # trials taken in, and learned from
        self._running: dict[int, _TriedChain] = {}  # trials taken in and not learned from
        self._tried: set[str] = set()  # canonical choices
        self._proposed = 0
        self._rows: list[_Row] = []
        self._forecast: tuple[Array, Array, Array] | None = None  # of what is known now

    def catch_up(self, trials: Sequence[FrozenTrial], seen: int) -> None:
        """Take in trials that are new.

        Args:
            trials: all, in order; one that is being asked for may be last.
            seen: so many of the first may be learned from, all of which are over.
        """
        for trial in trials[self._known :]:
            if "recipe" not in trial.user_attrs:
                break
            self._forecast = None
            chain = chain_of(trial.user_attrs, self._space.teacher)
            hops = [self._hop_costs.number(hop) for hop in chain.hops()]
            within = chain.student.width in self._sizes  # else it is of before the study has grown
            self._running[trial.number] = _TriedChain(
                hops=hops,
                features=self._features.encode(chain) if within else [],
                ancestor=self._hop_costs.ancestor(hops),
                width=chain.student.width,
            )
            self._proposed += not (is_free(trial) or is_queued(trial) or is_retry(trial))
            choices = self._space.member(chain)
            if choices is not None:
                self._tried.add(canonical_json(choices))
            self._known += 1
        for trial in trials[self._seen : seen]:
            self._forecast = None
            self._learn(trial, self._running.pop(trial.number))
        self._seen = max(seen, self._seen)

    def _learn(self, trial: FrozenTrial, tried: _TriedChain) -> None:
        for number, use in zip(tried.hops, trial.user_attrs.get("hops", ()), strict=False):
            share = use["trained"] / use["epochs"] if use["epochs"] else 1.0
            self._hop_costs.pay(number, share)
            if share == 1.0:
                self._accuracy[number] = use["accuracy"]
        curve = tuple(trial.user_attrs.get("curve", ()))
        student, whole = tried.hops[-1], trial.state == TrialState.COMPLETE
        new = student not in self._ended and tried.features
        if curve and trial.state != TrialState.FAIL and new:
            self._rows.append(_Row(tried=tried, curve=curve, whole=whole))
        if whole:
            self._ended.add(student)  # it may be another trial's, too

    @property
    def paid(self) -> float:
        """Training FLOPs so far, and of what is running as if trained to its end."""
        hop_costs = self._hop_costs
        running = {number for tried in self._running.values() for number in tried.hops}
        left = (hop_costs.costs[number] - hop_costs.paid[number] for number in running)
        return sum(hop_costs.paid) + sum(left)

    def best(self) -> Prospect | None:
        """The chain to try next: one of the start, then that of the largest gain for its cost; None
        where none is left that is looked at."""
        if self._proposed == self._baselines:
            seed = self._half_way(self._space.student_widths[-1])  # where the gap is largest
            if seed is not None:
                return seed
        left, gains, costs = self._prospects()
        if not left.size:
            return None
        pick = int(np.argmax(gains / costs))
        choices = self._candidate_pool.choices[left[pick]]
        return Prospect(choices=choices, gain=float(gains[pick]), cost=float(costs[pick]))

    def expected_growth(self) -> float | None:
        """The share by which the hypervolume should rise if as much again were spent as was so far,
        at the best rate, as far as the chains that are left go; None as long as too little is
        known."""
        if self._proposed <= self._baselines:
            return None
        left, gains, costs = self._prospects()
        volume = self._grid().volume
        if not left.size or not volume:
            return None
        return min(float(np.max(gains / costs)) * self.paid, float(gains.sum())) / volume

    def _prospects(self) -> tuple[Array, Array, Array]:
        """The chains that are left, as indices into the pool; their expected gains and costs."""
        if self._forecast is None:
            self._forecast = self._predicted()
        return self._forecast

    def _predicted(self) -> tuple[Array, Array, Array]:
        candidate_pool = self._candidate_pool
        open_ = np.ones(len(candidate_pool.choices) + 1, dtype=bool)
        open_[[candidate_pool.index[c] for c in self._tried if c in candidate_pool.index]] = False
        open_[-1] = False
        left = np.flatnonzero(open_)
        costs = self._marginal()[candidate_pool.hops[left]].sum(axis=1)
        if not left.size or sum(row.whole for row in self._rows) < 2:
            return left, np.ones(len(left)), costs
        model, guess = self._model()
        x = np.column_stack([candidate_pool.features, guess[candidate_pool.ancestors]])
        with np.errstate(invalid="ignore"):  # a variance of nothing may be rounded below it
            mean, sd = model.predict(x, return_std=True)
        grid = self._grid()
        running = [tried for tried in self._running.values() if tried.features]
        if running:  # as if they ended as predicted
            believed = model.predict([[*f.features, guess[f.ancestor]] for f in running])
            for tried, accuracy in zip(running, believed.tolist(), strict=True):
                grid.add(tried.width, accuracy)
        gains = grid.gains(candidate_pool.widths, mean, np.fmax(sd, LEAST_SD))
        others = np.append(gains, 0.0) * open_  # assistants that come along as students
        return left, gains[left] + others[candidate_pool.shorter[left]].sum(axis=1), costs

    def _grid(self) -> HypervolumeGrid:
        grid = HypervolumeGrid(self._sizes, self._reference)
        for row in self._rows:
            if row.whole:
                grid.add(row.tried.width, row.curve[-1])
        return grid

    def _marginal(self) -> Array:
        """FLOPs that each hop still costs."""
        costs: Array = np.array(self._hop_costs.costs) - np.array(self._hop_costs.paid)
        costs[[number for tried in self._running.values() for number in tried.hops]] = 0.0
        return costs

    def _model(self) -> tuple[BayesianRidge, Array]:
        """The regression, and the accuracy of every hop, guessed where it is not known."""
        rows, guess, gains = self._rows[-ROWS:], self._guesses(), self._usual_gains()
        x = [[*row.tried.features, guess[row.tried.ancestor]] for row in rows]
        y = [row.curve[-1] + (0.0 if row.whole else gains[len(row.curve) - 1]) for row in rows]
        weights = [1.0 if row.whole else PRUNED_WEIGHT for row in rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of accuracies that are all alike
            return BayesianRidge().fit(x, y, sample_weight=weights), guess

    def _usual_gains(self) -> Array:
        """The median of what students that ended had gained from each rung on."""
        longest = max(len(row.curve) for row in self._rows)
        curves = [row.curve for row in self._rows if row.whole and len(row.curve) == longest]
        found = np.array(curves[-ROWS:])
        return np.asarray(np.median(found[:, -1:] - found, axis=0)) if curves else np.zeros(longest)

    def _guesses(self) -> Array:
        """The accuracy of every hop: as trained, else its width's mean, else between widths."""
        by_width: dict[int, list[float]] = {}
        for number, accuracy in self._accuracy.items():
            by_width.setdefault(self._hop_costs.widths[number], []).append(accuracy)
        known = sorted(by_width)
        means = [float(np.mean(by_width[width])) for width in known]
        size = {width: np.log(max(1, m.params)) for width, m in self._measured.items()}
        places = sorted(zip([size[width] for width in known], means, strict=True))
        at, heights = [place for place, _ in places], [mean for _, mean in places]
        of: dict[int, float] = {
            width: float(np.interp(size[width], at, heights)) for width in self._measured
        }
        of.update(zip(known, means, strict=True))
        guess = np.array([of[width] for width in self._hop_costs.widths])
        guess[[*self._accuracy]] = [*self._accuracy.values()]
        return guess

    def _half_way(self, width: int) -> Prospect | None:
        """TAKD's heuristic: the one assistant whose accuracy should lie half-way between the
        teacher's and the direct student's; None where it was tried or is not known yet."""
        wider = [w for w in self._space.assistant_widths if w > width]
        direct = [r.curve[-1] for r in self._rows if r.tried.width == width and r.whole]
        if not wider or not direct or self._space.max_assistants < 1:
            return None
        widths = self._hop_costs.widths
        guess = dict(zip(widths, self._guesses(), strict=True))  # any hop's of each width
        middle = (guess[self._space.teacher.width] + direct[0]) / 2
        for assistant in sorted(wider, key=lambda w: abs(guess.get(w, 0.0) - middle)):
            raw = {name: values[0] for name, values in self._space.domains.items()}
            raw |= {"assistants": 1, "assistant_1": assistant, "student": width}
            chain = self._space.chain(raw)
            number = None
            if chain is not None:
                number = self._candidate_pool.index.get(canonical_json(self._space.choices(chain)))
            if number is None:
                continue
            choices, hops = self._candidate_pool.choices[number], self._candidate_pool.hops[number]
            if canonical_json(choices) not in self._tried:
                cost = float(self._marginal()[hops].sum())
                return Prospect(choices=choices, gain=0.0, cost=cost)
        return None

    @cached_property
    def _candidate_pool(self) -> CandidatePool:
        return make_candidate_pool(self._space, self._hop_costs, self._features, self._seed)
