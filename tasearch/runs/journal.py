"""Optuna's study in the run directory."""

from __future__ import annotations

import contextlib
import importlib.metadata
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection

from tasearch.errors import RunError, first_line
from tasearch.runs.directory import RunDirectory
from tasearch.runs.optuna_adapter import FrozenStudy, created_studies, study_id
from tasearch.runs.records import TrialRecord
from tasearch.runs.sealed_journal import (
    JournalDamage,
    SealedJournal,
    clean_after_kill,
    count_lines,
)
from tasearch.runs.trial_attributes import to_record
from tasearch.runs.unsealed_lines import INVALID_LINE

OptunaStudy = optuna.Study  # other rooms do not import Optuna
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
METRICS = ["accuracy", "params", "latency_ms"]
IDENTITY = "identity"  # attribute of a study: the identity of its run
VERSION = "tasearch_version"  # attribute of a study that tasearch has created
SHOWN = 5  # names of other studies in a message, at most
REMOVE = (
    "remove the file: `tasearch run` on the same study then tries the same chains again, "
    "from the hops that are stored"
)
REMEDY = (
    "`tasearch run` on the same study sets it aside and tries the same chains again, from the "
    "hops that are stored"
)


def open_study(
    run: RunDirectory, name: str, sampler: optuna.samplers.BaseSampler, identity: str = ""
) -> optuna.Study:
    """Open the study of a run whose lock is held; create it if it is missing.

    An unfinished last line and a stale lock, which a kill can leave behind, are removed.

    Args:
        run: The run's directory.
        name: The study's name, in its file and in Optuna.
        sampler: The sampler that proposes.
        identity: The run's identity; empty if the folder holds no run.

    Raises:
        RunError: The journal is damaged, belongs to another run, or has another study in its
            place.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _reporting_damage(run.journal):
        clean_after_kill(run.journal)
        storage = _storage(run.journal, name)
        _find(storage, run.journal, name)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=DIRECTIONS,
            sampler=sampler,
            load_if_exists=True,
        )
    if IDENTITY in study.user_attrs or study.get_trials(deepcopy=False):
        check_identity(run, study.user_attrs, identity)
    else:
        study.set_user_attr(IDENTITY, identity)
    if VERSION not in study.user_attrs:
        study.set_user_attr(VERSION, importlib.metadata.version("tasearch"))
    if not study.metric_names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(METRICS)
    return study


def read_study(run: RunDirectory, name: str) -> optuna.Study | None:
    """The study of a run as it is now, also while a search is writing it.

    Args:
        run: The run's directory.
        name: The study's name.

    Returns:
        The study; None if it has not been created yet.

    Raises:
        RunError: The journal is damaged, or has another study in its place.
    """
    if not run.journal.exists():
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _reporting_damage(run.journal):
        storage = _storage(run.journal, name)
        if _find(storage, run.journal, name) is None:
            return None
        return optuna.load_study(study_name=name, storage=storage)


def copied_study(run: RunDirectory, name: str) -> optuna.Study:
    """A copy in memory of the study of a run, as it is now.

    Args:
        run: The run's directory.
        name: The study's name.

    Raises:
        RunError: There is no study yet, or its file is damaged.
    """
    with _reporting_damage(run.journal):
        found = read_study(run, name)
        if found is None:
            raise RunError(f"{run.path}: no trial has begun yet; try again when it trains")
        copied = optuna.create_study(study_name=name, directions=found.directions)
        copied.add_trials(found.get_trials(deepcopy=False))
    for key, value in found.user_attrs.items():
        copied.set_user_attr(key, value)
    return copied


def study_trials(study: optuna.Study | None) -> list[TrialRecord]:
    """The trials of a study by their numbers; none if there is no study."""
    found = [] if study is None else study.get_trials(deepcopy=False)
    return [to_record(trial) for trial in found]


def read_trials(run: RunDirectory) -> list[TrialRecord]:
    """The trials of a run by their numbers, also while a search is writing them.

    Args:
        run: The run's directory.

    Raises:
        RunError: The journal is damaged, belongs to another run, or has another study in its
            place.
    """
    manifest, finished = run.read(), run.history().finished
    lines = int(finished["journal"]) if finished else 0  # when the last search ended
    study = read_study(run, manifest.study.name)
    check_length(run.journal, count_lines(run.journal), lines)
    with _reporting_damage(run.journal):
        trials = study_trials(study)
    if study is not None and trials:
        check_identity(run, study.user_attrs, manifest.identity)
    return trials


def read_identity(run: RunDirectory, name: str) -> str | None:
    """The identity of the run to which a journal belongs; None if the journal does not say.

    Args:
        run: The run's directory.
        name: The study's name.

    Raises:
        RunError: The journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _reporting_damage(run.journal):
        studies = _storage(run.journal, name).get_all_studies()
        return next((s.user_attrs.get(IDENTITY) for s in studies if s.study_name == name), None)


