"""A user's own functions, named in the study file as `"package.module:function"`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasearch.errors import StudyError, nearest

Function = Callable[..., Any]


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


def digest(function: Function) -> str:
    """SHA-256 of the source file that defines a user's function, 16 hex digits."""
    source = inspect.getsourcefile(inspect.unwrap(function))
    content = Path(source).read_bytes() if source else repr(function).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def identity(name: str, function: Function) -> str:
    """The name, and for a user's own function the digest of its source."""
    return f"{name}#{digest(function)}" if ":" in name else name


def _import(module_name: str, *, path: str, name: str, root: str) -> Any:
    top = module_name.partition(".")[0]
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise StudyError(f'{path}: should be "package.module:function", found {name!r}')
    _forget_namesake(top, Path(root))
    sys.path.insert(0, root)
    try:
        return importlib.import_module(module_name)
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


def _forget_namesake(top: str, root: Path) -> None:
    """Drop a module that another study's folder brought in under the same name."""
    loaded = getattr(sys.modules.get(top), "__file__", None)
    here = [root / f"{top}.py", root / top / "__init__.py"]
    if loaded and Path(loaded) not in here and any(p.exists() for p in here):
        for name in [n for n in sys.modules if n == top or n.startswith(top + ".")]:
            del sys.modules[name]
    importlib.invalidate_caches()
