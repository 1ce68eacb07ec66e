"""Killed at any instant, the same command continues and ends in the same study."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.config.study_file import render
from tasearch.runs import store
from tasearch.runs.sealed_journal import SealedJournal
from tests.helpers.runs import contents, facts, once_each
from tests.helpers.studies import tiny

KILLS = 3  # `benchmarks.kills` makes a hundred
SEED = 0  # of the chosen writes and instants


class Killed(BaseException):
    """Stands for the end of the process: no handler in tasearch catches it."""


class Writes:
    """Counts every durable write, and dies before the one with a given number.

    Before a write to the journal it leaves an unfinished line.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.fatal = 0, -1
        replace, append, drop = os.replace, SealedJournal.append_logs, store.Store.drop
        writes = self

        def replacing(source: Any, target: Any) -> None:
            writes.tick()
            replace(source, target)

        def appending(self: SealedJournal, logs: list[dict[str, Any]]) -> None:
            if writes.count + 1 == writes.fatal:
                with self.path.open("ab") as journal:
                    journal.write(b'{"op_code":')  # an unfinished line
            writes.tick()
            append(self, logs)

        def dropping(self: store.Store, kind: str, key: str) -> None:
            writes.tick()
            drop(self, kind, key)

        monkeypatch.setattr(store.os, "replace", replacing)
        monkeypatch.setattr(store.Store, "drop", dropping)
        monkeypatch.setattr(SealedJournal, "append_logs", appending)

    def tick(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            raise Killed


@pytest.mark.parametrize(
    ("replicates", "trials", "kills"),
    [
        (1, 4, 2),
        pytest.param(1, 8, 6, marks=pytest.mark.slow),
        pytest.param(2, 8, 6, marks=pytest.mark.slow),
    ],
)
def test_death_at_any_write_changes_nothing(
    finished: tasearch.Run,
    rerun: Any,
    monkeypatch: pytest.MonkeyPatch,
    replicates: int,
    trials: int,
    kills: int,
) -> None:
    writes = Writes(monkeypatch)
    modes = {str(width): "fp32" for width in finished.manifest.study.widths}
    study = tiny(search={"trials": trials, "replicates": replicates}, training={"modes": modes})
    straight = rerun(study, "straight")
    expected, files, total = facts(straight), contents(straight), writes.count
    assert any(t.free for t in straight.trials)
    assert total > 50
    for number in sorted(random.Random(SEED).sample(range(1, total + 1), kills)):
        folder = f"killed-{number}"
        writes.count, writes.fatal = 0, number
        with pytest.raises(Killed):
            rerun(study, folder)
        writes.fatal = -1
        run = rerun(study, folder)
        assert facts(run) == expected, number
        assert contents(run) == files, number
        assert once_each(run), number


@pytest.mark.slow
def test_search_ends_though_it_dies_again_and_again(
    finished: tasearch.Run, rerun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the same run many times, each time a little later."""
    study = tiny(search={"trials": 6})
    straight = rerun(study, "straight")
    assert any(t.free for t in straight.trials)
    writes = Writes(monkeypatch)
    for deaths in range(200):  # noqa: B007
        writes.count, writes.fatal = 0, 23
        try:
            run = rerun(study, "mortal")
            break
        except Killed:
            continue
    assert deaths > 3
    assert facts(run) == facts(straight)
    assert contents(run) == contents(straight)
    assert once_each(run)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_sigkill_at_random_instants_changes_nothing(
    finished: tasearch.Run, rerun: Any, tmp_path: Path
) -> None:
    study = tiny(
        name="victim",
        model={"family": "cnn"},
        teacher={"epochs": 20},
        assistants={"epochs": 20},
        student={"epochs": 20},
        search={"trials": 12, "rungs": 5},
    )
    measured = tasearch.run(study, runs_dir=tmp_path / "straight")
    file = tmp_path / "victim.toml"
    file.write_text(render(study))
    command = [sys.executable, "-m", "tasearch", "run", str(file)]
    command += ["--runs-dir", str(tmp_path / "killed"), "--latency-from", str(measured.path)]
    run_dir = tmp_path / "killed" / "victim"
    rng, kills = random.Random(SEED), 0
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        before = size(run_dir / "events.jsonl")
        while process.poll() is None and size(run_dir / "events.jsonl") == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.8))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2, "the run ended too early to be killed"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run = tasearch.Run.open(run_dir)
    assert facts(run) == facts(measured)
    assert contents(run) == contents(measured)
    assert once_each(run)


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
