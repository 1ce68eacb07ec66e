"""A run whose study has grown: another width, another temperature, another budget.

What makes trials comparable stays as it was (see `tasearch.runs.comparable`). Optuna's
study is made anew, for its parameters have other values now; the trials of before enter it under
their numbers, with what they have shown. All of it is put into a folder of its own first, which
then takes the old files' place: whoever opens the run next ends what a kill cut off.
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
    """Make a run that of a study that has grown; its lock is held.

    Args:
        run: The run's directory.
        manifest: What the run is of from now on.
        space: The chains within the budget from now on.
        constraints: How far a student of each width is above the limits of the budget.

    Raises:
        RunError: Where the journal is damaged.
        StoreError: Where there is no room.
    """
    name = manifest.study.name
    old = read_study(run, name)
    stage = RunDirectory(run.path / ".tasearch-extension.new")
    try:
        if os.path.lexists(stage.path):  # of one that a kill cut off
            shutil.rmtree(stage.path)
        stage.path.mkdir()
        stage.write(manifest, run.path)
        if old is not None:
            study = open_study(stage, name, RandomSampler(), manifest.identity)
            _enter(old, study, manifest, space, constraints)
        run.log("extended")  # what is known of the old journal's length is over
        if os.path.lexists(run.extension):  # without run.json: of one that was taken
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
    """The trials and the attributes of a study enter another one."""
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
    """Accuracy, parameters and latency, the last as it is measured now."""
    if trial.state != TrialState.COMPLETE:
        return None
    if not is_own(trial):
        return [*trial.values]
    size = manifest.measured[trial.user_attrs["chain"][-1]]
    return [trial.values[0], float(size.params), size.latency_ms]
