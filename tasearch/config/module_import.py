"""Import of a user's modules from their sources, and again if they were edited since."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from tasearch.config.module_files import below, is_installed, is_users
from tasearch.config.syntax import digest_of, parents
from tasearch.config.user_modules import executed, reachable

MARGIN_S = 2.0  # how far the clocks of a file system and of this machine may differ

_roots: list[Path] = []


def load(name: str, root: Path, *, again: bool) -> ModuleType:
    """Import a module of the user's from its source.

    Args:
        name: The name of the module.
        root: The study's root, which is searched first.
        again: Whether to compare loaded modules with their files. If one was edited, the module and
            all of the user's modules that it depends on are imported again.

    Returns:
        The module.

    Raises:
        BaseException: Whatever importing the module raises.
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
        if other in sys.modules and other not in executed and file is not None:
            with contextlib.suppress(OSError):
                executed[other] = file.read_bytes()
    return module


class _Loader(SourceFileLoader):
    """Compiles a user's module from its source.

    Python's cached bytecode would be out of date for a file that was edited twice within a second.
    """

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        executed[fullname] = source
        code: CodeType = self.source_to_code(source, self.path)
        return code


class _Finder(MetaPathFinder):
    """Finds the user's modules where Python's own finder does, and has `_Loader` load them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or type(spec.loader) is not SourceFileLoader:
            return None
        files = [(below(Path(spec.origin), root), root) for root in _roots]
        if not any(is_users(fullname, file, [root]) for file, root in files):
            return None
        spec.loader = _Loader(fullname, spec.origin)
        spec.cached = None
        return spec


def _forget_stale(start: str, root: Path) -> None:
    """Remove the modules of a study from `sys.modules` if one of them is out of date.

    It is if its file was edited after the import, no matter what imported it, or if it comes from
    the folder of another study.

    Raises:
        ImportError: If a module of the study has the name of an installed module that is loaded.
    """
    top = start.partition(".")[0]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    here = [p for p in (root / f"{top}.py", root / top / "__init__.py") if p.exists()]
    namesake = isinstance(loaded, str) and here and below(Path(loaded), root) not in here
    if namesake and is_installed(Path(str(loaded)).resolve()):
        raise ImportError(f"{here[0]} has the name of an installed module, {loaded}; rename it")
    names = reachable(start, root)
    if not namesake and not any(_is_stale(name, file) for name, file in names.items()):
        return
    for package in {above for name in names for above in parents(name)}:
        if getattr(sys.modules.get(package), "__file__", None) is None:
            sys.modules.pop(package, None)  # a package without a file still holds its modules
    for name in [*sys.modules]:
        if name in names or name == top or name.startswith(top + ".") or name in executed:
            del sys.modules[name]
            executed.pop(name, None)


def _is_stale(name: str, file: Path | None) -> bool:
    """Whether the source of a loaded module is no longer that of its file."""
    module = sys.modules.get(name)
    if module is None or file is None:
        return False
    loaded = getattr(module, "__file__", None)
    if not isinstance(loaded, str) or Path(loaded).resolve() != file.resolve():
        return False  # another module of the same name
    try:
        source = file.read_bytes()
        if name in executed:
            return digest_of(source) != digest_of(executed[name])
        found = file.stat()
        return max(found.st_mtime, found.st_ctime) > _process_start() - MARGIN_S
    except OSError:
        return True


@cache
def _process_start() -> float:
    """When this process began, in seconds since 1970.

    It is 0 where the system does not tell it (only Linux does here): then every module that was
    imported by other code than this counts as edited, and is imported again.
    """
    if multiprocessing.parent_process() is not None:
        return 0.0  # a forked process has the modules of its parent, which began before
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return time.time() - age


@contextlib.contextmanager
def only_from(root: Path, names: Collection[str]) -> Iterator[None]:
    """A context in which some modules are imported from a folder alone, also by new workers.

    The program may have imported others of these names before, such as those of which the folder
    has copies: it has them again afterwards.

    Args:
        root: The folder.
        names: Names of modules and packages in it.
    """
    before = _taken_out(names)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may change the list itself
            sys.path.remove(str(root))
        _taken_out(names)
        sys.modules.update(before)


def _taken_out(names: Collection[str]) -> dict[str, ModuleType]:
    """Remove modules and packages, with all that is in them, from those that are loaded."""
    taken = {name: of for name, of in sys.modules.items() if name.partition(".")[0] in names}
    for name in taken:
        del sys.modules[name]
        executed.pop(name, None)
    return taken
