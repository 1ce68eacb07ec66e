"""A user's own modules: which files they are, what was executed of them, and whether they changed.

A module counts where it lies below the study's root (or in the package that the study names), is
none of tasearch's and of no environment that lies below the root as well. Comments and layout do
not count: sources are compared by their syntax trees.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from tasearch.config.syntax import digest_of, imported_by, is_dynamic, parents
from tasearch.errors import RunError

_PATHS = [Path(sysconfig.get_path(n)) for n in ("stdlib", "platstdlib", "purelib", "platlib")]
INSTALLED = tuple({*_PATHS, *(path.resolve() for path in _PATHS)})
OURS = Path(__file__).parents[1]
MARGIN_S = 2.0  # between a file system's clock and this machine's

_executed: dict[str, bytes] = {}  # source of each user's module as it was when it was imported
_roots: list[Path] = []


@dataclass(frozen=True, kw_only=True)
class UserCode:
    """The source of a run's own modules as it was when the run began.

    Args:
        digests: The digest of each file that decides a result.
        stamps: The time of the last change and the size of each, when it was last compared.
    """

    digests: Mapping[Path, str]
    stamps: dict[Path, tuple[int, int]] = field(default_factory=dict, compare=False)

    def check(self) -> None:
        """Refuse to go on with other code than the run began with.

        Raises:
            RunError: Naming the first file that is not what it was.
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
                raise changed(file)
            self.stamps[file] = stamp


def changed(file: Path) -> RunError:
    """The message for a file that was edited in mid-run."""
    return RunError(
        f"{file} changed while the run was going: nothing was trained with the new code; put the "
        f"file back and run the same command again, or give the study another name"
    )


def frozen(modules: Sequence[str], root: Path) -> UserCode:
    """The files of some modules and of all that these import of the user's."""
    files: dict[Path, str] = {}
    for module in modules:
        for name, file in reachable(module, root).items():
            if file is not None:
                files[file] = digest_of(source_of(name, file))
    return UserCode(digests=files)


def source_of(name: str, file: Path | None) -> bytes:
    """What was executed of a module, or would be."""
    if name not in _executed and file is not None:
        with contextlib.suppress(OSError):
            return file.read_bytes()
    return _executed.get(name, b"")


def reachable(start: str, root: Path) -> dict[str, Path | None]:
    """The user's modules that a module imports, anywhere in its source, or whose objects it holds.

    Args:
        start: The name of the module that a study names.
        root: The study's folder.

    Returns:
        The file of each by its name, `start` itself among them; None where it has none.
    """
    places = _places(start, root)
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
            beside = _beside(file, root) if is_dynamic(source) else {}
            names |= {*beside}
        for other in sorted(names | _held_by(sys.modules.get(name))):
            if other in found:
                continue
            place = beside.get(other) or locate(other, root)
            if place is not None and is_users(other, place, places):
                found[other] = place
                ahead.append(other)
    return dict(sorted(found.items()))


def locate(name: str, root: Path) -> Path | None:
    """The file of a module, loaded or not; nothing is imported."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if isinstance(loaded, str):
        return _below(Path(loaded), root)
    within = Path(*name.split("."))
    for place in (root, *(Path(entry) for entry in sys.path if entry)):
        for file in (place / within.with_suffix(".py"), place / within / "__init__.py"):
            if file.is_file():
                return _below(file, root)
    return None


def _below(file: Path, root: Path) -> Path:
    """A file's path below the root, also where links lead to it; else its real path."""
    file = file.absolute()
    above = _same_as(file.parent, root)
    return file.resolve() if above is None else root / file.relative_to(above)


@cache
def _same_as(folder: Path, root: Path) -> Path | None:
    """The folder, or one above it, that is the root under another name or the same."""
    for above in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            if above == root or above.samefile(root):
                return above
    return None


