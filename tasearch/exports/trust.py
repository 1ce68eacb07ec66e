"""User code that a run or an export names runs only if the caller trusts it."""

from __future__ import annotations

from collections.abc import Mapping

from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.errors import ExportError


def check_trust(names: Mapping[str, str], study: Study, *, trust: bool, what: str) -> None:
    """Refuse user code which the caller does not trust, before any of it is imported.

    Args:
        names: Names of functions by their key in the study file; user code has a colon.
        study: The study that names them.
        trust: Whether the caller trusts the code.
        what: Subject of the message, such as "winner: loading it".

    Raises:
        ExportError: If user code is named and not trusted.
    """
    for key, name in names.items():
        if ":" in name and not trust:
            raise ExportError(
                f"{what} runs user code: {key} = {name!r} is {plugins.place(name, study.root)}; "
                f"read it, and pass trust=True (--trust) if you trust it"
            )
