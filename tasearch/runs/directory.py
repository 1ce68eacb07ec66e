"""A run directory: what is in it, who may write, and whose study it is.

run.json           the study, the digests of its data and models, the trials asked for
measurements.json  what each width costs to run and how it trains, frozen
journal.log        Optuna's study
events.jsonl       every hop's start and end, with seconds
lock               held by the driver
hops/ checkpoints/ targets/   the store
locks/             held by workers
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from tasearch.config.files import is_temporary, write_atomic, write_error
from tasearch.errors import RunError, StoreError, first_line
from tasearch.runs.event_log import EventLog, History
from tasearch.runs.manifest import Manifest, MeasurementsFile, manifest_of
from tasearch.runs.seals import read_file
from tasearch.runs.store import KINDS, Store

__all__ = ["Manifest", "RunDirectory"]

REMEDY = "put the file back, or remove the folder and run the study again"
WRITTEN_AGAIN = "put the file back, or remove it: `tasearch run` on the same study writes it again"
JOURNAL = "journal.log"
EXTENDED = (JOURNAL, "measurements.json", "run.json")
T = TypeVar("T")
OURS = {  # what the folder of a run may hold before run.json is there
    *("lock", "locks", "measurements.json", "events.jsonl", "report.html", *KINDS)
}


class RunDirectory:
    """One run directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / "lock", thread_local=False)
        self._log = EventLog(path / "events.jsonl")

    @classmethod
    def open(cls, run: str | Path, runs_dir: str | Path = "runs") -> RunDirectory:
        """An existing run, by its path or by its name under `runs_dir`.

        Raises:
            RunError: where there is none.
        """
        places = [cls(Path(run)), cls(Path(runs_dir) / run)]
        for found in places:
            if found.exists:
                return found
        for found in places:
            if found.journal.is_file():
                file = found.path / "run.json"
                raise RunError(f"{file}: is missing; `tasearch run` on the same study writes it")
        raise RunError(f"{run}: no such run; `tasearch run STUDY.toml` makes one in {runs_dir}/")

    @property
    def exists(self) -> bool:
        """Whether it is a run, sound or not."""
        return os.path.lexists(self.path / "run.json")

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL

    @property
    def busy(self) -> bool:
        """Whether a driver holds the run."""
        if not (self.path / "lock").exists():
            return False
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return True
        lock.release()
        return False

    def store(self, warn: Callable[[str], None] | None = None) -> Store:
        """The hops of the run; damaged ones are refused where nobody is to be warned."""
        return Store(self.path, strict=True) if warn is None else Store(self.path, warn)

    def check_free(self) -> None:
        """Tell early what `locked` would tell.

        Raises:
            RunError: where another driver holds the run, or the folder holds something else.
        """
        self._check_place()
        if self.path.exists():
            with self.locked():
                pass

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the run before there is anything to write; a folder that stays empty goes again.

        Raises:
            RunError: where another driver holds it, or the folder holds something else.
        """
        new = [place for place in (self.path, *self.path.parents) if not place.exists()]
        held = False
        try:
            with self.locked():
                held = True
                yield
        finally:
            if held and new and [file.name for file in self.path.glob("*")] == ["lock"]:
                with contextlib.suppress(OSError):  # somebody else has put something there
                    (self.path / "lock").unlink()
                    for folder in new:
                        folder.rmdir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one driver, and tidy it; the system lets go when the process ends.

        Raises:
            RunError: where another driver holds it.
        """
        self._check_place()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from None
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.path}: another tasearch is running this study") from None
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
        """The folder of what is to take the place of the run's files, where the study has grown."""
        return self.path / ".tasearch-extension"

    @property
    def half_extended(self) -> bool:
        """Whether the run's files are to be replaced, and a kill cut that off."""
        return (self.extension / "run.json").exists()

    def take_extension(self) -> None:
        """End an extension, also one that a kill cut off; the run's lock is held."""
        if not self.half_extended:
            return
        try:
            if (self.extension / JOURNAL).exists() and self.journal.exists():
                self.journal.rename(_free_name(self.journal, "extended"))
            for name in EXTENDED:  # run.json last: without it, nothing is left to do
                if (self.extension / name).exists():
                    (self.extension / name).replace(self.path / name)
            shutil.rmtree(self.extension)
        except OSError as error:
            raise write_error(self.extension, error) from None

    def write(self, manifest: Manifest, place: Path | None = None) -> None:
        """Freeze the measurements, then the study; `run.json` last, for it makes the run.

        Args:
            manifest: What the run is of.
            place: The run's directory, where the files are to lie; this one if not given.
        """
        write_atomic(self.path / "measurements.json", manifest.measurements_json())
        write_atomic(self.path / "run.json", manifest.run_json(place or self.path))

    def read(self) -> Manifest:
        """What `write` wrote.

        Raises:
            RunError: where it is damaged.
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
        """The frozen measurements.

        Raises:
            RunError: where they are damaged.
        """
        return self._load("measurements.json", REMEDY, MeasurementsFile.from_json)

    def set_aside(self, file: Path) -> Path:
        """Rename a damaged file, so that another can be made.

        Returns:
            Where it is now.

        Raises:
            StoreError: where it cannot be renamed.
        """
        aside = _free_name(file, "damaged")
        try:
            file.rename(aside)
        except OSError as error:
            raise write_error(file, error) from None
        return aside

    def log(self, event: str, **values: Any) -> None:
        """Append one line to events.jsonl; the run's lock is held."""
        self._log.append(event, values)

    def history(self) -> History:
        """What events.jsonl tells."""
        return self._log.read()

    def events(self) -> list[dict[str, Any]]:
        """The sound lines of events.jsonl."""
        return self.history().events

    def _load(self, name: str, remedy: str, make: Callable[[bytes], T]) -> T:
        """A value of a file's content, whatever is wrong with it told in one message."""
        file = self.path / name
        try:
            return make(read_file(file))
        except FileNotFoundError:
            raise RunError(f"{file}: is missing; {remedy}") from None
        except StoreError as error:
            raise RunError(f"{file}: {error}; {remedy}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            words = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
            raise RunError(f"{file}: cannot be read: {words}; {remedy}") from None

    def _check_place(self) -> None:
        """Refuse a folder that is no run's, and what is no folder.

        Raises:
            RunError: where there is one.
        """
        another = "give the study another name, or use another --runs-dir"
        if self.exists or not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise RunError(f"{self.path}: should be a folder, and is none; {another}")
        try:
            found = sorted(self.path.iterdir())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {error.strerror}") from None
        if self.journal in found:
            return
        for path in found:
            if path.name not in OURS and not is_temporary(path):
                raise RunError(f"{self.path}: is no run, and holds {path.name!r}; {another}")

    def _tidy(self) -> None:
        """Delete what writes left that a kill cut off; nothing else, and nothing elsewhere."""
        for folder in (self.path, *(self.path / kind for kind in KINDS)):
            linked = folder != self.path and folder.is_symlink()
            with contextlib.suppress(OSError):  # there is nothing to tidy, or no right to
                for file in [] if linked else [*folder.iterdir()]:
                    if is_temporary(file):
                        file.unlink(missing_ok=True)


def _free_name(file: Path, why: str) -> Path:
    """A name beside a file's that nothing has."""
    names = (file.with_name(f"{file.name}.{why}-{n}") for n in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))
