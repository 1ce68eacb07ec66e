"""Optuna's study in the run directory, and its trials as records."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tasearch.errors import RunError, first_line
from tasearch.record import HopUse, TrialRecord
from tasearch.rundir import RunDir
from tasearch.seals import read_file
from tasearch.search.sealed_journal import BROKEN, JournalDamage, SealedJournal
from tasearch.skyline import Audit
from tasearch.store import no_room

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
METRICS = ["accuracy", "params", "latency_ms"]
IDENTITY = "identity"  # attribute of the study: whose run it is
REMEDY = (
    "`tasearch run` on the same study sets it aside and tries the same chains again, from the "
    "hops that are stored"
)
_LOCK = re.compile(r"journal\.log\.lock([0-9a-f-]{36}\.rename)?")  # Optuna's


def open_study(
    run: RunDir, name: str, sampler: optuna.samplers.BaseSampler, identity: str = ""
) -> optuna.Study:
    """The study of a run whose lock is held, made where there is none.

    A kill can leave a torn last line and Optuna's own lock behind; both are cleared away.

    Args:
        run: The run's directory.
        name: The study's name.
        sampler: Optuna's sampler.
        identity: The run's identity; empty where the folder holds no run.

    Raises:
        RunError: Where the journal is damaged, or of another run.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        _mend(run.journal)
        study = optuna.create_study(
            storage=_storage(run.journal, name),
            study_name=name,
            directions=DIRECTIONS,
            sampler=sampler,
            load_if_exists=True,
        )
    if IDENTITY in study.user_attrs or study.get_trials(deepcopy=False):
        check_identity(run, study.user_attrs, identity)
    else:
        study.set_user_attr(IDENTITY, identity)
    if not study.metric_names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(METRICS)
    return study


def read_trials(run: RunDir) -> list[TrialRecord]:
    """The trials of a run, in order; also while it is being written.

    Raises:
        RunError: Where the journal is damaged, or of another run.
    """
    snapshot, finished = run.read(), run.history().finished
    lines = int(finished["journal"]) if finished else 0  # when the last search had ended
    if not run.journal.exists():
        check_length(run.journal, 0, lines)
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        journal = SealedJournal(run.journal, snapshot.study.name)
        storage = JournalStorage(journal)
        studies = {study.study_name: study for study in storage.get_all_studies()}
    check_length(run.journal, journal.lines, lines)
    if snapshot.study.name not in studies:
        return []
    study = studies[snapshot.study.name]
    trials = storage.get_all_trials(study._study_id, deepcopy=False)
    if trials:
        check_identity(run, study.user_attrs, snapshot.identity)
    return [to_record(trial) for trial in trials]


def read_identity(run: RunDir, name: str) -> str | None:
    """What the journal says whose run it is; None where it does not say.

    Raises:
        RunError: Where the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        studies = _storage(run.journal, name).get_all_studies()
        return next((s.user_attrs.get(IDENTITY) for s in studies if s.study_name == name), None)


def repair(run: RunDir, name: str) -> str | None:
    """Set a damaged journal aside; the run's lock is held.

    Args:
        run: The run's directory.
        name: The study's name.

    Returns:
        What was done, in words; None where the journal is sound.

    Raises:
        StoreError: Where the file cannot be moved.
    """
    if not run.journal.exists():
        return None
    try:
        read_identity(run, name)
    except JournalDamage as error:
        aside = run.set_aside(run.journal)
        fault = str(error).removesuffix(f"; {REMEDY}")
        return f"{fault}; it is kept as {aside.name}, and the same chains are tried again"
    return None


def check_identity(run: RunDir, attrs: Mapping[str, Any], identity: str) -> None:
    """Refuse a journal that is not of the run in whose folder it lies.

    Raises:
        RunError: Where it is of another.
    """
    if attrs.get(IDENTITY) != identity:
        raise RunError(
            f"{run.journal}: is the journal of another run than run.json's, or of an older version "
            f"of tasearch; put the right one back, or remove it: the same command then tries the "
            f"same chains again, from the hops that are stored"
        )


def check_length(journal: Path, lines: int, expected: int) -> None:
    """Refuse a journal that has lost its end.

    Raises:
        RunError: Where it has fewer lines than when its search ended.
    """
    if lines < expected:
        raise RunError(
            f"{journal}: has {lines} lines, and had {expected} when its search ended; put it back, "
            f"or let `tasearch run` on the same study make the rest again from the hops that are "
            f"stored"
        )


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
    except JournalDamage as error:
        raise JournalDamage(f"{error}; {REMEDY}") from None
    except BROKEN as error:
        raise JournalDamage(f"{journal}: is damaged: {first_line(error)}; {REMEDY}") from error


def _storage(journal: Path, name: str) -> JournalStorage:
    return JournalStorage(SealedJournal(journal, name))


def _mend(journal: Path) -> None:
    if not journal.exists():
        return
    try:
        content = read_file(journal)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with journal.open("r+b") as stream:
                stream.truncate(len(whole))
        for stale in journal.parent.glob(journal.name + ".lock*"):
            if _LOCK.fullmatch(stale.name):
                stale.unlink(missing_ok=True)
    except OSError as error:
        raise no_room(journal, error) from None
