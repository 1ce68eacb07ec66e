"""Fixtures of the tests of a search."""

from __future__ import annotations

import pytest

from benchmarks.table import Table
from tests.helpers.replay import DIGITS


@pytest.fixture(scope="session")
def digits() -> Table:
    """A table of results, with which a search takes less than a second."""
    return Table.load(DIGITS)
