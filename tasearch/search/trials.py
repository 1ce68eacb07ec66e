"""Trials of a search in Optuna's study: asked for, taken from the queue, entered, told.

The study may be shared: others may queue trials, or add some. What a search goes by is its own
trials in the order in which it took them up, which is that of their numbers but for queued
ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipe import Recipe
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.runs.trial_attributes import OVER, is_ours, is_refused, mark, place
from tasearch.search.parameters import distributions

FIXED = "fixed_params"  # system attribute: parameters of a queued trial
CONSTRAINTS = "constraints"  # system attribute that optuna-dashboard shows; feasible up to zero
TOLD = (
    "curve",
    "epochs",
    "accuracies",
    "audit",
    "reason",
    "failed_hop",
    "cause",
    "hops",
    "refused",
)


class Trials:
    """The trials of one study.

    Args:
        study: whose sampler proposes canonical choices.
        space: of the chains.
        constraints: how far a student of each width is above the limits of the budget.

    Attributes:
        order: numbers of the trials that were taken up, in that order.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        constraints: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        self._study, self._space = study, space
        self._storage, self._id = study._storage, study._study_id
        self._distributions = distributions(space)
        self._constraints = constraints or {}
        self._proposals = 0
        self._over: dict[int, FrozenTrial] = {}  # that are over, which never change
        self.order: list[int] = []

    def all(self) -> list[FrozenTrial]:
        """Those of this search, in its order; not to be changed."""
        every, over = self._every(), self._over
        for number in self.order:
            if number not in over and every[number].state in OVER:
                over[number] = every[number]
        return [over.get(number) or every[number] for number in self.order]

    def recall(self) -> Iterator[tuple[FrozenTrial, list[FrozenTrial]]]:
        """The proposals of earlier runs in order, each with the free trials that came with it."""
        ours = sorted(filter(is_ours, self._every()), key=place)
        for _, group in groupby(ours, key=lambda trial: place(trial)[0]):
            first, *free = group
            self.order += [trial.number for trial in (first, *free)]
            self._proposals += 1
            yield self._started(first), free

    def ask(self, choices: Choices | None) -> tuple[FrozenTrial, Chain]:
        """A new trial of given choices, or of the sampler's."""
        asked = create_trial(state=TrialState.RUNNING)
        if choices is None:
            asked.number, asked._trial_id = len(self._every()), -1
            space = {n: d for n, d in self._distributions.items() if not d.single()}
            proposed = self._study.sampler.sample_relative(self._study, asked, space)
            choices = {name: values[0] for name, values in self._space.domains.items()} | proposed
        chain = self._space.chain(choices)
        assert chain is not None and self._space.choices(chain) == choices, choices
        return self._add(choices, chain, {}, asked.system_attrs), chain

    def enter(self, chain: Chain) -> FrozenTrial:
        """A free trial; it has no parameters where the space has no such chain."""
        return self._add(self._space.member(chain) or {}, chain, {"free": True}, {})

    def queue(self, params: Choices, attrs: Mapping[str, Any]) -> None:
        """Have a chain tried later on, before what the sampler proposes."""
        trial = create_trial(
            state=TrialState.WAITING, system_attrs={FIXED: params}, user_attrs={**attrs}
        )
        self._storage.create_new_trial(self._id, trial)

    def waiting(self) -> list[FrozenTrial]:
        """Queued trials that were not taken up."""
        found = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [trial for trial in found if not is_ours(trial)]

    def take(
        self, trial: FrozenTrial, choices: Choices, retry: bool
    ) -> tuple[FrozenTrial, Chain] | None:
        """A queued trial is taken up; its mark comes last, and makes it one of this search.

        What it bears of attributes may be a copy of another trial's.

        Returns:
            The trial and its chain; None where somebody else has ended it by now.
        """
        chain = self._space.chain(choices)
        assert chain is not None
        try:
            self._describe(trial, choices, chain, retry)
        except UpdateFinishedTrialError:
            return None
        self._proposals += 1
        self.order.append(trial.number)
        return self._started(self._frozen(trial._trial_id)), chain

    def _describe(self, trial: FrozenTrial, choices: Choices, chain: Chain, retry: bool) -> None:
        """Give a queued trial what a trial of this search has.

        Raises:
            UpdateFinishedTrialError: Where somebody else has ended it.
        """
        number = trial._trial_id
        self._set_params(number, choices)
        stale = {name: None for name in (*TOLD, "free") if name in trial.user_attrs}
        queued = {"queued": not retry}
        if not retry and "retry_of" in trial.user_attrs:
            queued["retry_of"] = None  # type: ignore[assignment]
        if chain.student.width in self._constraints:
            over = [*self._constraints[chain.student.width]]
            self._storage.set_trial_system_attr(number, CONSTRAINTS, over)
        mine = mark(self._proposals, trial.number)
        self._note(number, stale | queued | _described(chain) | mine)

    def refuse(self, trial: FrozenTrial, reason: str) -> None:
        """A queued trial is not tried."""
        self._end(trial._trial_id, {"reason": reason, "refused": trial.number}, None)

    def foreign(self) -> list[FrozenTrial]:
        """Trials that others have added or taken up."""
        return [
            trial
            for trial in self._every()
            if not is_ours(trial) and trial.state != TrialState.WAITING and not is_refused(trial)
        ]

    def count(self) -> int:
        """Of all trials of the study, whoever made them."""
        return len(self._every())

    def chain(self, trial: FrozenTrial) -> Chain:
        """What a trial means."""
        return chain_of(trial.user_attrs, self._space.teacher)

    def tell(
        self,
        trial_id: int,
        attrs: Mapping[str, Any],
        values: Sequence[float] | None,
        state: TrialState,
    ) -> FrozenTrial:
        """A trial is over."""
        self._end(trial_id, attrs, values, state)
        return self._frozen(trial_id)

    def note_study(self, name: str, value: Any) -> None:
        """Give the study an attribute, unless it has it."""
        if name not in self._study.user_attrs or self._study.user_attrs[name] != value:
            self._study.set_user_attr(name, value)

    def study_note(self, name: str) -> Any:
        """An attribute of the study."""
        return self._study.user_attrs.get(name)

    def _every(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _frozen(self, trial_id: int) -> FrozenTrial:
        return self._storage.get_trial(trial_id)

    def _end(
        self,
        trial_id: int,
        attrs: Mapping[str, Any],
        values: Sequence[float] | None,
        state: TrialState = TrialState.FAIL,
    ) -> None:
        try:
            self._note(trial_id, attrs)
            self._storage.set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            pass  # by somebody else

    def _note(self, trial_id: int, attrs: Mapping[str, Any]) -> None:
        for name, value in attrs.items():
            self._storage.set_trial_user_attr(trial_id, name, value)

    def _add(
        self,
        choices: Choices,
        chain: Chain,
        attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> FrozenTrial:
        """A trial enters the journal whole, in one line, so that no kill can cut it in two."""
        proposal = self._proposals - bool(attrs.get("free"))
        number, width = len(self._every()), chain.student.width
        limits = {CONSTRAINTS: [*self._constraints[width]]} if width in self._constraints else {}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=choices,
            distributions={name: self._distributions[name] for name in choices},
            user_attrs={**mark(proposal, number), **_described(chain), **attrs},
            system_attrs={**system_attrs, **limits},
        )
        made = self._frozen(self._storage.create_new_trial(self._id, trial))
        if made.number != number:  # others have added one at the same time
            self._note(made._trial_id, mark(proposal, made.number))
            made = self._frozen(made._trial_id)
        self._proposals = proposal + 1
        self.order.append(made.number)
        return made

    def _started(self, trial: FrozenTrial) -> FrozenTrial:
        if trial.state != TrialState.WAITING:
            return trial
        self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        return self._frozen(trial._trial_id)

    def _set_params(self, trial_id: int, choices: Choices) -> None:
        """Show a queued trial's parameters; its chain tells them too, where Optuna wants none, for
        others have added a trial with parameters of the same names and of another kind."""
        try:
            for name, value in choices.items():
                kind = self._distributions[name]
                internal = kind.to_internal_repr(value)
                self._storage.set_trial_param(trial_id, name, internal, kind)
        except ValueError:
            return


def _described(chain: Chain) -> dict[str, Any]:
    recipe = describe_recipes(chain)
    return {"chain": [*chain.widths], "recipe": recipe, "label": label(chain.widths, recipe)}


def describe_recipes(chain: Chain) -> dict[str, Any]:
    """`{"assistants": {...} or None, "student": {...}}`."""
    shared = chain.assistants[0].recipe if chain.assistants else None
    own = chain.student.recipe
    assert own is not None
    return {"assistants": asdict(shared) if shared else None, "student": asdict(own)}


def chain_of(attrs: Mapping[str, Any], teacher: ModelSpec) -> Chain:
    """The chain of a trial that is described."""
    _, *widths, student = attrs["chain"]
    recipe = attrs["recipe"]
    shared = Recipe(**recipe["assistants"]) if widths else None
    assistants = tuple(ModelSpec(width=width, recipe=shared) for width in widths)
    own = ModelSpec(width=student, recipe=Recipe(**recipe["student"]))
    return Chain(models=(teacher, *assistants, own))
