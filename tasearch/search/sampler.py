"""Samplers: what an Optuna sampler proposes becomes a canonical, new chain within the budget."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from tasearch.chains.keys import canonical_json, derived_seed
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.config import plugins
from tasearch.config.guard import contained, timely
from tasearch.config.study import Study
from tasearch.errors import StudyError, raised
from tasearch.runs.journal import DIRECTIONS
from tasearch.runs.optuna_adapter import StudyView
from tasearch.search.parameters import distributions

if TYPE_CHECKING:
    from tasearch.search.acquisition import Acquisition

TRIES = 16  # proposals of the inner sampler before a chain near its last one is taken
NEAR_TRIES = 100  # random chains that differ in a number of choices, before this number is raised

MakeSampler = Callable[[int], BaseSampler]  # from a seed


class AcquisitionSampler(BaseSampler):
    """Proposes the chain that the acquisition function ranks first.

    Args:
        acquisition: The acquisition function, see `tasearch.search.acquisition`.
        seed: Seed for random choices, if all chains of its candidate pool have been tried.
    """

    def __init__(self, acquisition: Acquisition, seed: int) -> None:
        self._acquisition, self._random = acquisition, RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}  # the acquisition function knows the space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if isinstance(study, StudyView):
            self._acquisition.catch_up(study.all_trials, study.seen)
        best = self._acquisition.best()
        return {} if best is None else dict(best.choices)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


SAMPLERS: dict[str, Callable[[Acquisition], MakeSampler]] = {
    "ehvi": lambda acquisition: lambda seed: AcquisitionSampler(acquisition, seed),
    "tpe": lambda acquisition: lambda seed: TPESampler(seed=seed),
    "nsga2": lambda acquisition: lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "gp": lambda acquisition: lambda seed: GPSampler(seed=seed),
    "random": lambda acquisition: lambda seed: RandomSampler(seed=seed),
    "brute": lambda acquisition: lambda seed: BruteForceSampler(seed=seed),
}


def make_sampler(study: Study) -> Callable[[Acquisition], MakeSampler]:
    """The function that `search.sampler` names; one of the user's own is called once as a test.

    Args:
        study: The study.

    Returns:
        A function that takes the acquisition function and returns a function from a seed to an
        Optuna sampler.

    Raises:
        StudyError: There is no such function, or it does not return an Optuna sampler.
    """
    name = study.search.sampler
    if name in SAMPLERS:
        return SAMPLERS[name]
    make = plugins.resolve(name, SAMPLERS, path="search.sampler", root=study.root)
    check_made(make, f"search.sampler: {name!r}")
    return lambda acquisition: make


def check_made(make: MakeSampler, where: str) -> None:
    """Call a user's function once, and check what it returns.

    Args:
        make: The function.
        where: What it is called in messages.

    Raises:
        StudyError: It does not take a seed, or does not return an Optuna sampler.
    """
    try:
        made = make(0)
    except Exception as error:  # a user's function may raise anything
        raise StudyError(f"{where} should take a seed, raised {raised(error)}") from error
    if not isinstance(made, BaseSampler):
        raise StudyError(f"{where} should return an Optuna sampler, returned {type(made).__name__}")


def try_sampler(space: Space, make: MakeSampler) -> None:
    """Ask a sampler for one proposal in a separate study, before time is spent on training.

    Args:
        space: The chains of the study.
        make: Function from a seed to the sampler.

    Raises:
        StudyError: The sampler cannot propose chains of this study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=DIRECTIONS, sampler=ChainSampler(space, make, 0))
    study.ask(distributions(space))


