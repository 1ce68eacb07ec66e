"""The optional packages of models and sets of data."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import pytest


def package(name: str) -> Any:
    """An optional package; without it, or with one that torch cannot use, the test is skipped.

    With the environment variable REQUIRE_PACKAGES, as in CI, it then fails.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # torchvision raises RuntimeError if it was built for another torch
        if os.environ.get("REQUIRE_PACKAGES"):
            raise
        pytest.skip(f"{name} cannot be imported: {error}")


def skip_without_ray() -> None:
    """Skip a test, or all of a module, where Ray is not installed.

    Ray is not imported here: it reads the token of a cluster when it is, and for good.
    """
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install -e '.[ray]'", allow_module_level=True)
