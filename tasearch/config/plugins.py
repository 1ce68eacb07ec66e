"""Functions of the user's, named in a study file as `"package.module:function"`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tasearch.config import user_modules
from tasearch.config.guard import limit_calls, timely
from tasearch.config.module_files import locate
from tasearch.config.module_import import load
from tasearch.config.syntax import digest_of
from tasearch.config.user_modules import UserCode
from tasearch.errors import StudyError, nearest, raised

Function = Callable[..., Any]

_resolved: set[tuple[str, str]] = set()  # (root, module) that this run has already imported


def new_run(stall_minutes: float | None = None) -> None:
    """Begin a run: the user's code is what its files say now.

    A module that was edited since it was imported is imported again when it is first needed.

    Args:
        stall_minutes: The time that a call of the user's code may take in this process, in minutes;
            None for no limit.
    """
    _resolved.clear()
    limit_calls(stall_minutes)


def resolve(name: str, known: Mapping[str, Function], *, path: str, root: str) -> Function:
    """The function that a study file names.

    Args:
        name: A key of `known`, or `"package.module:function"`.
        known: The built-in functions by name.
        path: The key of the study file that has the name, for messages.
        root: The study's root, which is searched first for the user's modules.

    Returns:
        The function.

    Raises:
        StudyError: If there is no such function, or its module cannot be imported.
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
    """The name of a function; for one of the user's, with the digest of its source.

    The digest covers the function's module and all of the user's modules that it depends on.

    Args:
        name: A name that `resolve` has resolved.
        root: The study's root.
    """
    if ":" not in name:
        return name
    digest = hashlib.sha256()
    for module, file in user_modules.reachable(
        name.partition(":")[0], Path(root).resolve()
    ).items():
        source = digest_of(user_modules.source_of(module, file))
        digest.update(f"{module} {source}\n".encode())
    return f"{name}#{digest.hexdigest()[:16]}"


def frozen(names: Iterable[str], root: str) -> UserCode:
    """The source of the user's functions as it is now, to be compared with later.

    Args:
        names: Names of functions; built-in ones are left out.
        root: The study's root.
    """
    return user_modules.frozen(
        [n.partition(":")[0] for n in names if ":" in n], Path(root).resolve()
    )


def place(name: str, root: str) -> str:
    """The file of a function of the user's, for messages; nothing is imported."""
    module_name = name.partition(":")[0]
    within = Path(root).resolve().joinpath(*module_name.split("."))
    here = [p for p in (within.with_suffix(".py"), within / "__init__.py") if p.is_file()]
    file = here[0] if here else locate(module_name, Path(root).resolve())
    return str(file) if file else f"module {module_name!r}, which is not found in {root}"


def _import(module_name: str, *, path: str, name: str, root: str) -> ModuleType:
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise StudyError(f'{path}: should be "package.module:function", found {name!r}')
    if module_name == "__main__":
        raise StudyError(f"{path}: {name!r}: workers cannot import __main__; name a module")
    try:
        again = (root, module_name) not in _resolved
        with timely(f"{path}: {name!r}: importing it"):
            module = load(module_name, Path(root).resolve(), again=again)
    except StudyError:
        raise
    except ModuleNotFoundError as error:
        raise StudyError(
            f"{path}: {name!r}: {error}; looked in {root} and the Python path"
        ) from None
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        raise StudyError(
            f"{path}: {name!r}: importing it called sys.exit({error.code!r})"
        ) from error
    except BaseException as error:  # the user's module may raise anything
        raise StudyError(f"{path}: {name!r}: importing it raised {raised(error)}") from error
    _resolved.add((root, module_name))
    return module
