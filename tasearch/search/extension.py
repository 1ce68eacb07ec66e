"""Extends a run whose study has grown: another width, another temperature, another budget.

Only changes that keep trials comparable come here (see `tasearch.runs.comparable`). The parameters
of Optuna's study have other choices now, so a new study is made, and all earlier trials are added
to it under their numbers. The new files are written to a folder of their own, which then replaces
the old ones. If that is interrupted, the next driver of the run completes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tasearch.chains.space import Space
from tasearch.config.files import write_error
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.journal import IDENTITY, VERSION, open_study, read_study
from tasearch.runs.optuna_adapter import StudyStorage
from tasearch.runs.trial_attributes import chain_of, is_own
from tasearch.search.parameters import distributions
from tasearch.search.trials import CONSTRAINTS


def extend(
    run: RunDirectory,
    manifest: Manifest,
    space: Space,
    constraints: Mapping[int, Sequence[float]],
) -> None:
    """Extend a run; the caller holds its lock.

    Args:
        run: The run's directory.
        manifest: The run's new manifest.
        space: The chains within the new budget.
        constraints: How far a student of each width exceeds the limits of the budget.

    Raises:
        RunError: The journal is damaged.
        StoreError: The disk is full.
    """
    name = manifest.study.name
    old = read_study(run, name)
    stage = RunDirectory(run.path / ".tasearch-extension.new")
    try:
        if os.path.lexists(stage.path):  # of an interrupted extension
            shutil.rmtree(stage.path)
        stage.path.mkdir()
        stage.write(manifest, run.path)
        if old is not None:
            study = open_study(stage, name, RandomSampler(), manifest.identity)
            _enter(old, study, manifest, space, constraints)
        run.log("extended")  # the number of lines of the old journal means nothing any more
        if os.path.lexists(run.extension):  # without run.json: of a completed extension
            shutil.rmtree(run.extension)
        stage.path.rename(run.extension)
    except OSError as error:
        raise write_error(stage.path, error) from None
    run.take_extension()


def _enter(
    old: optuna.Study,
    new: optuna.Study,
    manifest: Manifest,
    space: Space,
    constraints: Mapping[int, Sequence[float]],
) -> None:
    """Copy the trials and the attributes of one study to another."""
    for key, value in old.user_attrs.items():
        if key not in (IDENTITY, VERSION):
            new.set_user_attr(key, value)
    kinds = distributions(space)
    for trial in old.get_trials(deepcopy=False):
        params: dict[str, Any] = {}
        system = {key: value for key, value in trial.system_attrs.items() if key != CONSTRAINTS}
        if is_own(trial):
            params = dict(space.member(chain_of(trial.user_attrs, space.teacher)) or {})
            width = trial.user_attrs["chain"][-1]
            if width in constraints:
                system[CONSTRAINTS] = [*constraints[width]]
        entered = create_trial(
            state=trial.state,
            values=_values(trial, manifest),
            params=params,
            distributions={key: kinds[key] for key in params},
            user_attrs=dict(trial.user_attrs),
            system_attrs=system,
        )
        StudyStorage(new).add(entered)


def _values(trial: FrozenTrial, manifest: Manifest) -> list[float] | None:
    """Accuracy, parameters and latency; the latency of the latest measurement."""
    if trial.state != TrialState.COMPLETE:
        return None
    if not is_own(trial):
        return [*trial.values]
    size = manifest.measured[trial.user_attrs["chain"][-1]]
    return [trial.values[0], float(size.params), size.latency_ms]
