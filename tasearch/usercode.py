"""A user's own modules: which files they are, what was executed of them, and whether they changed.

A module counts where it lies below the study's root (or in the package that the study names), is
none of tasearch's and of no environment that lies below the root as well. Comments and layout do
not count: sources are compared by their syntax trees.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from tasearch.errors import RunError
from tasearch.syntax import differs, digest_of, imported_by, parents

INSTALLED = tuple(
    Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
OURS = Path(__file__).parent
STARTED = time.time()

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
        names = parents(name)
        if file is not None:
            is_package = file.name == "__init__.py"
            names |= imported_by(source_of(name, file), name, is_package=is_package)
        for other in sorted(names | _held_by(sys.modules.get(name))):
            if other in found:
                continue
            place = locate(other, root)
            if place is not None and is_users(other, place, places):
                found[other] = place
                ahead.append(other)
    return dict(sorted(found.items()))


def locate(name: str, root: Path) -> Path | None:
    """The file of a module, loaded or not; nothing is imported."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if isinstance(loaded, str):
        return Path(loaded).resolve()
    within = Path(*name.split("."))
    for place in (root, *(Path(entry) for entry in sys.path if entry)):
        for file in (place / within.with_suffix(".py"), place / within / "__init__.py"):
            if file.is_file():
                return file.resolve()
    return None


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
        if not is_users(fullname, Path(spec.origin).resolve(), _roots):
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
    namesake = isinstance(loaded, str) and here and Path(loaded).resolve() not in here
    if namesake and any(map(Path(str(loaded)).resolve().is_relative_to, INSTALLED)):
        raise ImportError(f"{here[0]} has the name of an installed module, {loaded}; rename it")
    names = reachable(start, root)
    if not namesake and not any(_is_stale(name, file) for name, file in names.items()):
        return
    for name in [*sys.modules]:
        if name in names or name == top or name.startswith(top + ".") or name in _executed:
            del sys.modules[name]
            _executed.pop(name, None)


def _is_stale(name: str, file: Path | None) -> bool:
    """Whether a module that is loaded is not what its file says now."""
    module = sys.modules.get(name)
    if module is None or file is None:
        return False
    try:
        source = file.read_bytes()
        if name in _executed:
            return digest_of(source) != digest_of(_executed[name])
        return file.stat().st_mtime > STARTED or differs(module, source)
    except OSError:
        return True


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
