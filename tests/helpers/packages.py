"""The optional packages of teachers."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


def package(name: str) -> Any:
    """An optional package; without it, or with one that torch cannot use, the test is skipped."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # torchvision raises RuntimeError if it was built for another torch
        pytest.skip(f"{name} cannot be imported: {error}")
