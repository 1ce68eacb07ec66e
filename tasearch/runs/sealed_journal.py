"""Optuna's journal file, with a seal (a checksum) in each line that tasearch writes.

optuna-dashboard and Optuna's own `JournalFileBackend` can read the file: a seal is three more keys
in the JSON object of a line. Lines that they write have no seal, and are accepted only where no
result can depend on them (see `tasearch.runs.unsealed_lines`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock

from tasearch.config.files import NO_ROOM, write_error
from tasearch.errors import RunError, StoreError
from tasearch.runs.seals import HashChain, LineStatus, read_file
from tasearch.runs.unsealed_lines import INVALID_LINE, UnsealedLines

KIND = "journal"
STALE_S = 2.0  # age of a lock file, in seconds, from which a kill must have left it behind
_LOCK = re.compile(r"journal\.log\.lock([0-9a-f-]{36}\.rename)?")  # names of Optuna's lock files


class JournalDamage(RunError):
    """The journal is not what was written."""


class SealedJournal(BaseJournalBackend):
    """Reads the lines of a journal and appends to them.

    Args:
        file: Path of the journal, which is created if it is missing.
        study: Name of the run's own study.

    Raises:
        StoreError: The file cannot be created or opened.
    """

    def __init__(self, file: Path, study: str) -> None:
        self.path = file
        self._study = study
        self._lock = JournalFileSymlinkLock(str(file))
        with self._reporting("opened"):
            if not file.exists():
                file.open("ab").close()
            elif not file.is_file():  # a pipe would make a reader wait
                raise OSError(errno.EINVAL, "is no regular file")
        self._start()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines from a number on, without a last line that is not finished yet.

        Args:
            log_number_from: Number of lines to skip.

        Raises:
            JournalDamage: A line is not what was written, or may not be written by others.
        """
        if log_number_from < self._given:
            self._start()
        self._advance()
        while self._ahead:
            line, sealed = self._ahead.popleft()
            self._given += 1
            content = self._accepted(line, sealed, self._given)
            if self._given > log_number_from:
                yield content
        self._check()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append sealed lines.

        Args:
            logs: Contents of the lines.

        Raises:
            JournalDamage: An earlier line is damaged.
            StoreError: The lines cannot be written.
        """
        with self._reporting("written"), self._locked():
            self._advance()
            self._check()
            lines = [self._chain.seal(log) for log in logs]
            with self.path.open("r+b") as stream:
                stream.truncate(self._size)  # removes a line that a kill left unfinished
                stream.seek(self._size)
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())
            self._ahead += [(line[:-1], True) for line in lines]
            self._size += sum(map(len, lines))
            self._verified += len(lines)

    def _start(self) -> None:
        """Begin to read the file from its first line."""
        self._chain, self._unsealed = HashChain(KIND), UnsealedLines(self._study)
        self._ahead: deque[tuple[bytes, bool]] = deque()  # verified lines that are not given yet
        self._size = 0  # bytes of the verified lines
        self._verified = self._given = 0  # numbers of lines
        self._damage = ""  # fault of the line after the verified ones, at which reading ends

    def _advance(self) -> None:
        """Read and verify what has been appended since, up to the first damaged line."""
        if self._damage:
            return
        with self._reporting("read"), self.path.open("rb") as stream:
            stream.seek(self._size)
            *finished, _ = stream.read().split(b"\n")
        for line in finished:
            status = self._chain.follow(line)
            if status not in (LineStatus.NEXT, LineStatus.UNSEALED):
                self._damage = f"{self.path}: line {self._verified + 1} {status.value}"
                return
            if status is LineStatus.UNSEALED:
                self._chain.cover(line)
            self._ahead.append((line, status is LineStatus.NEXT))
            self._size += len(line) + 1
            self._verified += 1

    def _check(self) -> None:
        """Refuse a damaged line, after the lines before it: one of these may be the cause."""
        if self._damage:
            raise JournalDamage(self._damage)

    def _accepted(self, line: bytes, sealed: bool, number: int) -> dict[str, Any]:
        """The content of a line, if it is accepted.

        Raises:
            JournalDamage: It is not.
        """
        where = f"{self.path}: line {number}"
        try:
            content = json.loads(line)
            fault = self._unsealed.fault(content, sealed)
        except INVALID_LINE:
            raise JournalDamage(f"{where} is no line of Optuna's") from None
        if fault:
            raise JournalDamage(f"{where} bears no seal and {fault}")
        return content  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that Optuna's own backend uses as well."""
        with _interruptible():
            self._lock.acquire()
        try:
            yield
        finally:
            # RuntimeError: another process removed it as a stale lock
            with contextlib.suppress(RuntimeError), _interruptible():
                self._lock.release()

    @contextlib.contextmanager
    def _reporting(self, action: str) -> Iterator[None]:
        """Turn an error of the system into a message that names the file and the action."""
        try:
            yield
        except OSError as error:
            if error.errno in NO_ROOM:
                raise write_error(self.path, error) from None
            message = f"{self.path}: cannot be {action}: {error.strerror or error}"
            raise StoreError(message) from None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C through: within Optuna's lock it ends as an error of the clean-up."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        behind: BaseException | None = error
        while behind and not isinstance(behind, KeyboardInterrupt):
            behind = behind.__context__
        raise behind or error from None


def count_lines(file: Path) -> int:
    """Number of finished lines of a journal; 0 if the file is missing."""
    try:
        return read_file(file).count(b"\n")
    except FileNotFoundError:
        return 0


def clean_after_kill(journal: Path) -> None:
    """Remove an unfinished last line and a stale lock, which a kill can leave behind.

    The run's own lock must be held. Other programs may be writing to the journal meanwhile: they
    hold its lock for milliseconds, so a lock counts as stale only when it is some seconds old.

    Args:
        journal: Path of the journal, which may be missing.

    Raises:
        StoreError: The files cannot be changed.
    """
    if not journal.exists():
        return
    lock = JournalFileSymlinkLock(str(journal))
    try:
        _remove_stale_locks(journal.parent)
        content = read_file(journal)
        if content.endswith(b"\n") or not content:
            return
        lock.acquire()
        try:
            content = read_file(journal)
            with journal.open("r+b") as stream:
                stream.truncate(content.rfind(b"\n") + 1)
        finally:
            with contextlib.suppress(RuntimeError):  # another process removed it as a stale lock
                lock.release()
    except OSError as error:
        raise write_error(journal, error) from None


def _remove_stale_locks(folder: Path) -> None:
    """Wait until the journal in a folder is not locked, and remove locks that are stale."""
    while found := [path for path in folder.iterdir() if _LOCK.fullmatch(path.name)]:
        for path in found:
            with contextlib.suppress(FileNotFoundError):  # its holder has released it
                if abs(time.time() - path.lstat().st_mtime) > STALE_S:
                    path.unlink()
        time.sleep(0.01)
