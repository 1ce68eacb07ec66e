"""Optuna's study in the run directory, and its trials as records."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from tasearch.errors import RunError, first_line
from tasearch.runs.records import HopUse, TrialRecord
from tasearch.runs.directory import RunDirectory
from tasearch.runs.seals import read_file
from tasearch.runs.trial_attributes import is_ours, is_refused
from tasearch.runs.sealed_journal import BROKEN, JournalDamage, SealedJournal, count_lines
from tasearch.pareto.skyline import Audit
from tasearch.config.files import no_room

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
METRICS = ["accuracy", "params", "latency_ms"]
IDENTITY = "identity"  # attribute of the study: whose run it is
VERSION = "tasearch_version"  # attribute of a study that tasearch has made
SHOWN = 5  # names of other studies in a message, at most
REMOVE = (
    "remove the file: `tasearch run` on the same study then tries the same chains again, "
    "from the hops that are stored"
)
REMEDY = (
    "`tasearch run` on the same study sets it aside and tries the same chains again, from the "
    "hops that are stored"
)
STALE_S = 2.0  # a lock of the journal that is older was left behind by a kill
_LOCK = re.compile(r"journal\.log\.lock([0-9a-f-]{36}\.rename)?")  # Optuna's


def open_study(
    run: RunDirectory, name: str, sampler: optuna.samplers.BaseSampler, identity: str = ""
) -> optuna.Study:
    """The study of a run whose lock is held, made where there is none.

    A kill can leave a torn last line and Optuna's own lock behind; both are cleared away.

    Args:
        run: The run's directory.
        name: The study's name, in its file and in Optuna.
        sampler: The sampler that proposes.
        identity: The run's identity; empty where the folder holds no run.

    Raises:
        RunError: Where the journal is damaged, of another run, or has another study in its place.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        mend(run.journal)
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
    """The study of a run, as far as there is one by now; also while it is being written.

    Args:
        run: The run's directory.
        name: The study's name.

    Raises:
        RunError: Where the journal is damaged, or has another study in its place.
    """
    if not run.journal.exists():
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        storage = _storage(run.journal, name)
        if _find(storage, run.journal, name) is None:
            return None
        return optuna.load_study(study_name=name, storage=storage)


def study_trials(study: optuna.Study | None) -> list[TrialRecord]:
    """The trials of a study, each at the place of its number."""
    found = [] if study is None else study.get_trials(deepcopy=False)
    return [to_record(trial) for trial in found]


def read_trials(run: RunDirectory) -> list[TrialRecord]:
    """The trials of a run, each at the place of its number; also while it is being written.

    Raises:
        RunError: Where the journal is damaged, of another run, or has another study in its place.
    """
    manifest, finished = run.read(), run.history().finished
    lines = int(finished["journal"]) if finished else 0  # when the last search had ended
    study = read_study(run, manifest.study.name)
    check_length(run.journal, count_lines(run.journal), lines)
    with _readable(run.journal):
        trials = study_trials(study)
    if study is not None and trials:
        check_identity(run, study.user_attrs, manifest.identity)
    return trials


