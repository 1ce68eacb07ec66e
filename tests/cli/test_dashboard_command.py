"""`tasearch dashboard`: optuna-dashboard on a copy of the run's study."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest

import tasearch
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.runs.journal_copy import copied_storage
from tasearch.runs.seals import LINE_KEYS
from tests.helpers.commands import command
from tests.helpers.processes import TASEARCH
from tests.helpers.runs import only_prepared, optunas_study

SECONDS = 60


def files(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_copy_has_the_same_trials_and_no_seals(finished: tasearch.Run, tmp_path: Path) -> None:
    before = files(finished.path)
    study = optuna.load_study(study_name="tiny", storage=copied_storage(finished, tmp_path))
    assert study.get_trials() == optunas_study(finished).get_trials()
    study.set_user_attr("note", "mine")
    (copy,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in copy.read_text().splitlines()]
    assert len(lines) == len((finished.path / copy.name).read_text().splitlines()) + 1
    assert not {key for line in lines for key in line} & {*LINE_KEYS}
    assert files(finished.path) == before


def test_run_without_a_trial_is_refused(
    finished: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna_dashboard")
    run = only_prepared(finished, tmp_path)
    before = files(run)
    code, _, said = command(capsys, "dashboard", run, "--port", 0)
    assert (code, said) == (1, f"error: {run}: has no trial yet; run it further\n")
    assert files(run) == before


def test_port_that_is_used_is_refused(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna_dashboard")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, said = command(capsys, "dashboard", finished.path, "--port", port)
    assert (code, said) == (
        2,
        f"error: --port: {port} cannot be used: Address already in use; choose another one\n",
    )


def test_missing_dashboard_is_told_in_words(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, said = command(capsys, "dashboard", finished.path)
    assert code == 2
    assert said == (
        "error: optuna-dashboard is not installed: pip install 'tasearch[dashboard]' installs it\n"
    )


def asked(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_dashboard_and_removes_the_copy(
    finished: tasearch.Run, tmp_path: Path, number: signal.Signals
) -> None:
    pytest.importorskip("optuna_dashboard")
    before = files(finished.path)
    process = subprocess.Popen(
        [*TASEARCH, "dashboard", str(finished.path), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        assert ready, "no address within a minute"
        found = re.match(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found is not None, process.communicate(timeout=SECONDS)
        (study,) = asked(f"{found[0]}api/studies")["study_summaries"]
        assert study["study_name"] == "tiny"
        trials = asked(f"{found[0]}api/studies/{study['study_id']}?after=0")["trials"]
        assert [trial["number"] for trial in trials] == [t.number for t in finished.trials]
        assert any(tmp_path.iterdir())
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert (process.returncode, said) == (INTERRUPTED, "")
    assert not any(tmp_path.iterdir())
    assert files(finished.path) == before
