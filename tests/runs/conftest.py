"""Fixtures of the tests of a run's files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tasearch


@pytest.fixture
def copy(finished: tasearch.Run, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished.path, tmp_path / "runs" / "tiny"))