def read_identity(run: RunDirectory, name: str) -> str | None:
    """What the journal says whose run it is; None where it does not say.

    Raises:
        RunError: Where the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _readable(run.journal):
        studies = _storage(run.journal, name).get_all_studies()
        return next((s.user_attrs.get(IDENTITY) for s in studies if s.study_name == name), None)


def repair(run: RunDirectory, name: str) -> str | None:
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


def check_identity(run: RunDirectory, attrs: Mapping[str, Any], identity: str) -> None:
    """Refuse a journal that is not of the run in whose folder it lies.

    Raises:
        RunError: Where it is of another.
    """
    if attrs.get(IDENTITY) != identity:
        raise RunError(
            f"{run.journal}: is the journal of another run than run.json's, or of an older version "
            f"of tasearch; put the right one back, or remove it: `tasearch run` on the same "
            f"study then tries the same chains again, from the hops that are stored"
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
    """A trial as a plain value; its details are its user attributes.

    Of one that others have added nothing is taken over but its number.
    """
    if not is_ours(trial):
        return _others(trial)
    attrs = trial.user_attrs
    curve = tuple(attrs.get("curve") or ())
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    finished = trial.values[0] if trial.state == TrialState.COMPLETE else None
    audit = attrs.get("audit")
    return TrialRecord(
        number=trial.number,
        state=state,
        chain=tuple(attrs.get("chain") or ()),
        recipe=attrs.get("recipe"),
        accuracy=curve[-1] if finished is None and curve else finished,
        epochs=tuple(attrs.get("epochs") or ()),
        curve=curve,
        hops=tuple(HopUse(**use) for use in attrs.get("hops") or ()),
        accuracies=tuple(attrs.get("accuracies") or ()),
        reason=attrs.get("reason"),
        audit=Audit(**audit) if audit else None,
        free=bool(attrs.get("free")),
        cause=attrs.get("cause"),
        retry_of=attrs.get("retry_of"),
    )


def _others(trial: FrozenTrial) -> TrialRecord:
    """One that waits, one that was refused, or one that tasearch had nothing to do with."""
    if trial.state == TrialState.WAITING:
        return TrialRecord(number=trial.number, state="waiting")
    if is_refused(trial):
        reason = str(trial.user_attrs.get("reason"))
        return TrialRecord(number=trial.number, state="refused", reason=reason)
    return TrialRecord(number=trial.number, state="foreign")


def _find(storage: JournalStorage, journal: Path, name: str) -> FrozenStudy | None:
    """The study of a name; None where there is no study yet.

    Raises:
        RunError: where it is not there any more, or is not tasearch's.
    """
    studies = storage.get_all_studies()
    found = next((study for study in studies if study.study_name == name), None)
    if found is None:
        if studies:
            raise RunError(
                f"{journal}: has no study {name!r} any more, but {_named(studies)}; "
                f"what a copy of it holds is not believed; {REMOVE}"
            )
        if storage._replay_result._next_study_id:
            raise RunError(f"{journal}: its study {name!r} was deleted; put it back, or {REMOVE}")
        return None
    if tuple(found.directions) != DIRECTIONS:
        shown = ", ".join(direction.name.lower() for direction in found.directions)
        wanted = ", ".join(direction.name.lower() for direction in DIRECTIONS)
        raise RunError(
            f"{journal}: its study {name!r} should {wanted}, found {shown}: "
            f"tasearch has not made it; {REMOVE}"
        )
    begun = len(studies) > 1 or storage.get_n_trials(found._study_id) > 0
    if begun and VERSION not in found.user_attrs:
        beside = [study for study in studies if study is not found]
        words = f"; beside it {_named(beside)}" if beside else ""
        raise RunError(f"{journal}: tasearch has not made its study {name!r}{words}; {REMOVE}")
    if found._study_id:
        raise RunError(f"{journal}: its study {name!r} was deleted and made anew; {REMOVE}")
    return found


def _named(studies: list[FrozenStudy]) -> str:
    shown = [repr(study.study_name) for study in studies[:SHOWN]]
    if len(studies) > SHOWN:
        shown.append(f"{len(studies) - SHOWN} others")
    words = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{'study' if len(studies) == 1 else 'studies'} {words}"


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


def mend(journal: Path) -> None:
    """Clear away what a kill has left of a last line and of Optuna's lock; the run is held.

    Others may be writing: a lock is left behind only if it is some seconds old, for one is held for
    milliseconds.
    """
    if not journal.exists():
        return
    lock = JournalFileSymlinkLock(str(journal))
    try:
        while found := [path for path in journal.parent.iterdir() if _LOCK.fullmatch(path.name)]:
            for path in found:
                with contextlib.suppress(FileNotFoundError):  # it was a live one
                    if abs(time.time() - path.lstat().st_mtime) > STALE_S:
                        path.unlink()
            time.sleep(0.01)
        content = read_file(journal)
        if content.endswith(b"\n") or not content:
            return
        lock.acquire()
        try:
            content = read_file(journal)
            with journal.open("r+b") as stream:
                stream.truncate(content.rfind(b"\n") + 1)
        finally:
            with contextlib.suppress(RuntimeError):  # somebody took it for one left behind
                lock.release()
    except OSError as error:
        raise no_room(journal, error) from None
