"""Optuna's study in the run directory, and its trials as records."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tasearch.errors import RunError, first_line
from tasearch.record import HopUse, TrialRecord
from tasearch.rundir import RunDir
from tasearch.skyline import Audit

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
METRICS = ["accuracy", "params", "latency_ms"]


def open_study(run: RunDir, name: str, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """The study of a run whose lock is held, made where there is none.

    A kill can leave a torn last line and Optuna's own lock behind; both are cleared away.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        _mend(run.journal)
        study = optuna.create_study(
            storage=_storage(run.journal),
            study_name=name,
            directions=DIRECTIONS,
            sampler=sampler,
            load_if_exists=True,
        )
    if not study.metric_names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(METRICS)
    return study


def read_trials(run: RunDir) -> list[TrialRecord]:
    """The trials of a run, in order; also while it is being written."""
    if not run.journal.exists():
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        storage = _storage(run.journal)
        studies = storage.get_all_studies()
        if not studies:
            return []
        trials = storage.get_all_trials(studies[0]._study_id, deepcopy=False)
        return [to_record(trial) for trial in trials]


def to_record(trial: FrozenTrial) -> TrialRecord:
    """A trial as a plain value; its details are its user attributes."""
    attrs = trial.user_attrs
    curve = tuple(attrs.get("curve", ()))
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    finished = trial.values[0] if trial.state == TrialState.COMPLETE else None
    return TrialRecord(
        number=trial.number,
        state=state,
        chain=tuple(attrs.get("chain", ())),
        recipe=attrs.get("recipe"),
        accuracy=curve[-1] if finished is None and curve else finished,
        epochs=tuple(attrs.get("epochs", ())),
        curve=curve,
        hops=tuple(HopUse(**use) for use in attrs.get("hops", ())),
        accuracies=tuple(attrs.get("accuracies", ())),
        reason=attrs.get("reason"),
        audit=Audit(**attrs["audit"]) if "audit" in attrs else None,
        free=bool(attrs.get("free")),
    )


@contextlib.contextmanager
def _readable(journal: Path) -> Iterator[None]:
    """Tell of a damaged journal in one message."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IsADirectoryError, PermissionError) as error:
        raise RunError(
            f"{journal}: is damaged or cannot be read: {first_line(error)}; "
            f"put it back, or remove it: the same command then tries the same chains again, "
            f"from the hops that are stored"
        ) from error


def _storage(journal: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(journal)))


def _mend(journal: Path) -> None:
    if not journal.exists():
        return
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with journal.open("r+b") as stream:
            stream.truncate(len(whole))
    for stale in journal.parent.glob(journal.name + ".lock*"):
        stale.unlink(missing_ok=True)
