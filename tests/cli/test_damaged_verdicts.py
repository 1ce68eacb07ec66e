"""Commands that read a run whose file of verdicts is damaged."""

from __future__ import annotations

import json
import shutil
from html import unescape
from pathlib import Path

import pytest

import tasearch
from tasearch.runs.verdict_file import FILE, REMEDY
from tests.helpers.commands import command


@pytest.fixture
def damaged(finished: tasearch.Run, tmp_path: Path) -> Path:
    """The finished run, with verdicts that cannot be read."""
    path = Path(shutil.copytree(finished.path, tmp_path / "tiny"))
    (path / FILE).parent.mkdir()
    (path / FILE).write_text("{")
    return path


def notice(text: str, run: Path) -> bool:
    """Whether some text names the damaged file and what to do."""
    return f"{run / FILE}: is no JSON: " in text and f"; {REMEDY}; until then" in text


def test_best_goes_on_without_damaged_verdicts(
    damaged: Path, finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(capsys, "best", damaged)
    assert (code, err) == (0, "")
    assert out.startswith(f"chain      {finished.best().label}")
    assert notice(out, damaged)
    code, out, err = command(capsys, "best", damaged, "--json")
    assert code == 0
    assert json.loads(out)["trial"] == finished.best().trial
    assert err.startswith("notice: ")
    assert notice(err, damaged)


def test_status_goes_on_without_damaged_verdicts(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(capsys, "status", damaged)
    assert code == 0
    *_, last = out.splitlines()
    assert last.startswith("damage     ")
    assert notice(last, damaged)


def test_report_goes_on_without_damaged_verdicts(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(capsys, "report", damaged)[0] == 0
    assert notice(unescape((damaged / "report.html").read_text()), damaged)


def test_export_refuses_damaged_verdicts(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verdict may ship another student than the search."""
    code, _, err = command(capsys, "export", damaged, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith(f"error: {damaged / FILE}: is no JSON: ")
    assert REMEDY in err
    assert not (tmp_path / "out").exists()
