"""`tasearch check`: what a run would do, without training and without writing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tasearch.config.study_file import load_study, render
from tests.helpers.commands import command
from tests.helpers.studies import tiny

pytestmark = pytest.mark.slow  # each prepares a study


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(render(tiny(budget={"max_params": 3_500})))
    return file


def checked(capsys: pytest.CaptureFixture[str], file: Path, *options: str) -> tuple[int, str, str]:
    return command(capsys, "check", file, "--runs-dir", file.parent / "runs", *options)


def test_page_of_a_study(capsys: pytest.CaptureFixture[str], study_file: Path) -> None:
    code, out, _ = checked(capsys, study_file, "--workers", "1")
    study = load_study(study_file)
    assert code == 0
    assert "teacher mlp 16" in out
    for width in study.widths:
        assert f"\n{width:>5}  " in out
    for line in (
        "data ",
        "budget     max_params = 3,500",
        "chains ",
        "rules ",
        "time       teacher",
    ):
        assert f"\n{line}" in out
    assert f"tasearch run {study_file}" in out
    told = [line for line in out.splitlines() if not line.startswith("notice: ")]
    assert max(map(len, told[:-1])) < 140
    assert [*study_file.parent.iterdir()] == [study_file], "something was written"


def test_search_without_any_assistant_is_told(
    capsys: pytest.CaptureFixture[str], study_file: Path
) -> None:
    _, out, _ = checked(capsys, study_file, "--workers", "1", "--trials", "1")
    assert "notice: hardly an assistant will be tried" in out
    _, out, _ = checked(capsys, study_file, "--workers", "1")
    assert "assistant will be tried" not in out


def test_small_validation_part_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arrays = {
        "x_train": np.random.default_rng(0).normal(size=(40, 3)),
        "y_train": np.arange(40) % 3,
    }
    np.savez(tmp_path / "d.npz", **arrays)
    study = tiny(data={"source": "npz", "path": "d.npz", "validation": 0.2})
    (tmp_path / "few.toml").write_text(render(study))
    code, out, _ = checked(capsys, tmp_path / "few.toml", "--workers", "1")
    assert code == 0
    assert "notice: the validation part has 8 samples, and one is 12% of the accuracy" in out


def test_numbers_for_programs(capsys: pytest.CaptureFixture[str], study_file: Path) -> None:
    code, out, _ = checked(capsys, study_file, "--json", "--trials", "3", "--workers", "1")
    found = json.loads(out)
    assert code == 0
    assert found["trials"] == 3
    assert found["chains"] >= 3
    widths = {width["width"]: width for width in found["widths"]}
    assert widths[16]["roles"] == ["teacher"]
    assert all(width["epoch_s"] > 0 for width in widths.values())
    low, high = found["trials_s_on_one_worker"]
    assert 0 < low <= high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"source": "npz", "path": "none.npz"}}, "none.npz: no such data file"),
        ({"budget": {"max_params": 1}}, "no student"),
    ],
)
def test_what_a_run_refuses_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(render(tiny(**change)))
    code, out, err = checked(capsys, file, "--workers", "1")
    assert code == 2
    assert message in err
    assert "Nothing was trained" not in out
    assert [*tmp_path.iterdir()] == [file]
