"""The inputs of a run that were brought from Python, in its folder: data, code, study file.

With them the folder of a run is whole: the command line continues, exports and confirms the run.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tasearch.config.files import write_atomic, write_error
from tasearch.config.module_import import only_from
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tasearch.config.syntax import digest_of
from tasearch.errors import RunError
from tasearch.runs.directory import RunDirectory
from tasearch.runs.folder_check import INPUTS
from tasearch.runs.run import Run

STUDY = "study.toml"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a study was brought with.

    Args:
        study: The study, whose root is the folder of the inputs.
        files: The content of each file by its path in that folder.
        words: What another content of each file would be, for messages: "another build".
    """

    study: Study
    files: dict[str, bytes]
    words: Mapping[str, str]

    @property
    def root(self) -> Path:
        """The folder of the inputs."""
        return Path(self.study.root)

    @property
    def modules(self) -> set[str]:
        """Names of the modules and packages among the files."""
        return {Path(n).parts[0].removesuffix(".py") for n in self.files if n.endswith(".py")}

    def bring(self, run: RunDirectory) -> Callable[[], None]:
        """Write the inputs into the claimed folder of a run.

        A file that is there already must be the same, so that no other data or code become those of
        the run.

        Args:
            run: The run's directory.

        Returns:
            A function that takes back what was written.

        Raises:
            RunError: The run has other inputs.
            StoreError: A file cannot be written.
        """
        folder = run.path / INPUTS
        made = run.exists or run.journal.exists()
        if made:
            self._check(folder, run)
        elif folder.exists():  # of a search that was killed before its run began
            _remove(folder)
        file = folder / STUDY
        before = file.read_bytes() if file.is_file() else None
        new = [name for name in self.files if not (folder / name).is_file()]

        def take_back() -> None:
            with contextlib.suppress(OSError):
                if not made:
                    shutil.rmtree(folder)
                    return
                for name in new:
                    (folder / name).unlink(missing_ok=True)
                if before is not None:
                    write_atomic(file, before)

        try:
            for name in new:
                write_atomic(folder / name, self.files[name])
            write_atomic(file, self._study_file())
            self.files.clear()  # the data take memory, and are in their file now
        except BaseException:
            take_back()
            raise
        return take_back

    def _study_file(self) -> bytes:
        title = f"The study {self.study.name!r}, written by tasearch.search.\n"
        title += "The run goes on with `tasearch run` on this file and --runs-dir RUNS."
        return render(self.study.model_copy(update={"root": "."}), title).encode()

    def _check(self, folder: Path, run: RunDirectory) -> None:
        another = "give the search another name, or use another runs_dir"
        if not folder.is_dir():
            raise RunError(f"{run.path}: was made from a study file, not by a search; {another}")
        for name, content in self.files.items():
            file = folder / name
            if file.is_file() and not _same(name, file.read_bytes(), content):
                raise RunError(f"{run.path}: was made with {self.words[name]}; {another}")


def _same(name: str, one: bytes, other: bytes) -> bool:
    """Whether two files are the same; comments and layout of source do not count."""
    return one == other or (name.endswith(".py") and digest_of(one) == digest_of(other))


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise write_error(folder, error) from None


def own_modules(run: Run) -> AbstractContextManager[None]:
    """A context in which modules of which a run has copies are imported from its folder alone.

    Args:
        run: A run; one that was made from a study file has no copies.
    """
    folder = Path(run.manifest.study.root)
    if folder.name != INPUTS or not (folder / STUDY).is_file():
        return contextlib.nullcontext()
    return only_from(folder, {p.stem for p in folder.iterdir() if p.suffix == ".py" or p.is_dir()})
