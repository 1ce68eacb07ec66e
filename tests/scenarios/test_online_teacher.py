"""A search with an online teacher and views that are drawn anew: its price, and its results."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import tasearch
from tasearch.config.cache_folder import cache_folder
from tasearch.config.run_options import RunOptions
from tasearch.config.study_file import load_study
from tasearch.search.prepare import prepare
from tests.helpers.runs import contents, facts
from tests.helpers.training import image_study

MINE = """
import torch

def dimmed(x):
    return (x * torch.rand(())).to(x.dtype)
"""


@pytest.mark.slow
def test_search_with_an_online_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(MINE)
    training = {"teacher": "online", "mixup": 0.2}
    study = image_study(tmp_path, "mine:dimmed", training=training, search={"trials": 4})
    with closing(prepare(study, RunOptions(runs_dir=tmp_path / "runs"))) as prepared:
        notices, measured = prepared.notices, prepared.manifest.measured
    (views,) = (n for n in notices if n.startswith("training.augment is called anew for each"))
    assert "s in an epoch of each replicate of a model" in views
    (teacher,) = (n for n in notices if n.startswith('training.teacher = "online": '))
    times = 1 + measured[study.teacher.width].flops / (3 * measured[study.student.widths[0]].flops)
    assert f"{study.student.epochs} times over the training set and not once" in teacher
    assert f"{times:.3g} (width {study.student.widths[0]})" in teacher
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert [t.state for t in run.trials if not t.free].count("complete") >= 1
    two = tasearch.run(study, runs_dir=tmp_path / "two", workers=2, latency_from=run.path)
    assert facts(two) == facts(run)
    assert contents(two) == contents(run)
    assert not any(name.startswith("targets") for name in contents(run))
    assert not cache_folder().exists()
    tasearch.export(run, tmp_path / "winner")
    again = load_study(tmp_path / "winner" / "chain.toml").training
    assert (again.teacher, again.mixup, again.views) == ("online", 0.2, None)
