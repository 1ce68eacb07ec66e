"""Trials of a search in Optuna's study: asked for, entered, described, told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from tasearch.chain import Chain, Pupil, Recipe
from tasearch.search.sampler import distributions
from tasearch.space import Choices, Space

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def is_free(trial: FrozenTrial) -> bool:
    """Whether a trial is an assistant of the chain proposed before it."""
    return bool(trial.user_attrs.get("free"))


class Trials:
    """The trials of one study.

    Args:
        study: whose sampler proposes canonical choices.
        space: of the chains.
    """

    def __init__(self, study: optuna.Study, space: Space) -> None:
        self._study, self._space = study, space
        self._distributions = distributions(space)

    def all(self) -> list[FrozenTrial]:
        """In the order of their numbers; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def ask(self, choices: Choices | None) -> tuple[FrozenTrial, Chain]:
        """A new trial of given choices, or of the sampler's."""
        if choices is None:
            asked = self._study.ask(self._distributions)
            trial = self._frozen(asked._trial_id)
        else:
            trial = self._add(choices, {})
        return trial, self.chain(trial)

    def enter(self, chain: Chain) -> FrozenTrial:
        """A free trial; it has no parameters where the space has no such chain."""
        attrs = {"chain": list(chain.widths), "recipe": describe_recipes(chain), "free": True}
        return self._add(self._space.member(chain) or {}, attrs)

    def chain(self, trial: FrozenTrial) -> Chain:
        """What a trial means; parameters of one that was cut off are named first."""
        if "recipe" in trial.user_attrs:
            return chain_of(trial.user_attrs, self._space.teacher)
        choices: Choices = dict(trial.params)
        if len(choices) < len(self._distributions):
            choices = self._filled(trial)
        chain = self._space.chain(choices)
        assert chain is not None and self._space.choices(chain) == choices, choices
        return chain

    def describe(self, trial: FrozenTrial, chain: Chain) -> None:
        """Note the chain with a trial that lacks it."""
        if "recipe" not in trial.user_attrs:
            attrs = {"chain": list(chain.widths), "recipe": describe_recipes(chain)}
            self._note(trial._trial_id, attrs)

    def tell(
        self,
        number: int,
        trial_id: int,
        attrs: Mapping[str, Any],
        values: Sequence[float] | None,
        state: TrialState,
    ) -> FrozenTrial:
        """A trial is over."""
        self._note(trial_id, attrs)
        return self._study.tell(number, values, state)

    def _note(self, trial_id: int, attrs: Mapping[str, Any]) -> None:
        for name, value in attrs.items():
            self._study._storage.set_trial_user_attr(trial_id, name, value)

    def _add(self, choices: Choices, attrs: dict[str, Any]) -> FrozenTrial:
        trial = create_trial(
            state=TrialState.RUNNING,
            params=choices,
            distributions={name: self._distributions[name] for name in choices},
            user_attrs=attrs,
        )
        storage = self._study._storage
        return self._frozen(storage.create_new_trial(self._study._study_id, trial))

    def _frozen(self, trial_id: int) -> FrozenTrial:
        return self._study._storage.get_trial(trial_id)

    def _filled(self, frozen: FrozenTrial) -> Choices:
        """All parameters of a trial; those it has stay as they are."""
        trial = Trial(self._study, frozen._trial_id)
        for name, distribution in self._distributions.items():
            if isinstance(distribution, IntDistribution):
                trial.suggest_int(name, distribution.low, distribution.high)
            else:
                trial.suggest_categorical(name, distribution.choices)  # type: ignore[attr-defined]
        return dict(trial.params)


def describe_recipes(chain: Chain) -> dict[str, Any]:
    """`{"assistants": {...} or None, "student": {...}}`."""
    shared = chain.assistants[0].recipe if chain.assistants else None
    own = chain.student.recipe
    assert own is not None
    return {"assistants": asdict(shared) if shared else None, "student": asdict(own)}


def chain_of(attrs: Mapping[str, Any], teacher: Pupil) -> Chain:
    """The chain of a trial that is described."""
    _, *widths, student = attrs["chain"]
    recipe = attrs["recipe"]
    shared = Recipe(**recipe["assistants"]) if widths else None
    assistants = tuple(Pupil(width=width, recipe=shared) for width in widths)
    own = Pupil(width=student, recipe=Recipe(**recipe["student"]))
    return Chain(pupils=(teacher, *assistants, own))
