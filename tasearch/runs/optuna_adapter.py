"""The private parts of Optuna that tasearch uses; no other module touches them.

Optuna has no public way to add a whole trial in one line of a journal, to show a sampler only a
part of a study, or to tell what a line of a journal does. Therefore this module uses

- `Study._storage`, `Study._study_id`, `FrozenStudy._study_id`, `FrozenTrial._trial_id`: the storage
  behind a study, and the ids under which the storage knows studies and trials,
- `Study._get_trials`: how samplers read the trials of a study,
- `optuna.study._frozen.FrozenStudy`: a study as the storage returns it,
- `optuna.storages.journal._storage.JournalOperation`: what a line of a journal does,
- `JournalStorage._replay_result._next_study_id`: how many studies a journal has created.

Tried with Optuna 5.0.0, which constraints.txt pins; pyproject.toml excludes Optuna 6.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal._storage import JournalOperation
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

__all__ = [
    "FrozenStudy",
    "JournalOperation",
    "StudyStorage",
    "StudyView",
    "created_studies",
    "id_of",
    "study_id",
    "unstored_trial",
]

UNSTORED = -1  # id of a trial that is in no storage yet


def id_of(trial: FrozenTrial) -> int:
    """The id of a trial in its storage, which in a shared storage differs from its number."""
    return trial._trial_id


def study_id(study: FrozenStudy) -> int:
    """The id of a study in its storage: 0 for the first one that was created."""
    return study._study_id


def created_studies(storage: JournalStorage) -> int:
    """Number of studies that a journal has created, including deleted ones."""
    return storage._replay_result._next_study_id


def unstored_trial(number: int) -> FrozenTrial:
    """A running trial for a sampler to fill, before it is in a storage.

    Args:
        number: Number that the trial will have in its study.
    """
    trial = create_trial(state=TrialState.RUNNING)
    trial.number, trial._trial_id = number, UNSTORED
    return trial


class StudyStorage:
    """The trials of a study, read and written one by one in its storage.

    Args:
        study: The study.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._storage, self._study_id = study._storage, study._study_id

    def add(self, trial: FrozenTrial) -> int:
        """Add a whole trial, in a journal in one line; return its id."""
        return self._storage.create_new_trial(self._study_id, trial)

    def get(self, trial_id: int) -> FrozenTrial:
        """The trial with an id."""
        return self._storage.get_trial(trial_id)

    def set_state(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> None:
        """Change the state of a trial, and its values if it is complete.

        Raises:
            UpdateFinishedTrialError: The trial has ended.
        """
        self._storage.set_trial_state_values(trial_id, state, values)

    def set_parameter(
        self, trial_id: int, name: str, value: Any, distribution: BaseDistribution
    ) -> None:
        """Give a trial a parameter.

        Raises:
            UpdateFinishedTrialError: The trial has ended.
            ValueError: The study has a parameter of that name with another kind of distribution.
        """
        internal = distribution.to_internal_repr(value)
        self._storage.set_trial_param(trial_id, name, internal, distribution)

    def set_user_attribute(self, trial_id: int, name: str, value: Any) -> None:
        """Give a trial a user attribute.

        Raises:
            UpdateFinishedTrialError: The trial has ended.
        """
        self._storage.set_trial_user_attr(trial_id, name, value)

    def set_system_attribute(self, trial_id: int, name: str, value: Any) -> None:
        """Give a trial a system attribute.

        Raises:
            UpdateFinishedTrialError: The trial has ended.
        """
        self._storage.set_trial_system_attr(trial_id, name, value)


class StudyView(optuna.Study):
    """A study as a sampler may see it: the first trials in the search's order.

    Trials without parameters are hidden; samplers have no use for them.

    Args:
        study: The study, whose storage is shared.
        trials: All trials of the search, in its order.
        seen: Number of the first of these trials that are shown.
        asked: The trial that the sampler is asked for.
        names: The parameters that the sampler chooses, in the order in which it does; trials are
            shown without the others, which have one value each.
        cache: Trials as a sampler sees them, by number; it is filled while views are made.

    Attributes:
        all_trials: All trials of the search, in its order.
        seen: Number of the first of these trials that are shown.
    """

    def __init__(
        self,
        study: optuna.Study,
        trials: Sequence[FrozenTrial],
        seen: int,
        asked: FrozenTrial,
        names: Sequence[str],
        cache: dict[int, FrozenTrial],
    ) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self.all_trials, self.seen = trials, seen
        visible = [_shown(trial, names, cache) for trial in trials[:seen] if trial.params]
        self._storage: Any = _StorageView(study._storage, visible, asked)
        self._asked = asked.number

    def _get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:
        trials = super()._get_trials(*args, **options)
        return [trial for trial in trials if trial.number != self._asked]


def _shown(trial: FrozenTrial, names: Sequence[str], cache: dict[int, FrozenTrial]) -> FrozenTrial:
    """A trial without its constraints, with the parameters that a sampler chooses.

    All trials keep the constraints, so no sampler needs to model them. Brute force needs the
    parameters in one order in all trials.
    """
    if trial.number not in cache:
        found = copy.copy(trial)
        found.system_attrs = {k: v for k, v in trial.system_attrs.items() if k != "constraints"}
        own = [name for name in names if name in trial.params]
        found.params = {name: trial.params[name] for name in own}
        found.distributions = {name: trial.distributions[name] for name in own}
        cache[trial.number] = found
    return cache[trial.number]


class _StorageView:
    """The storage of a `StudyView`, for samplers that read the storage instead of the study.

    These samplers expect to find the trial that they are asked for, which is not stored yet.
    """

    def __init__(
        self, storage: BaseStorage, visible: list[FrozenTrial], asked: FrozenTrial
    ) -> None:
        self._storage, self._visible, self._asked = storage, visible, asked

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        found = [*self._visible, self._asked]
        if states is not None:
            found = [trial for trial in found if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._asked if self._is_asked(trial_id) else self._storage.get_trial(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if self._is_asked(trial_id):
            self._asked.system_attrs[key] = value
        if trial_id >= 0:
            self._storage.set_trial_system_attr(trial_id, key, value)

    def _is_asked(self, trial_id: int) -> bool:
        return trial_id == self._asked._trial_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)
