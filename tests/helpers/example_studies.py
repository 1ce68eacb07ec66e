"""Example studies, copied to a folder of their own with the data that their scripts make."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"


def example_study(name: str, script: str, factory: pytest.TempPathFactory) -> Path:
    """The folder of a copied example, in which its script has made its table."""
    folder = factory.mktemp(name) / "study"
    shutil.copytree(STUDIES / name, folder, ignore=shutil.ignore_patterns("*.csv"))
    subprocess.run([sys.executable, script], cwd=folder, check=True)
    return folder