class ChainSampler(BaseSampler):
    """Asks an inner sampler until it proposes a chain that has never been tried.

    If the inner sampler repeats its last proposal, asking again would only take time: a chain that
    has never been tried and differs in as few choices as possible is taken.

    The inner sampler is created anew for each trial, from the study's seed and the number of trials
    before it in the search's order. It sees the first of these trials, as many as the driver says;
    all of them have ended by then. As a proposal depends on nothing else, it stays the same after a
    kill and with any number of workers.

    Args:
        space: The chains of the study.
        make: Function from a seed to the inner sampler.
        seed: The study's seed.
    """

    def __init__(self, space: Space, make: MakeSampler, seed: int) -> None:
        self._space, self._make, self._seed = space, make, seed
        self._seen = 0
        self._trials: Callable[[], list[FrozenTrial]] = list
        self._cache: dict[int, FrozenTrial] = {}  # for `StudyView`
        self._distributions = distributions(space)
        self._known: set[str] = set()  # canonical JSON of choices

    def follow(self, trials: Callable[[], list[FrozenTrial]]) -> None:
        """Set where the sampler finds the trials that it learns from.

        Args:
            trials: Function that returns the trials of the search, in its order.
        """
        self._trials = trials

    def remember(self, choices: Choices) -> None:
        """Never propose these canonical choices again."""
        self._known.add(canonical_json(choices))

    def knows(self, choices: Choices) -> bool:
        """Whether these canonical choices are never proposed again."""
        return canonical_json(choices) in self._known

    def see(self, trials: int) -> None:
        """Let proposals depend on the first trials of the search.

        Args:
            trials: Number of these trials.
        """
        self._seen = trials

    @property
    def exhausted(self) -> bool:
        """Whether all chains of the space have been tried."""
        return len(self._known) >= self._space.size

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {name: d for name, d in self._distributions.items() if not d.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        trials = self._trials()
        seed = derived_seed("proposal", self._seed, len(trials)) % 2**32
        study = StudyView(study, trials, self._seen, trial, [*search_space], self._cache)
        with contained("search.sampler"), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            inner = self._make(seed)
        choices = {name: values[0] for name, values in self._space.domains.items()}
        proposed: list[Choices] = []
        while len(proposed) < TRIES:
            choices = choices | self._propose(inner, study, trial, search_space)
            new = self._new(choices)
            if new is not None:
                return new
            if choices in proposed:
                break
            proposed.append(choices)
        return self._near(choices, random.Random(seed))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        raise AssertionError(f"{param_name} is part of the relative search space")

    @staticmethod
    def _propose(
        inner: BaseSampler,
        study: optuna.Study,
        trial: FrozenTrial,
        space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        trial = copy.copy(trial)
        trial.params = dict(trial.params)  # a copy, because the storage has the original
        try:
            name = f"search.sampler: {type(inner).__name__}"
            with contained("search.sampler"), timely(name), warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                relative = inner.infer_relative_search_space(study, trial)
                values = inner.sample_relative(study, trial, relative)
                for name, distribution in space.items():
                    if name not in values:
                        values[name] = inner.sample_independent(study, trial, name, distribution)
                    trial.params[name] = values[name]  # brute force reads what is chosen already
        except StudyError:
            raise
        except Exception as error:  # a user's sampler may raise anything
            raise StudyError(
                f"search.sampler: {type(inner).__name__} raised {raised(error)}"
            ) from error
        return values

    def _new(self, raw: Choices) -> Choices | None:
        """The canonical form of raw choices; None if they make no chain, or a known one.

        In place of a chain whose student was never distilled directly, that is proposed first: a
        gain of its recipe would be taken for one of its assistants.
        """
        chain = self._space.chain(raw)
        if chain is None:
            return None
        for wanted in filter(None, (self._space.direct(chain), chain)):
            choices = self._space.choices(wanted)
            if not self.knows(choices):
                return choices
        return None

    def _near(self, choices: Choices, rng: random.Random) -> Choices:
        """Choices that have never been tried, with as few changes as possible."""
        domains = {name: d for name, d in self._space.domains.items() if len(d) > 1}
        for changed in range(1, len(domains) + 1):
            for _ in range(NEAR_TRIES):
                names = rng.sample([*domains], changed)
                new = self._new(choices | {name: rng.choice(domains[name]) for name in names})
                if new is not None:
                    return new
        left = [c for chain in self._space if (c := self._new(self._space.choices(chain)))]
        return rng.choice(left)
