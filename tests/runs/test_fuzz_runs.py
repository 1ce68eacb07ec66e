"""One damaged file anywhere in a run, then every command: no traceback, no changed figure.

`TASEARCH_FUZZ_EXAMPLES=200 pytest -m slow tests/runs/test_fuzz_runs.py` tries more than the suite
does, and `python -m benchmarks.fuzz` stores what it tried.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tasearch
from benchmarks.damage import KINDS, damage
from benchmarks.damaged_run import RUNS, STUDY, TIMEOUT, DamageTest
from benchmarks.forks import ForkServer, run_command
from tasearch.config.study_file import render
from tests.helpers.studies import tiny

EXAMPLES = int(os.environ.get("TASEARCH_FUZZ_EXAMPLES", "10"))
EXPORTED = 6  # one in so many cases is exported as well
SUBPROCESSES = 2  # cases that are tried in separate interpreters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="commands are forked"),
]


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with ForkServer() as running:
        yield running


@pytest.fixture(scope="module")
def damaged(
    finished: tasearch.Run, forks: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> DamageTest:
    home = tmp_path_factory.mktemp("home")
    (home / STUDY).write_text(render(tiny()))
    shutil.copytree(finished.path, home / RUNS / "tiny")
    made = DamageTest(home=home, name="tiny", more=12, runner=forks)
    made.learn(home.parent)
    (home / RUNS / "tiny" / "report.html").write_bytes(b"<html>\n</html>\n")
    return made


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a case is small as it is
    suppress_health_check=[HealthCheck.too_slow],
    report_multiple_bugs=False,
)
@given(data=st.data())
def test_readers_refuse_damage_that_changes_a_figure(
    damaged: DamageTest, data: st.DataObject
) -> None:
    groups = damaged.file_groups()
    file = data.draw(st.sampled_from(sorted(groups)).flatmap(lambda g: st.sampled_from(groups[g])))
    kind = data.draw(st.sampled_from(KINDS))
    seed = data.draw(st.integers(0, 2**32 - 1))
    exported = data.draw(st.integers(0, EXPORTED - 1)) == EXPORTED - 1
    what, _, faults = damaged.check(damaged.home.parent, file, kind, seed, exported=exported)
    shown = json.dumps([fault.to_json() for fault in faults], indent=1)
    assert not faults, f"{file}: {what}, seed {seed}: {shown}"


def test_separate_interpreter_gives_same_answers(damaged: DamageTest, tmp_path: Path) -> None:
    """A forked command ends as one that a user starts: with the same exit code and message."""
    chosen = random.Random(0)
    for file, kind, seed in [
        ("journal.log", "flip a bit", 1),
        *(next(damaged.cases(chosen)) for _ in range(SUBPROCESSES - 1)),
    ]:
        work = damaged.copy(tmp_path)
        damage(work / damaged.run / file, kind, random.Random(seed))
        for name in ("best", "status"):
            argv = damaged.reading_commands()[name]
            forked = damaged.runner(argv, work, timeout=TIMEOUT)
            started = run_command(argv, work, TIMEOUT)
            assert (forked.code, forked.out) == (started.code, started.out), (file, kind, seed)
            assert forked.err.splitlines()[-1:] == started.err.splitlines()[-1:]


def test_undamaged_run_passes(damaged: DamageTest) -> None:
    """Otherwise damage would be reported where there is none."""
    work = damaged.copy(damaged.home.parent)
    report = work / damaged.run / "report.html"
    what, ends, faults = damaged.check(
        damaged.home.parent, report.name, "flip a bit", 0, exported=True
    )
    assert what and not [fault.to_json() for fault in faults]
    assert {name: e.code for name, e in ends.items() if e.code} == {"best of nothing": 1}
