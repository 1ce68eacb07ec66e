"""Driver, worker and export killed once each; `python -m benchmarks.kills` does so at length."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest

from benchmarks.forks import Forks
from benchmarks.kills import EXITS, Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Forks() as forks:
        yield Bench(tmp_path_factory.mktemp("kills"), forks)


@pytest.mark.parametrize(
    ("phase", "whom"), [("training", "worker"), ("training", "all"), ("export", "driver")]
)
def test_a_killed_command_ends_as_if_nothing_had_happened(
    bench: Bench, phase: str, whom: str
) -> None:
    """A worker dies by the user's own code besides, once."""
    done = bench.round(EXITS, phase, [whom], random.Random(0))
    assert not done.unequal, done.row()
