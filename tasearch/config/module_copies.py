"""Copies of the user's modules, to be kept in the folder of a run."""

from __future__ import annotations

from collections.abc import Iterable

from tasearch.config.module_files import origin
from tasearch.config.user_modules import reachable
from tasearch.errors import StudyError


def module_copies(names: Iterable[str]) -> dict[str, bytes]:
    """The files of modules, and of the user's modules that they depend on, as they are now.

    Args:
        names: Full names of modules that have a file.

    Returns:
        The content of each file by its path, relative to the folder that modules are looked for in.

    Raises:
        StudyError: Two modules of different folders have the same name.
    """
    found: dict[str, bytes] = {}
    for name in sorted(names):
        file = origin(name)
        assert file is not None, "a module of the user's has a file"
        root = file.parents[name.count(".") + (file.name == "__init__.py")]
        for other in reachable(name, root).values():
            if other is not None:
                place, content = other.relative_to(root).as_posix(), other.read_bytes()
                if found.setdefault(place, content) != content:
                    raise StudyError(
                        f"{other}: another file of this name is needed too; rename one"
                    )
    return found
