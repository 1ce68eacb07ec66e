"""A user's own functions, named in the study file as `"package.module:function"`."""

from __future__ import annotations

import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tasearch.errors import StudyError, nearest

Function = Callable[..., Any]

INSTALLED = tuple(
    Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)

_imported: dict[str, bytes] = {}  # source of each user's module as it was when it was imported


def resolve(name: str, known: Mapping[str, Function], *, path: str, root: str) -> Function:
    """The function that a study file names.

    Args:
        name: a key of `known`, or `"package.module:function"`.
        known: what tasearch brings along.
        path: where the name stands in the study file, for messages.
        root: the folder in which a user's modules are looked for first.

    Raises:
        StudyError: where there is none.
    """
    if ":" not in name:
        if name not in known:
            raise StudyError(f"{path}: unknown name {name!r}{nearest(name, known)}")
        return known[name]
    module_name, _, attribute = name.partition(":")
    module = _import(module_name, path=path, name=name, root=root)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise StudyError(f"{path}: {name!r}: module {module_name!r} has no function {attribute!r}")
    return function  # type: ignore[no-any-return]


def identity(name: str, root: str) -> str:
    """The name of a resolved function, and for a user's own the digest of its source.

    The digest covers the function's module and the modules below `root` that this one refers to.
    """
    if ":" not in name:
        return name
    digest = hashlib.sha256()
    for module in sorted(_reachable(name.partition(":")[0], Path(root))):
        digest.update(module.encode() + b"\0" + _imported.get(module, b"") + b"\0")
    return f"{name}#{digest.hexdigest()[:16]}"


def _reachable(start: str, root: Path) -> set[str]:
    """Names of the user's modules whose objects a module holds, itself among them."""
    found, ahead = {start}, [start]
    while ahead:
        for value in list(vars(sys.modules[ahead.pop()]).values()):
            owner = value.__name__ if isinstance(value, ModuleType) else None
            owner = owner or getattr(value, "__module__", None)
            if isinstance(owner, str) and owner not in found and _below(owner, root):
                found.add(owner)
                ahead.append(owner)
    return found


def _below(module_name: str, root: Path) -> bool:
    """Whether a module is the user's: not where it is tasearch's, or of an environment that lies
    below the root as well. Which of those are loaded differs from process to process."""
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None or module_name.partition(".")[0] == __name__.partition(".")[0]:
        return False
    path, foreign = Path(file), [place for place in INSTALLED if place.is_relative_to(root)]
    return path.is_relative_to(root) and not any(map(path.is_relative_to, foreign))


def _import(module_name: str, *, path: str, name: str, root: str) -> ModuleType:
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise StudyError(f'{path}: should be "package.module:function", found {name!r}')
    _forget_stale(module_name.partition(".")[0], Path(root))
    before = {*sys.modules}
    sys.path.insert(0, root)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise StudyError(
            f"{path}: {name!r}: {error}; looked in {root} and the Python path"
        ) from None
    except Exception as error:  # the user's module may raise anything
        raise StudyError(
            f"{path}: {name!r}: importing it raised {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(root)
    if root not in sys.path:
        sys.path.append(root)  # for what a function imports when it is called
    for loaded in {*sys.modules} - before:
        if loaded == module_name or _below(loaded, Path(root)):
            _imported[loaded] = _source(loaded)
    return module


def _source(module_name: str) -> bytes:
    file = getattr(sys.modules[module_name], "__file__", None)
    return Path(file).read_bytes() if file and Path(file).is_file() else b""


def _forget_stale(top: str, root: Path) -> None:
    """Drop a user's modules that were edited since, or come from another study's folder."""
    loaded = getattr(sys.modules.get(top), "__file__", None)
    here = [root / f"{top}.py", root / top / "__init__.py"]
    namesake = loaded and Path(loaded) not in here and any(p.exists() for p in here)
    edited = any(n in sys.modules and _source(n) != was for n, was in _imported.items())
    if namesake or edited:
        gone = [n for n in sys.modules if n == top or n.startswith(top + ".") or n in _imported]
        for name in gone:
            del sys.modules[name]
            _imported.pop(name, None)
    importlib.invalidate_caches()
