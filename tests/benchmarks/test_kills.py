"""Driver, worker and export are killed once each; `python -m benchmarks.kills` kills many more."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest

from benchmarks.forks import ForkServer
from benchmarks.kill_rounds import KillBench
from benchmarks.kill_scenarios import EXITS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillBench]:
    with ForkServer() as forks:
        yield KillBench(tmp_path_factory.mktemp("kills"), forks)


@pytest.mark.parametrize(
    ("phase", "target"), [("training", "worker"), ("training", "all"), ("export", "driver")]
)
def test_killed_command_ends_like_uninterrupted_run(
    bench: KillBench, phase: str, target: str
) -> None:
    """User code ends one more worker, once."""
    done = bench.kill_run(EXITS, phase, [target], random.Random(0))
    assert not done.unequal, done.to_json()
