"""A run directory: its files, and the lock that lets one driver write.

run.json           the study, and digests of its data and code
measurements.json  the profile: what each width costs to run and how it trains
journal.log        Optuna's study
events.jsonl       every hop's start and end, with seconds
lock, locks/       held by the driver, and by workers
inputs/            data, code and study file, where they were brought from Python
hops/ checkpoints/ snapshots/ targets/   the store
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from tasearch.config.files import is_temporary, write_atomic, write_error
from tasearch.config.places import Place
from tasearch.errors import RunError
from tasearch.runs.event_log import EventLog, History
from tasearch.runs.folder_check import JOURNAL, check_folder_is_run
from tasearch.runs.manifest import Manifest, MeasurementsFile, manifest_of
from tasearch.runs.sealed_file import read_value
from tasearch.runs.store import KINDS, Store

__all__ = ["Manifest", "RunDirectory"]

REMEDY = "put the file back, or remove the folder and run the study again"
WRITTEN_AGAIN = "put the file back, or remove it: `tasearch run` on the same study writes it again"
EXTENDED = (JOURNAL, "measurements.json", "run.json")
T = TypeVar("T")


class RunDirectory:
    """One run directory, in the folder `path`, which need not exist yet."""

    _check_folder = staticmethod(check_folder_is_run)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / "lock", thread_local=False)
        self._log = EventLog(path / "events.jsonl")
        self.tell_wait: Callable[[str], None] = lambda line: None  # before a wait for a driver

    @property
    def place(self) -> Place:
        """The path of the folder, or the URL of a run that is at one."""
        return self.path

    @property
    def exists(self) -> bool:
        """Whether there is a run.json, sound or damaged."""
        return os.path.lexists(self.path / "run.json")

    @property
    def journal(self) -> Path:
        """The path of Optuna's study."""
        return self.path / JOURNAL

    @property
    def busy(self) -> bool:
        """Whether a driver is searching the run."""
        return self.busy_here

    @property
    def busy_here(self) -> bool:
        """Whether a driver on a machine that sees the folder is searching the run."""
        if not (self.path / "lock").exists():
            return False
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return True
        lock.release()
        return False

    @property
    def preparing(self) -> bool:
        """Whether a driver holds the folder and has not written run.json yet."""
        if self.exists or not self.path.is_dir():
            return False
        try:
            self._check_folder(self.path)  # else the lock is another program's
        except RunError:
            return False
        return self.busy

    def look(self) -> None:
        """Bring the folder up to date, where it is a copy of a run at a URL."""

    def absolute(self) -> RunDirectory:
        """The same run in whatever folder this process is later."""
        return RunDirectory(self.path.absolute())

    def store(
        self, warn: Callable[[str], None] | None = None, under: str = "", *, elsewhere: bool = False
    ) -> Store:
        """The store of the run.

        Args:
            warn: Called with a message for each damaged file; if None, these raise.
            under: A folder of the run that has a store of its own; empty for the run's.
            elsewhere: Whether machines which do not see the folder add to it meanwhile.
        """
        path = self.path / under
        return Store(path, strict=True) if warn is None else Store(path, warn)

    def writing(self) -> AbstractContextManager[None]:
        """A context in which a small file of the run may be written, also during a search."""
        return contextlib.nullcontext()

    def deliver(self, file: Path) -> str | None:
        """Bring data to where machines that do not see the folder find them, and name them."""

    def publish(self) -> None:
        """Commit what the holder of the run's lock has written, where it is at a URL."""

    def check_held(self) -> None:
        """Raise a `RunError` if another driver has taken a run at a URL over."""

    def check_free(self) -> None:
        """Check that `locked` would succeed.

        Raises:
            RunError: Another driver holds the run, or the folder holds something else.
        """
        self._check_folder(self.path)
        if self.path.exists():
            with self.locked():
                pass

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the run before there is anything to write.

        Folders that this makes are removed again if nothing is written into them.

        Raises:
            RunError: Another driver holds the run, or the folder holds something else.
        """
        new = [place for place in (self.path, *self.path.parents) if not place.exists()]
        held = False
        try:
            with self.locked():
                held = True
                yield
        finally:
            if held and new and [file.name for file in self.path.glob("*")] == ["lock"]:
                with contextlib.suppress(OSError):  # another process has written a file there
                    (self.path / "lock").unlink()
                    for folder in new:
                        folder.rmdir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one driver, and remove what a killed one left half-written.

        The operating system releases the lock when the process ends.

        Raises:
            RunError: Another driver holds the run, or the folder holds something else.
            StoreError: The folder cannot be written to.
        """
        self._check_folder(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from None
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.place}: another tasearch is running or confirming it") from None
        except OSError as error:
            raise write_error(self.path / "lock", error) from None
        try:
            self._tidy()
            self.take_extension()
            yield
        finally:
            self._lock.release()

    @property
    def extension(self) -> Path:
        """The folder of the files that replace the run's when its study has grown."""
        return self.path / ".tasearch-extension"

    @property
    def half_extended(self) -> bool:
        """Whether a replacement of the run's files was interrupted."""
        return (self.extension / "run.json").exists()

    def take_extension(self) -> None:
        """Move the files of an extension into place; the caller holds the run's lock."""
        if not self.half_extended:
            return
        try:
            if (self.extension / JOURNAL).exists() and self.journal.exists():
                self.journal.rename(_free_name(self.journal, "extended"))
            for name in EXTENDED:  # run.json last: it marks an unfinished extension
                if (self.extension / name).exists():
                    (self.extension / name).replace(self.path / name)
            shutil.rmtree(self.extension)
        except OSError as error:
            raise write_error(self.extension, error) from None

    def write(self, manifest: Manifest, place: Path | None = None) -> None:
        """Write measurements.json, then run.json, which makes the folder a run.

        Args:
            manifest: The run's manifest.
            place: The folder that the files will be moved to; this one if not given.
        """
        write_atomic(self.path / "measurements.json", manifest.measurements_json())
        write_atomic(self.path / "run.json", manifest.run_json(place or self.path))

    def read(self) -> Manifest:
        """The manifest that `write` wrote.

        Raises:
            RunError: A file is missing or damaged.
        """
        if self.half_extended:
            raise RunError(
                f"{self.path}: its study has grown, and that was cut off; `tasearch run` on the "
                f"same study ends it"
            )
        found = self.measured()
        return self._load(
            "run.json", WRITTEN_AGAIN, lambda blob: manifest_of(blob, found, self.path)
        )

    def measured(self) -> MeasurementsFile:
        """The profile that `write` wrote.

        Raises:
            RunError: The file is missing or damaged.
        """
        return self._load("measurements.json", REMEDY, MeasurementsFile.from_json)

    def set_aside(self, file: Path) -> Path:
        """Rename a damaged file, so that another one can be written.

        Args:
            file: The path of the file.

        Returns:
            Its new path.

        Raises:
            StoreError: The file cannot be renamed.
        """
        aside = _free_name(file, "damaged")
        try:
            file.rename(aside)
        except OSError as error:
            raise write_error(file, error) from None
        return aside

    def log(self, event: str, **values: Any) -> None:
        """Append one line to events.jsonl; the caller holds the run's lock."""
        self._log.append(event, values)

    def history(self) -> History:
        """The content of events.jsonl, and what is damaged in it."""
        return self._log.read()

    def events(self) -> list[dict[str, Any]]:
        """The lines of events.jsonl that are not damaged."""
        return self.history().events

    def _load(self, name: str, remedy: str, make: Callable[[bytes], T]) -> T:
        """A value made from the bytes of a file which must be there."""
        try:
            return read_value(self.path / name, make, remedy)
        except FileNotFoundError:
            raise RunError(f"{self.path / name}: is missing; {remedy}") from None

    def _tidy(self) -> None:
        """Delete the temporary files of interrupted writes, and no others."""
        for folder in (self.path, *(self.path / kind for kind in KINDS)):
            linked = folder != self.path and folder.is_symlink()
            with contextlib.suppress(OSError):  # there is no such folder, or no permission
                for file in [] if linked else [*folder.iterdir()]:
                    if is_temporary(file):
                        file.unlink(missing_ok=True)


def _free_name(file: Path, why: str) -> Path:
    """An unused path in the same folder, such as `journal.log.damaged-1`."""
    names = (file.with_name(f"{file.name}.{why}-{n}") for n in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))
