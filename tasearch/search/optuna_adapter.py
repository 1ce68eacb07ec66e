"""An Optuna study as samplers see it: the trials that a proposal may depend on, in order."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState


class Earlier(optuna.Study):
    """A study as its first trials have left it, those that have parameters.

    Args:
        study: whose storage it shares.
        trials: of the search, in its order.
        seen: so many of them are shown.
        asked: the trial that is asked for.
        shown: those of them that are over as a sampler sees them, by number.
    """

    def __init__(
        self,
        study: optuna.Study,
        trials: Sequence[FrozenTrial],
        seen: int,
        asked: FrozenTrial,
        shown: dict[int, FrozenTrial],
    ) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self.whole, self.seen = trials, seen
        visible = [_shown(trial, shown) for trial in trials[:seen] if trial.params]
        self._storage: Any = _Window(study._storage, visible, asked)
        self._asked = asked.number

    def _get_trials(self, *args: Any, **options: Any) -> list[FrozenTrial]:
        trials = super()._get_trials(*args, **options)
        return [trial for trial in trials if trial.number != self._asked]


def _shown(trial: FrozenTrial, shown: dict[int, FrozenTrial]) -> FrozenTrial:
    """A trial without its constraints, which all keep and no sampler needs to model."""
    if trial.number not in shown:
        found = copy.copy(trial)
        found.system_attrs = {k: v for k, v in trial.system_attrs.items() if k != "constraints"}
        shown[trial.number] = found
    return shown[trial.number]


class _Window:
    """A storage as such a study has it, for samplers that pass the study by; these want to find the
    trial that is asked for as well, which the storage need not have yet."""

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
