"""What chains promise, and what they cost: the search's own sampler, and its end.

Size and latency of a chain are known before it is trained, so its gain in hypervolume is a function
of one unknown, the student's accuracy. A Bayesian ridge regression predicts it, with an
uncertainty, for every chain that was not tried, and the expected gain follows in closed form:
expected hypervolume improvement (Emmerich et al., 2006) with two of three objectives known. Divided
by what the chain would still cost, as in cost-aware Bayesian optimisation (Snoek et al., arXiv
1206.2944, section 3.2), it ranks the chains. Hops that are stored, or in training, cost nothing.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from sklearn.linear_model import BayesianRidge

from tasearch.chain import Chain, Hop, Pupil, canonical_json, derived_seed
from tasearch.record import training_flops
from tasearch.rundir import Snapshot
from tasearch.search.features import Features
from tasearch.search.stairs import Stairs
from tasearch.search.trials import chain_of, is_free
from tasearch.space import Choices, Space

CHAINS = 20_000  # looked at, at most; of a larger space, so many drawn at random
ROWS = 2_000  # trials that the regression sees, at most: the latest
PRUNED_WEIGHT = 0.25  # of a student that was stopped, beside one that has ended
LEAST_SD = 1e-4  # of a predicted accuracy
NOBODY = 0  # the hop that costs nothing, where a chain has fewer hops than others

Array = np.ndarray[Any, Any]


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
class _Flight:
    """A chain that was tried: its hops, and its student's features, ancestor and width."""

    hops: list[int]
    features: list[float]
    ancestor: int
    width: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A student that the regression learns from."""

    flight: _Flight
    curve: tuple[float, ...]
    whole: bool


@dataclass(frozen=True, kw_only=True)
class _Catalogue:
    """The chains of the space, or many of them.

    Args:
        choices: of each, (n,)
        index: of canonical choices.
        features: (n, numbers)
        widths: of the students, (n,)
        ancestors: hop that the student learns from, (n,)
        hops: of each chain but the teacher's, the student's last, (n, hops)
        shorter: chains that its assistants are students of; n where there is none, (n, assistants)
    """

    choices: list[Choices]
    index: dict[str, int]
    features: Array
    widths: Array
    ancestors: Array
    hops: Array
    shorter: Array


class Scout:
    """What is known of chains, and what the others promise.

    Args:
        snapshot: of the run.
        space: of the chains.
    """

    def __init__(self, snapshot: Snapshot, space: Space) -> None:
        self._space, self._measured = space, snapshot.measured
        self._samples, self._seed = snapshot.trained_samples, snapshot.study.seed
        self._sizes, self._reference = snapshot.candidates, snapshot.reference
        self._features = Features(space, snapshot.measured, [*self._sizes])
        self._baselines = len(space.baselines())
        self._ids: dict[tuple[Pupil, ...], int] = {}  # of hops, by what decides their weights
        self._widths = [space.teacher.width]  # of each hop
        self._costs, self._paid = [0.0], [0.0]  # FLOPs of each: in all, and as far as trained
        self._teacher = self._id(Hop(lineage=(space.teacher,)))
        self._accuracy: dict[int, float] = {}  # of hops trained to their ends
        self._ended: set[int] = set()  # hops that are the student of a complete trial
        self._known = self._seen = 0  # trials taken in, and learned from
        self._flying: dict[int, _Flight] = {}  # trials taken in and not learned from
        self._tried: set[str] = set()  # canonical choices
        self._proposed = 0
        self._rows: list[_Row] = []

    def catch_up(self, trials: Sequence[FrozenTrial], seen: int) -> None:
        """Take in trials that are new.

        Args:
            trials: all, in order; one that is being asked for may be last.
            seen: so many of the first may be learned from, all of which are over.
        """
        for trial in trials[self._known :]:
            if "recipe" not in trial.user_attrs:
                break
            chain = chain_of(trial.user_attrs, self._space.teacher)
            hops = [self._id(hop) for hop in chain.hops()]
            self._flying[trial.number] = _Flight(
                hops=hops,
                features=self._features.of(chain),
                ancestor=self._ancestor(hops),
                width=chain.student.width,
            )
            self._proposed += not is_free(trial)
            choices = self._space.member(chain)
            if choices is not None:
                self._tried.add(canonical_json(choices))
            self._known += 1
        for trial in trials[self._seen : seen]:
            self._learn(trial, self._flying.pop(trial.number))
        self._seen = max(seen, self._seen)

    def _learn(self, trial: FrozenTrial, flight: _Flight) -> None:
        for number, use in zip(flight.hops, trial.user_attrs.get("hops", ()), strict=False):
            share = use["trained"] / use["epochs"] if use["epochs"] else 1.0
            self._paid[number] = max(self._paid[number], share * self._costs[number])
            if share == 1.0:
                self._accuracy[number] = use["accuracy"]
        curve = tuple(trial.user_attrs.get("curve", ()))
        student, whole = flight.hops[-1], trial.state == TrialState.COMPLETE
        if curve and trial.state != TrialState.FAIL and student not in self._ended:
            self._rows.append(_Row(flight=flight, curve=curve, whole=whole))
        if whole:
            self._ended.add(student)  # it may be another trial's, too

    @property
    def paid(self) -> float:
        """Training FLOPs so far, and of what is in flight as if trained to its end."""
        flying = {number for flight in self._flying.values() for number in flight.hops}
        return sum(self._paid) + sum(self._costs[number] - self._paid[number] for number in flying)

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
        choices = self._catalogue.choices[left[pick]]
        return Prospect(choices=choices, gain=float(gains[pick]), cost=float(costs[pick]))

    def promise(self) -> float | None:
        """The share by which the hypervolume should rise if as much again were spent as was so far,
        at the best rate, as far as the chains that are left go; None as long as too little is
        known."""
        if self._proposed <= self._baselines:
            return None
        left, gains, costs = self._prospects()
        volume = self._stairs().volume
        if not left.size or not volume:
            return None
        return min(float(np.max(gains / costs)) * self.paid, float(gains.sum())) / volume

    def _prospects(self) -> tuple[Array, Array, Array]:
        """The chains that are left (indices into the catalogue), their expected gains and costs."""
        catalogue = self._catalogue
        open_ = np.ones(len(catalogue.choices) + 1, dtype=bool)
        open_[[catalogue.index[c] for c in self._tried if c in catalogue.index]] = False
        open_[-1] = False
        left = np.flatnonzero(open_)
        costs = self._marginal()[catalogue.hops[left]].sum(axis=1)
        if not left.size or sum(row.whole for row in self._rows) < 2:
            return left, np.ones(len(left)), costs
        model, guess = self._model()
        x = np.column_stack([catalogue.features, guess[catalogue.ancestors]])
        with np.errstate(invalid="ignore"):  # a variance of nothing may be rounded below it
            mean, sd = model.predict(x, return_std=True)
        stairs = self._stairs()
        flying = [*self._flying.values()]
        if flying:  # as if they ended as predicted
            believed = model.predict([[*f.features, guess[f.ancestor]] for f in flying])
            for flight, accuracy in zip(flying, believed.tolist(), strict=True):
                stairs.add(flight.width, accuracy)
        gains = stairs.gains(catalogue.widths, mean, np.fmax(sd, LEAST_SD))
        others = np.append(gains, 0.0) * open_  # assistants that come along as students
        return left, gains[left] + others[catalogue.shorter[left]].sum(axis=1), costs

    def _stairs(self) -> Stairs:
        stairs = Stairs(self._sizes, self._reference)
        for row in self._rows:
            if row.whole:
                stairs.add(row.flight.width, row.curve[-1])
        return stairs

    def _marginal(self) -> Array:
        """FLOPs that each hop still costs."""
        costs: Array = np.array(self._costs) - np.array(self._paid)
        costs[[number for flight in self._flying.values() for number in flight.hops]] = 0.0
        return costs

    def _model(self) -> tuple[BayesianRidge, Array]:
        """The regression, and the accuracy of every hop, guessed where it is not known."""
        rows, guess, gains = self._rows[-ROWS:], self._guesses(), self._usual_gains()
        x = [[*row.flight.features, guess[row.flight.ancestor]] for row in rows]
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
            by_width.setdefault(self._widths[number], []).append(accuracy)
        known = sorted(by_width)
        means = [float(np.mean(by_width[width])) for width in known]
        sizes = [np.log(self._measured[width].params) for width in known]
        of: dict[int, float] = {
            w: float(np.interp(np.log(m.params), sizes, means)) for w, m in self._measured.items()
        }
        of.update(zip(known, means, strict=True))
        guess = np.array([of[width] for width in self._widths])
        guess[[*self._accuracy]] = [*self._accuracy.values()]
        return guess

    def _half_way(self, width: int) -> Prospect | None:
        """TAKD's heuristic: the one assistant whose accuracy should lie half-way between the
        teacher's and the direct student's; None where it was tried or is not known yet."""
        wider = [w for w in self._space.assistant_widths if w > width]
        direct = [r.curve[-1] for r in self._rows if r.flight.width == width and r.whole]
        if not wider or not direct or self._space.max_assistants < 1:
            return None
        guess = dict(zip(self._widths, self._guesses(), strict=True))  # any hop's of each width
        middle = (guess[self._space.teacher.width] + direct[0]) / 2
        for assistant in sorted(wider, key=lambda w: abs(guess.get(w, 0.0) - middle)):
            raw = {name: values[0] for name, values in self._space.domains.items()}
            raw |= {"assistants": 1, "assistant_1": assistant, "student": width}
            chain = self._space.chain(raw)
            number = None
            if chain is not None:
                number = self._catalogue.index.get(canonical_json(self._space.choices(chain)))
            if number is None:
                continue
            choices, hops = self._catalogue.choices[number], self._catalogue.hops[number]
            if canonical_json(choices) not in self._tried:
                cost = float(self._marginal()[hops].sum())
                return Prospect(choices=choices, gain=0.0, cost=cost)
        return None

    def _id(self, hop: Hop) -> int:
        number = self._ids.setdefault(hop.essence, len(self._costs))
        if number == len(self._costs):
            recipe, width = hop.pupil.recipe, hop.pupil.width
            epochs = recipe.epochs if recipe else 0
            self._widths.append(width)
            self._costs.append(training_flops(width, epochs, self._samples, self._measured))
            self._paid.append(0.0)
        return number

    def _ancestor(self, hops: Sequence[int]) -> int:
        """The hop that a chain's student learns from; the teacher where from labels alone."""
        return hops[-2] if len(hops) > 1 else self._teacher

    @cached_property
    def _catalogue(self) -> _Catalogue:
        chains = [*self._space] if self._space.size <= CHAINS else self._some()
        choices = [self._space.choices(chain) for chain in chains]
        index = {canonical_json(c): i for i, c in enumerate(choices)}
        hops = np.full((len(chains), self._space.max_assistants + 1), NOBODY)
        shorter = np.full((len(chains), self._space.max_assistants), len(chains))

        def part(hop: Hop) -> int:
            """The chain that ends in an assistant."""
            chain = self._space.canonical(Chain.ending_in(hop, self._space.teacher))
            choices = self._space.member(chain)
            return index.get(canonical_json(choices) if choices else "", len(chains))

        parts: dict[int, int] = {}  # by hop
        ancestors = np.empty(len(chains), dtype=int)
        for i, chain in enumerate(chains):
            every = [*chain.hops()]
            numbers = [self._id(hop) for hop in every]
            ancestors[i] = self._ancestor(numbers)
            first = int(numbers[0] == self._teacher)
            own = numbers[first:]
            hops[i, : len(own)] = own
            for place, hop in enumerate(every[first:-1]):
                if own[place] not in parts:
                    parts[own[place]] = part(hop)
                shorter[i, place] = parts[own[place]]
        return _Catalogue(
            choices=choices,
            index=index,
            features=np.array([self._features.of(chain) for chain in chains]),
            widths=np.array([chain.student.width for chain in chains]),
            ancestors=ancestors,
            hops=hops,
            shorter=shorter,
        )

    def _some(self) -> list[Chain]:
        """As many chains as are looked at of a space that is larger, the baselines among them."""
        rng = random.Random(derived_seed("catalogue", self._seed))
        found = {canonical_json(self._space.choices(c)): c for c in self._space.baselines()}
        domains = self._space.domains
        while len(found) < CHAINS:
            raw = {name: rng.choice(values) for name, values in domains.items()}
            chain = self._space.chain(raw)
            if chain is not None:
                found[canonical_json(self._space.choices(chain))] = chain
        return [*found.values()]