def set_damaged_aside(run: RunDirectory, name: str) -> str | None:
    """Rename the journal if it is damaged; the run's lock must be held.

    Args:
        run: The run's directory.
        name: The study's name.

    Returns:
        What was done, in words; None if the journal is not damaged.

    Raises:
        StoreError: The file cannot be renamed.
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


def check_identity(run: RunDirectory, attrs: Mapping[str, Any], identity: str) -> None:
    """Refuse a journal of another run than the one in whose folder it is.

    Args:
        run: The run's directory.
        attrs: User attributes of the study in the journal.
        identity: The run's identity.

    Raises:
        RunError: The journal belongs to another run.
    """
    if attrs.get(IDENTITY) != identity:
        raise RunError(
            f"{run.journal}: is the journal of another run than run.json's, or of an older version "
            f"of tasearch; put the right one back, or remove it: `tasearch run` on the same "
            f"study then tries the same chains again, from the hops that are stored"
        )


def check_length(journal: Path, lines: int, expected: int) -> None:
    """Refuse a journal that has lost its end.

    Args:
        journal: Path of the journal.
        lines: Number of its lines.
        expected: Number of its lines when its last search ended.

    Raises:
        RunError: Lines are missing.
    """
    if lines < expected:
        raise RunError(
            f"{journal}: has {lines} lines, and had {expected} when its search ended; put it back, "
            f"or let `tasearch run` on the same study make the rest again from the hops that are "
            f"stored"
        )


def _find(storage: JournalStorage, journal: Path, name: str) -> FrozenStudy | None:
    """The study with a name; None if no study was ever created.

    Raises:
        RunError: The study was deleted or renamed, or tasearch has not created it.
    """
    studies = storage.get_all_studies()
    found = next((study for study in studies if study.study_name == name), None)
    if found is None:
        if studies:
            raise RunError(
                f"{journal}: has no study {name!r} any more, but {_names(studies)}; "
                f"what a copy of it holds is not believed; {REMOVE}"
            )
        if created_studies(storage):
            raise RunError(f"{journal}: its study {name!r} was deleted; put it back, or {REMOVE}")
        return None
    if tuple(found.directions) != DIRECTIONS:
        shown = ", ".join(direction.name.lower() for direction in found.directions)
        wanted = ", ".join(direction.name.lower() for direction in DIRECTIONS)
        raise RunError(
            f"{journal}: its study {name!r} should {wanted}, found {shown}: "
            f"tasearch has not made it; {REMOVE}"
        )
    begun = len(studies) > 1 or storage.get_n_trials(study_id(found)) > 0
    if begun and VERSION not in found.user_attrs:
        others = [study for study in studies if study is not found]
        words = f"; beside it {_names(others)}" if others else ""
        raise RunError(f"{journal}: tasearch has not made its study {name!r}{words}; {REMOVE}")
    if study_id(found):
        raise RunError(f"{journal}: its study {name!r} was deleted and made anew; {REMOVE}")
    return found


def _names(studies: list[FrozenStudy]) -> str:
    """Names of studies for a message: `studies 'a', 'b' and 'c'`."""
    shown = [repr(study.study_name) for study in studies[:SHOWN]]
    if len(studies) > SHOWN:
        shown.append(f"{len(studies) - SHOWN} others")
    words = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{'study' if len(studies) == 1 else 'studies'} {words}"


@contextlib.contextmanager
def _reporting_damage(journal: Path) -> Iterator[None]:
    """Turn whatever a damaged journal causes into one message, which names the remedy."""
    try:
        yield
    except JournalDamage as error:
        raise JournalDamage(f"{error}; {REMEDY}") from None
    except INVALID_LINE as error:
        raise JournalDamage(f"{journal}: is damaged: {first_line(error)}; {REMEDY}") from error


def _storage(journal: Path, name: str) -> JournalStorage:
    return JournalStorage(SealedJournal(journal, name))
