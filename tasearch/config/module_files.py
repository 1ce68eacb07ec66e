"""Where modules are, and which of them are the user's.

A module is the user's if it is below the study's root (or in the package that the study names). It
is not if it belongs to tasearch, or to a Python environment that is below the root as well.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_PATHS = [Path(sysconfig.get_path(n)) for n in ("stdlib", "platstdlib", "purelib", "platlib")]
INSTALLED = tuple({*_PATHS, *(path.resolve() for path in _PATHS)})
OURS = Path(__file__).parents[1]


def locate(name: str, root: Path) -> Path | None:
    """The file of a module, loaded or not; nothing is imported.

    Args:
        name: The module's full name.
        root: The study's root, which is searched first.

    Returns:
        Its file, below the root if a link leads there; None if there is none.
    """
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if isinstance(loaded, str):
        return below(Path(loaded), root)
    within = Path(*name.split("."))
    for place in (root, *(Path(entry) for entry in sys.path if entry)):
        for file in (place / within.with_suffix(".py"), place / within / "__init__.py"):
            if file.is_file():
                return below(file, root)
    return None


def origin(name: str) -> Path | None:
    """The file of a module as Python finds it, loaded or not; only packages above are imported.

    Args:
        name: The module's full name.

    Returns:
        Its absolute path; None if there is no such module, or if it has no file.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # such as of a name below a module
        return None
    has_file = spec is not None and spec.has_location and spec.origin is not None
    return Path(str(spec.origin)).absolute() if spec is not None and has_file else None


def below(file: Path, root: Path) -> Path:
    """The path of a file as seen from the root, even if links lead to it.

    Returns:
        A path that begins with `root` if there is one; otherwise the path without links.
    """
    file = file.absolute()
    above = _same_as(file.parent, root)
    return file.resolve() if above is None else root / file.relative_to(above)


@cache
def _same_as(folder: Path, root: Path) -> Path | None:
    """The folder or parent folder that is the root, perhaps by another name; None if none is."""
    for above in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            if above == root or above.samefile(root):
                return above
    return None


def modules_beside(file: Path, root: Path) -> dict[str, Path]:
    """The modules in the folder of a file and below it, by their names as seen from the root."""
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


def is_installed(file: Path) -> bool:
    """Whether a file belongs to the Python environment."""
    return any(map(file.is_relative_to, INSTALLED))


def is_users(name: str, file: Path, folders: Sequence[Path]) -> bool:
    """Whether a module is the user's.

    Modules of an environment or of tasearch are not: which of them are loaded differs from process
    to process.

    Args:
        name: The module's full name.
        file: Its file.
        folders: The folders of the user's code, as `user_folders` returns them.
    """
    if name.partition(".")[0] == __name__.partition(".")[0] or file.is_relative_to(OURS):
        return False
    within = [folder for folder in folders if file.is_relative_to(folder)]
    # Environments that are below one of the folders.
    foreign = [env for env in INSTALLED if any(env.is_relative_to(folder) for folder in within)]
    return bool(within) and not any(map(file.is_relative_to, foreign))


def user_folders(start: str, root: Path) -> list[Path]:
    """The folders of the user's code.

    Args:
        start: The name of the module that a study names.
        root: The study's root.

    Returns:
        The root; and the folder of the module's package if that is elsewhere and not installed.
    """
    file = locate(start, root)
    if file is None or file.is_relative_to(root) or is_installed(file):
        return [root]
    depth = start.count(".") + (file.name == "__init__.py")
    return [root, file.parents[max(0, depth - 1)]] if depth else [root]