def _beside(file: Path, root: Path) -> dict[str, Path]:
    """The modules beside a file and in the folders there, by their names as seen from the root."""
    found: dict[str, Path] = {}
    if not file.is_relative_to(root):
        return found
    for folder, inner, names in os.walk(file.parent):
        inner[:] = [
            name
            for name in inner
            if name.isidentifier() and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        package = Path(folder).relative_to(root).parts
        for name in names:
            stem = name.removesuffix(".py")
            if name.endswith(".py") and stem.isidentifier():
                parts = package if stem == "__init__" else (*package, stem)
                found[".".join(parts)] = Path(folder, name)
    found.pop("", None)
    return found


def is_users(name: str, file: Path, places: Sequence[Path]) -> bool:
    """Whether a module is the user's: which of an environment's or of tasearch's are loaded differs
    from process to process."""
    if name.partition(".")[0] == __name__.partition(".")[0] or file.is_relative_to(OURS):
        return False
    within = [place for place in places if file.is_relative_to(place)]
    foreign = [own for own in INSTALLED if any(own.is_relative_to(place) for place in within)]
    return bool(within) and not any(map(file.is_relative_to, foreign))


def load(name: str, root: Path, *, again: bool) -> ModuleType:
    """Import a module of the user's from its source.

    Args:
        name: The name of the module.
        root: The folder that is searched first.
        again: Whether to look if what is loaded is what the files say now; where it is not, it is
            imported anew, with all that it imports of the user's.
    """
    if again:
        _forget_stale(name, root)
    if root not in _roots:
        _roots.append(root)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
        sys.meta_path.insert(place, _Finder())
    importlib.invalidate_caches()
    sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name)
    finally:
        with contextlib.suppress(ValueError):  # the user's code may change the list itself
            sys.path.remove(str(root))
        if str(root) not in sys.path:
            sys.path.append(str(root))  # for what a function imports when it is called
    for other, file in reachable(name, root).items():
        if other in sys.modules and other not in _executed and file is not None:
            with contextlib.suppress(OSError):
                _executed[other] = file.read_bytes()
    return module


class _Loader(SourceFileLoader):
    """Compiles a user's module from its source: kept bytecode of a file that was edited twice
    within a second is of the first."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        _executed[fullname] = source
        code: CodeType = self.source_to_code(source, self.path)
        return code


class _Finder(MetaPathFinder):
    """Finds the user's modules where Python's own finder does, for `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return None
        files = [(_below(Path(spec.origin), root), root) for root in _roots]
        if not any(is_users(fullname, file, [root]) for file, root in files):
            return None
        spec.loader = _Loader(fullname, spec.origin)
        spec.cached = None
        return spec


def _places(start: str, root: Path) -> list[Path]:
    """The root; and the package of a module that lies elsewhere and is not installed."""
    file = locate(start, root)
    if file is None or file.is_relative_to(root) or any(map(file.is_relative_to, INSTALLED)):
        return [root]
    depth = start.count(".") + (file.name == "__init__.py")
    return [root, file.parents[max(0, depth - 1)]] if depth else [root]


def _forget_stale(start: str, root: Path) -> None:
    """Drop the modules of a study if one was edited since it was imported, whoever imported it, or
    comes from another study's folder."""
    top = start.partition(".")[0]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    here = [p for p in (root / f"{top}.py", root / top / "__init__.py") if p.exists()]
    namesake = isinstance(loaded, str) and here and _below(Path(loaded), root) not in here
    if namesake and any(map(Path(str(loaded)).resolve().is_relative_to, INSTALLED)):
        raise ImportError(f"{here[0]} has the name of an installed module, {loaded}; rename it")
    names = reachable(start, root)
    if not namesake and not any(_is_stale(name, file) for name, file in names.items()):
        return
    for package in {above for name in names for above in parents(name)}:
        if getattr(sys.modules.get(package), "__file__", None) is None:
            sys.modules.pop(package, None)  # one without a file still holds the modules in it
    for name in [*sys.modules]:
        if name in names or name == top or name.startswith(top + ".") or name in _executed:
            del sys.modules[name]
            _executed.pop(name, None)


def _is_stale(name: str, file: Path | None) -> bool:
    """Whether a module that is loaded is not what its file says now."""
    module = sys.modules.get(name)
    if module is None or file is None:
        return False
    loaded = getattr(module, "__file__", None)
    if not isinstance(loaded, str) or Path(loaded).resolve() != file.resolve():
        return False  # a namesake, which is nobody's here
    try:
        source = file.read_bytes()
        if name in _executed:
            return digest_of(source) != digest_of(_executed[name])
        found = file.stat()
        return max(found.st_mtime, found.st_ctime) > _begun() - MARGIN_S
    except OSError:
        return True


@cache
def _begun() -> float:
    """When this process began, in seconds since 1970; 0 where the system does not tell it."""
    if multiprocessing.parent_process() is not None:
        return 0.0  # it may have the modules of a process that began before
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return time.time() - age


def _held_by(module: ModuleType | None) -> set[str]:
    """Names of the modules whose objects a module holds."""
    found = set()
    for value in list(vars(module).values()) if module is not None else []:
        owner = value.__name__ if isinstance(value, ModuleType) else None
        if owner is None:
            with contextlib.suppress(Exception):  # a user's object may do anything when asked
                owner = value.__module__
        if isinstance(owner, str):
            found.add(owner)
    return found
