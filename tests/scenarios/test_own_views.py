"""A search with an augmentation of the user's: its price is told, and its views are drawn once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import tasearch
from tasearch.config.cache_folder import cache_folder
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.errors import RunError, StudyError
from tasearch.search.prepare import prepare
from tests.helpers.runs import contents, facts
from tests.helpers.training import image_study

MINE = """
import torch

def dimmed(x):
    return (x * torch.rand(())).to(x.dtype)
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(MINE)
    return image_study(tmp_path, "mine:dimmed", training={"views": 3}, search={"trials": 4})


@pytest.mark.slow
def test_price_is_told_before_views_are_drawn(study: Study, tmp_path: Path) -> None:
    options = RunOptions(runs_dir=tmp_path / "runs")
    with closing(prepare(study, options)) as prepared:
        (notice,) = (n for n in prepared.notices if "views" in n)
    assert "3 views of 216 samples are drawn once, before the first training" in notice
    assert not cache_folder().exists()
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    (entry,) = cache_folder().iterdir()
    before = (entry / "views.npy").stat()
    with closing(prepare(study, options)) as prepared:
        assert not any("views" in notice for notice in prepared.notices)
    lent = {"latency_from": run.path}
    two = tasearch.run(study, runs_dir=tmp_path / "two", workers=2, **lent)
    assert facts(two) == facts(run)
    assert contents(two) == contents(run)
    assert (entry / "views.npy").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.slow
def test_augmentation_is_part_of_the_run(study: Study, tmp_path: Path) -> None:
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    tasearch.export(run, tmp_path / "winner")
    again = load_study(tmp_path / "winner" / "chain.toml")
    assert again.training.views == 3
    assert again.expects.augment == run.manifest.inputs["digest of augment"]
    (tmp_path / "mine.py").write_text(MINE.replace("rand(())", "rand(1)"))
    with pytest.raises(RunError, match="different study: the code of the augmentation has changed"):
        tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    with pytest.raises(
        StudyError, match=r"expects\.augment: the code of the augmentation has changed since"
    ):
        tasearch.run(again, runs_dir=tmp_path / "runs")


@pytest.mark.slow
def test_function_that_fails_late_leaves_no_run(study: Study, tmp_path: Path) -> None:
    late = MINE.replace("return", "if torch.rand(()) < 0.01:\n        raise KeyError\n    return")
    (tmp_path / "mine.py").write_text(late)
    with pytest.raises(StudyError, match=r"'mine:dimmed' of sample [0-9]+ raised KeyError"):
        tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    assert not [*(tmp_path / "runs").rglob("run.json")]
