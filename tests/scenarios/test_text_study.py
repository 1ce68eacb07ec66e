"""The example study of texts, as its tutorial tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasearch
from tests.helpers.example_studies import STUDIES, example_study

pytestmark = pytest.mark.slow

TUTORIAL = (STUDIES.parent / "docs" / "tutorials" / "text.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder with its texts and an export of its run."""
    folder = example_study("text", "make_messages.py", tmp_path_factory)
    run = tasearch.run(folder / "study.toml", runs_dir=folder / "runs", trials=4)
    tasearch.export(run, folder / "winner")
    return folder


def test_students_learn_what_messages_are_about(folder: Path) -> None:
    assert tasearch.Run.open(folder / "runs" / "text").best().accuracy > 0.6


def test_code_of_the_tutorial_names_the_classes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
    exec(code, {})
    assert "'delivery', 'account'" in capsys.readouterr().out
