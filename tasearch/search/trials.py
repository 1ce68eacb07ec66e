"""Trials of a search in Optuna's study: sampled, taken from the queue, started, and ended.

The study may be shared: others may queue trials, or add some of their own. A search depends only on
its own trials, in the order in which it started them. That is the order of their numbers, except
for queued trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from tasearch.chains.chain import Chain
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.runs.optuna_adapter import StudyStorage, id_of, unstored_trial
from tasearch.runs.trial_attributes import (
    OVER,
    chain_of,
    describe_chain,
    is_own,
    is_refused,
    mark,
    place,
)
from tasearch.search.parameters import distributions

FIXED = "fixed_params"  # system attribute: the parameters of a queued trial
CONSTRAINTS = "constraints"  # system attribute that optuna-dashboard shows; feasible if <= 0
RESULTS = (  # user attributes that a trial receives when it ends
    *(
        "curve",
        "epochs",
        "accuracies",
        "errors",
        "recalls",
        "audit",
        "reason",
        "failed_hop",
        "cause",
        "hops",
    ),
    "refused",
)


class Trials:
    """The trials of a search.

    Args:
        study: Optuna's study, whose sampler proposes canonical choices.
        space: The chains of the study.
        constraints: By width of the student, how far it exceeds each limit of the budget.

    Attributes:
        order: Numbers of the trials that searches have started, in that order.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        constraints: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        self._study, self._space, self._storage = study, space, StudyStorage(study)
        self._distributions = distributions(space)
        self._constraints = constraints or {}
        self._proposals = 0
        self._over: dict[int, FrozenTrial] = {}  # ended trials by number, which never change
        self.order: list[int] = []

    def all(self) -> list[FrozenTrial]:
        """The search's own trials, in its order; they must not be changed."""
        stored, over = self._stored(), self._over
        for number in self.order:
            if number not in over and stored[number].state in OVER:
                over[number] = stored[number]
        return [over.get(number) or stored[number] for number in self.order]

    def recall(self) -> Iterator[tuple[FrozenTrial, list[FrozenTrial]]]:
        """The proposals of earlier searches in order, each with the free trials after it."""
        own = sorted(filter(is_own, self._stored()), key=place)
        for _, group in groupby(own, key=lambda trial: place(trial)[0]):
            first, *free = group
            self.order += [trial.number for trial in (first, *free)]
            self._proposals += 1
            yield self._running(first), free

    def ask(self, choices: Choices | None) -> tuple[FrozenTrial, Chain]:
        """Start a new trial.

        Args:
            choices: Canonical choices; None to ask the sampler.

        Returns:
            The trial and its chain.
        """
        system_attrs: Mapping[str, Any] = {}
        if choices is None:
            asked = unstored_trial(len(self._stored()))
            space = {n: d for n, d in self._distributions.items() if not d.single()}
            proposed = self._study.sampler.sample_relative(self._study, asked, space)
            choices = {name: values[0] for name, values in self._space.domains.items()} | proposed
            system_attrs = asked.system_attrs
        chain = self._space.chain(choices)
        assert chain is not None and self._space.choices(chain) == choices, choices
        return self._add(choices, chain, {}, system_attrs), chain

    def enter(self, chain: Chain) -> FrozenTrial:
        """Start a free trial; it has no parameters if its chain is not in the space."""
        return self._add(self._space.member(chain) or {}, chain, {"free": True}, {})

    def queue(self, params: Choices, attrs: Mapping[str, Any]) -> None:
        """Add a trial that is to be tried before what the sampler proposes.

        Args:
            params: Its canonical choices.
            attrs: Its user attributes.
        """
        trial = create_trial(
            state=TrialState.WAITING, system_attrs={FIXED: params}, user_attrs={**attrs}
        )
        self._storage.add(trial)

    def waiting(self) -> list[FrozenTrial]:
        """Queued trials that no search has started."""
        found = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [trial for trial in found if not is_own(trial)]

    def take(
        self, trial: FrozenTrial, choices: Choices, retry: bool
    ) -> tuple[FrozenTrial, Chain] | None:
        """Start a queued trial.

        Args:
            trial: The queued trial; some of its attributes may be a copy of another trial's.
            choices: Its canonical choices.
            retry: Whether it repeats a failed trial.

        Returns:
            The trial and its chain; None if another program has ended the trial meanwhile.
        """
        chain = self._space.chain(choices)
        assert chain is not None
        try:
            self._describe(trial, choices, chain, retry)
        except UpdateFinishedTrialError:
            return None
        self._proposals += 1
        self.order.append(trial.number)
        return self._running(self._storage.get(id_of(trial))), chain

    def _describe(self, trial: FrozenTrial, choices: Choices, chain: Chain, retry: bool) -> None:
        """Give a queued trial the parameters and attributes of a search's own trial.

        The mark is written last: only then the trial is one of this search.

        Raises:
            UpdateFinishedTrialError: Another program has ended the trial.
        """
        trial_key = id_of(trial)
        self._set_parameters(trial_key, choices)
        stale = {name: None for name in (*RESULTS, "free") if name in trial.user_attrs}
        queued = {"queued": not retry}
        if not retry and "retry_of" in trial.user_attrs:
            queued["retry_of"] = None  # type: ignore[assignment]
        if chain.student.width in self._constraints:
            excesses = [*self._constraints[chain.student.width]]
            self._storage.set_system_attribute(trial_key, CONSTRAINTS, excesses)
        own = mark(self._proposals, trial.number)
        self._set_attributes(trial_key, stale | queued | describe_chain(chain) | own)

    def refuse(self, trial: FrozenTrial, reason: str) -> None:
        """Fail a queued trial that is not tried.

        Args:
            trial: The queued trial.
            reason: Why it is not tried.
        """
        self._end(id_of(trial), {"reason": reason, "refused": trial.number}, None)

    def foreign(self) -> list[FrozenTrial]:
        """Trials that others have added or started."""
        return [
            trial
            for trial in self._stored()
            if not is_own(trial) and trial.state != TrialState.WAITING and not is_refused(trial)
        ]

    def count(self) -> int:
        """Number of all trials of the study, including those of others."""
        return len(self._stored())

    def chain(self, trial: FrozenTrial) -> Chain:
        """The chain of one of the search's own trials."""
        return chain_of(trial.user_attrs, self._space.teacher)

    def tell(
        self,
        trial_id: int,
        attrs: Mapping[str, Any],
        values: Sequence[float] | None,
        state: TrialState,
    ) -> FrozenTrial:
        """End a trial.

        Args:
            trial_id: Id of the trial in the storage.
            attrs: User attributes that it receives.
            values: Accuracy, number of parameters and latency in milliseconds; None unless the
                trial is complete.
            state: Its state from now on.

        Returns:
            The trial as it is stored.
        """
        self._end(trial_id, attrs, values, state)
        return self._storage.get(trial_id)

    def set_study_attribute(self, name: str, value: Any) -> None:
        """Give the study an attribute, unless it already has this value."""
        if name not in self._study.user_attrs or self._study.user_attrs[name] != value:
            self._study.set_user_attr(name, value)

    def study_attribute(self, name: str) -> Any:
        """An attribute of the study; None if it is not set."""
        return self._study.user_attrs.get(name)

    def _stored(self) -> list[FrozenTrial]:
        """All trials of the study by their numbers."""
        return self._study.get_trials(deepcopy=False)

    def _end(
        self,
        trial_id: int,
        attrs: Mapping[str, Any],
        values: Sequence[float] | None,
        state: TrialState = TrialState.FAIL,
    ) -> None:
        try:
            self._set_attributes(trial_id, attrs)
            self._storage.set_state(trial_id, state, values)
        except UpdateFinishedTrialError:
            pass  # another program has ended it

    def _set_attributes(self, trial_id: int, attrs: Mapping[str, Any]) -> None:
        for name, value in attrs.items():
            self._storage.set_user_attribute(trial_id, name, value)

    def _add(
        self,
        choices: Choices,
        chain: Chain,
        attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> FrozenTrial:
        """Start a new trial; one line of the journal, so that a kill cannot leave a part of it."""
        proposal = self._proposals - bool(attrs.get("free"))
        number, width = len(self._stored()), chain.student.width
        limits = {CONSTRAINTS: [*self._constraints[width]]} if width in self._constraints else {}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=choices,
            distributions={name: self._distributions[name] for name in choices},
            user_attrs={**mark(proposal, number), **describe_chain(chain), **attrs},
            system_attrs={**system_attrs, **limits},
        )
        made = self._storage.get(self._storage.add(trial))
        if made.number != number:  # another program has added a trial at the same time
            self._set_attributes(id_of(made), mark(proposal, made.number))
            made = self._storage.get(id_of(made))
        self._proposals = proposal + 1
        self.order.append(made.number)
        return made

    def _running(self, trial: FrozenTrial) -> FrozenTrial:
        """A trial of the search, started if it is still waiting."""
        if trial.state != TrialState.WAITING:
            return trial
        self._storage.set_state(id_of(trial), TrialState.RUNNING)
        return self._storage.get(id_of(trial))

    def _set_parameters(self, trial_id: int, choices: Choices) -> None:
        """Show the parameters of a queued trial in Optuna, as far as Optuna accepts them.

        It refuses them if others have added a trial with a parameter of the same name and another
        kind of values. The search does not need them: the attributes say what the chain is.
        """
        try:
            for name, value in choices.items():
                self._storage.set_parameter(trial_id, name, value, self._distributions[name])
        except ValueError:
            return
