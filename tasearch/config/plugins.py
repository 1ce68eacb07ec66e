"""A user's own functions, named in the study file as `"package.module:function"`."""

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

_resolved: set[tuple[str, str]] = set()  # (root, module) that this run has looked at already


def new_run(stall_minutes: float | None = None) -> None:
    """From now on, code is what the files say: modules that were edited since they were imported
    are imported anew, once, when they are first asked for.

    Args:
        stall_minutes: How long a call of a user's code may take in this process; None for ever.
    """
    _resolved.clear()
    limit_calls(stall_minutes)


def resolve(name: str, known: Mapping[str, Function], *, path: str, root: str) -> Function:
    """The function that a study file names.

    Args:
        name: A key of `known`, or `"package.module:function"`.
        known: What tasearch brings along.
        path: Where the name stands in the study file, for messages.
        root: The folder in which a user's modules are looked for first.

    Raises:
        StudyError: Where there is none.
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

    The digest covers the function's module and the user's modules that this one refers to, whoever
    imported them first.
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
    """The source of a user's own among some functions, to be compared with later."""
    return user_modules.frozen(
        [n.partition(":")[0] for n in names if ":" in n], Path(root).resolve()
    )


def place(name: str, root: str) -> str:
    """The file that a user's function is in, for messages; nothing is imported."""
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
