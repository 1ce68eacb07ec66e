"""A user's own modules: which ones a study depends on, and whether their sources changed.

Comments and layout do not count: sources are compared by their syntax trees.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from tasearch.config.module_files import is_users, locate, modules_beside, user_folders
from tasearch.config.syntax import digest_of, imported_by, is_dynamic, parents
from tasearch.errors import RunError

# The source of each of the user's modules, as it was when it was imported in this process.
executed: dict[str, bytes] = {}


@dataclass(frozen=True, kw_only=True)
class UserCode:
    """The source of the user's modules as it was when a run began.

    Args:
        digests: The digest of each file.
        stamps: The time of change (nanoseconds) and the size (bytes) of each file when it was last
            compared; a file with the same stamp is not read again.
    """

    digests: Mapping[Path, str]
    stamps: dict[Path, tuple[int, int]] = field(default_factory=dict, compare=False)

    def check(self) -> None:
        """Refuse to continue with other code than the run began with.

        Raises:
            RunError: If a file changed; the message names it.
        """
        for file, digest in self.digests.items():
            try:
                found = file.stat()
                stamp = found.st_mtime_ns, found.st_size
                if self.stamps.get(file) == stamp:
                    continue
                same = digest_of(file.read_bytes()) == digest
            except OSError:
                same = False
            if not same:
                raise _changed(file)
            self.stamps[file] = stamp


def _changed(file: Path) -> RunError:
    """The error for a file that was edited during a run."""
    return RunError(
        f"{file} changed while the run was going: nothing was trained with the new code; put the "
        f"file back and run the same command again, or give the study another name"
    )


def frozen(modules: Sequence[str], root: Path) -> UserCode:
    """The source of some modules, and of the user's modules that these depend on, as it is now.

    Args:
        modules: The names of the modules.
        root: The study's root.
    """
    files: dict[Path, str] = {}
    for module in modules:
        for name, file in reachable(module, root).items():
            if file is not None:
                files[file] = digest_of(source_of(name, file))
    return UserCode(digests=files)


def source_of(name: str, file: Path | None) -> bytes:
    """The source that was executed of a module; if it was not imported yet, that of its file."""
    if name not in executed and file is not None:
        with contextlib.suppress(OSError):
            return file.read_bytes()
    return executed.get(name, b"")


def reachable(start: str, root: Path) -> dict[str, Path | None]:
    """The user's modules that a module depends on.

    These are the modules that it imports, anywhere in its source, and those whose objects it holds;
    then the modules that these depend on, and so on. If a source computes the names of modules that
    it imports, all modules beside it count.

    Args:
        start: The name of the module that a study names.
        root: The study's root.

    Returns:
        The file of each module by its name, with `start` itself; None for one without a file.
    """
    folders = user_folders(start, root)
    found: dict[str, Path | None] = {start: locate(start, root)}
    ahead = [start]
    while ahead:
        name = ahead.pop()
        file = found[name]
        names, beside = parents(name), dict[str, Path]()
        if file is not None:
            is_package = file.name == "__init__.py"
            source = source_of(name, file)
            names |= imported_by(source, name, is_package=is_package)
            beside = modules_beside(file, root) if is_dynamic(source) else {}
            names |= {*beside}
        for other in sorted(names | _held_by(sys.modules.get(name))):
            if other in found:
                continue
            place = beside.get(other) or locate(other, root)
            if place is not None and is_users(other, place, folders):
                found[other] = place
                ahead.append(other)
    return dict(sorted(found.items()))


def _held_by(module: ModuleType | None) -> set[str]:
    """Names of the modules in which the objects that a module holds are defined."""
    found = set()
    for value in list(vars(module).values()) if module is not None else []:
        owner = value.__name__ if isinstance(value, ModuleType) else None
        if owner is None:
            with contextlib.suppress(Exception):  # a user's object may do anything when asked
                owner = value.__module__
        if isinstance(owner, str):
            found.add(owner)
    return found
