"""A study whose models learn from hidden layers: its price, results, page and export."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import tasearch
from tasearch.config.run_options import RunOptions
from tasearch.config.study_file import load_study
from tasearch.search.prepare import prepare
from tests.helpers.runs import contents, facts
from tests.helpers.texts import text_study


@pytest.mark.slow
def test_search_on_hidden_layers(tmp_path: Path) -> None:
    study = text_study(
        tmp_path,
        teacher={"width": "l", "epochs": 3, "learning_rate": 0.01},
        assistants={"widths": ["m"], "max": 1, "epochs": 2, "hidden": "states"},
        student={"widths": ["s"], "epochs": 2, "hidden": ["none", "states+relations"]},
        search={"trials": 4, "rungs": 2, "pruner": "none"},
    )
    with closing(prepare(study, RunOptions(runs_dir=tmp_path / "runs"))) as prepared:
        notices, measured = prepared.notices, prepared.manifest.measured
    (price,) = (n for n in notices if n.startswith('student.hidden = "states+relations": '))
    teacher, student = (measured[w].flops for w in (study.teacher.width, study.student.widths[0]))
    assert "2 times over the training set and not once for all" in price
    assert f"{1 + teacher / (3 * student):.3g} (size s)" in price
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {t.state for t in run.trials} == {"complete"}
    used = [t for t in run.trials if (t.recipe or {})["student"].get("hidden")]
    assert used
    two = tasearch.run(study, runs_dir=tmp_path / "two", workers=2, latency_from=run.path)
    assert facts(two) == facts(run)
    assert contents(two) == contents(run)
    page = run.report(tmp_path / "page.html").read_text()
    assert "hidden states and relations" in page
    tasearch.export(run, tmp_path / "winner", trial=used[0].number)
    again = load_study(tmp_path / "winner" / "chain.toml").student
    assert (again.hidden, again.hidden_weight) == (("states+relations",), (1.0,))
    assert (
        "hidden states and relations of the model before"
        in (tmp_path / "winner" / "README.md").read_text()
    )


@pytest.mark.slow
def test_confirmation_of_models_that_learn_from_hidden_layers(tmp_path: Path) -> None:
    """Their teacher is loaded then, and has the same layers."""
    own = {"epochs": 1, "hidden": "states", "hidden_weight": 0.5}
    study = text_study(
        tmp_path,
        teacher={"width": "l", "epochs": 1, "learning_rate": 0.01},
        assistants={"widths": ["m"], "min": 1, "max": 1, **own},
        student={"widths": ["s"], **own},
        latency={"backend": "torch"},
        search={"trials": 1, "rungs": 1},
        confirm={"margin": 100.0},  # so that the second look settles it
    )
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    found = tasearch.confirm(run)
    assert found.finished
    (comparison,) = found.comparisons
    arms = [comparison.first, comparison.second]
    assert [arm.recipe["student"]["hidden"] for arm in arms] == ["states", "states"]
    records = [p.name for p in (run.path / "confirm" / "hops").glob("*.safetensors")]
    assert len(records) > 3
