"""Optuna's journal file with a checksum in each line that we write.

It opens in optuna-dashboard and with Optuna's own `JournalFileBackend`: a seal is three more keys
of a line's object. What these write bears no seal. It is taken where no result can come of it: a
trial that waits or is another's, an attribute of another's name, other studies.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from tasearch.errors import RunError, StoreError
from tasearch.runs.records import TrialRecord
from tasearch.runs.seals import Chain, Fit, read_file
from tasearch.runs.trial_attributes import MARKS
from tasearch.config.files import NO_ROOM, no_room

KIND = "journal"
OURS = {field.name for field in fields(TrialRecord)}  # attributes of trials
BROKEN = (  # what Optuna raises over lines that are not as it writes them
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError),
    RecursionError,
)


class JournalDamage(RunError):
    """The journal is not what was written."""


class SealedJournal(BaseJournalBackend):
    """Reads and appends lines of a journal.

    Args:
        file: made where there is none.
        study: name of the study that is ours.

    Raises:
        StoreError: where the file cannot be made.
    """

    def __init__(self, file: Path, study: str) -> None:
        self.path = file
        self._study = study
        self._lock = JournalFileSymlinkLock(str(file))
        with self._refusing("opened"):
            if not file.exists():
                file.open("ab").close()
            elif not file.is_file():  # a pipe would make a reader wait
                raise OSError(errno.EINVAL, "is no regular file")
        self._start()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines from a number on; an unfinished last one is left for later.

        Raises:
            JournalDamage: where a line is not what was written, or may not be another's.
        """
        if log_number_from < self._given:
            self._start()
        self._advance()
        while self._ahead:
            line, sealed = self._ahead.popleft()
            self._given += 1
            content = self._taken(line, sealed, self._given)
            if self._given > log_number_from:
                yield content
        self._check()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append sealed lines.

        Raises:
            JournalDamage: where a line before is damaged.
            StoreError: where they cannot be written.
        """
        with self._refusing("written"), self._locked():
            self._advance()
            self._check()
            lines = [self._chain.seal(log) for log in logs]
            with self.path.open("r+b") as stream:
                stream.truncate(self._size)  # of a line that its writer's end tore
                stream.seek(self._size)
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())
            self._ahead += [(line[:-1], True) for line in lines]
            self._size += sum(map(len, lines))
            self._place += len(lines)

    def _start(self) -> None:
        """Nothing is read yet."""
        self._chain, self._foreign = Chain(KIND), Foreign(self._study)
        self._ahead: deque[tuple[bytes, bool]] = deque()  # read, verified and not yet given out
        self._size = self._place = self._given = 0
        self._damage = ""  # of the line after those, at which reading ends

    def _advance(self) -> None:
        """Read and verify what was appended since, as far as it is sound."""
        if self._damage:
            return
        with self._refusing("read"), self.path.open("rb") as stream:
            stream.seek(self._size)
            *whole, _ = stream.read().split(b"\n")
        for line in whole:
            fit = self._chain.follow(line)
            if fit not in (Fit.NEXT, Fit.FOREIGN):
                self._damage = f"{self.path}: line {self._place + 1} {fit.value}"
                return
            if fit is Fit.FOREIGN:
                self._chain.cover(line)
            self._ahead.append((line, fit is Fit.NEXT))
            self._size += len(line) + 1
            self._place += 1

    def _check(self) -> None:
        """Refuse a damaged line, once those before it are given out: one may be the cause."""
        if self._damage:
            raise JournalDamage(self._damage)

    def _taken(self, line: bytes, sealed: bool, place: int) -> dict[str, Any]:
        """The content of a line, where it may be believed."""
        where = f"{self.path}: line {place}"
        try:
            content = json.loads(line)
            fault = self._foreign.fault(content, sealed)
        except BROKEN:
            raise JournalDamage(f"{where} is no line of Optuna's") from None
        if fault:
            raise JournalDamage(f"{where} bears no seal and {fault}")
        return content  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that Optuna's own backend takes as well."""
        self._lock.acquire()
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):  # somebody took it for one left behind
                self._lock.release()

    @contextlib.contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Say what the system refuses."""
        try:
            yield
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(self.path, error) from None
            message = f"{self.path}: cannot be {what}: {error.strerror or error}"
            raise StoreError(message) from None


class Foreign:
    """What lines without a seal may do, as lines are taken up one by one.

    Args:
        study: name of the study that is ours.
    """

    def __init__(self, study: str) -> None:
        self._name = study
        self._studies: dict[int, str] = {}
        self._made = 0  # studies, deleted ones included
        self._trials: list[bool] = []  # whether each is of our study
        self._touched: set[int] = set()  # trials that a search took up, or refused
        self._sealed: set[str] = set()  # names of attributes that sealed lines have set

    def fault(self, content: Mapping[str, Any], sealed: bool) -> str:
        """Why a line is not taken; empty where it is.

        Raises:
            Exception: one of `BROKEN`, where it is no line of Optuna's.
        """
        code = JournalOperation(content["op_code"])
        fault = "" if sealed else self._fault(code, content)
        if sealed:
            if {*MARKS} & {*content.get("user_attr", ())} and "trial_id" in content:
                self._touched.add(int(content["trial_id"]))
            for kind in ("user_attr", "system_attr", "user_attrs", "system_attrs"):
                self._sealed |= {*content.get(kind, ())}
        if code == JournalOperation.CREATE_STUDY:
            if content["study_name"] not in self._studies.values():
                self._studies[self._made] = content["study_name"]
                self._made += 1
        elif code == JournalOperation.DELETE_STUDY:
            self._studies.pop(content["study_id"], None)
        elif code == JournalOperation.CREATE_TRIAL and content["study_id"] in self._studies:
            if sealed and content.get("state") != TrialState.WAITING:
                self._touched.add(len(self._trials))
            self._trials.append(self._is_ours(content))
        return fault

    def _fault(self, code: JournalOperation, content: Mapping[str, Any]) -> str:
        if "before" in content:
            return "is one of tasearch's: its seal was edited, or is damaged"
        if code == JournalOperation.CREATE_STUDY:
            first = content["study_name"] == self._name and not self._made
            return "makes this run's study: an older version of tasearch wrote it" if first else ""
        if code in (JournalOperation.DELETE_STUDY, JournalOperation.DISCARD_TRIALS):
            return ""  # whoever opens the study by its name finds that it has gone
        if not self._is_ours(content):
            return ""
        if code == JournalOperation.CREATE_TRIAL:
            return self._trial_fault(content)
        return self._change_fault(code, content)

    def _trial_fault(self, content: Mapping[str, Any]) -> str:
        """Of a new trial of our study: one that does not pass for the search's own is read as what
        it is, a trial that waits or another's."""
        number = sum(self._trials)
        names = [name for name in MARKS if (content.get("user_attrs") or {}).get(name) == number]
        return f"gives a trial the attribute {names[0]!r}, which is tasearch's" if names else ""

    def _change_fault(self, code: JournalOperation, content: Mapping[str, Any]) -> str:
        """Of a change to our study or to a trial of it, which may be one that others have added."""
        theirs = "trial_id" in content and content["trial_id"] not in self._touched
        attributes = {
            JournalOperation.SET_STUDY_USER_ATTR: "user_attr",
            JournalOperation.SET_STUDY_SYSTEM_ATTR: "system_attr",
            JournalOperation.SET_TRIAL_USER_ATTR: "user_attr",
            JournalOperation.SET_TRIAL_SYSTEM_ATTR: "system_attr",
        }
        if code == JournalOperation.SET_TRIAL_STATE_VALUES:
            starts = content["state"] == TrialState.RUNNING and content.get("values") is None
            theirs |= starts  # what another worker takes from the queue it does not end
        if code not in attributes:
            return "" if theirs else f"changes trial {content['trial_id']} of this run's study"
        (name,) = content[attributes[code]]
        ours = self._sealed | (OURS if code == JournalOperation.SET_TRIAL_USER_ATTR else set())
        optunas = code == JournalOperation.SET_TRIAL_SYSTEM_ATTR and ":" not in name
        if name in ours or (optunas and not theirs):
            return f"sets the attribute {name!r}, which is tasearch's"
        return ""

    def _is_ours(self, content: Mapping[str, Any]) -> bool:
        """Whether a line is of our study, or of a trial of it."""
        if "trial_id" in content:
            number = int(content["trial_id"])
            return number < len(self._trials) and self._trials[number]
        study = content["study_id"]  # ours is the first, whatever is made anew under its name
        return study == 0 and self._studies.get(study) == self._name


def count_lines(file: Path) -> int:
    """ReplicateMerger lines of a journal; 0 where there is none."""
    try:
        return read_file(file).count(b"\n")
    except FileNotFoundError:
        return 0
