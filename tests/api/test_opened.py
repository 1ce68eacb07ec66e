"""A run as Python and notebooks have it."""

from __future__ import annotations

import copy
import shutil
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest
import torch

import tasearch
from tasearch.errors import ExportError, NothingFits, RunError
from tasearch.report.plots import PLOTS
from tests.helpers.processes import call
from tests.helpers.runs import optunas_study
from tests.helpers.studies import tiny


def test_run_tells_its_state_its_front_and_its_best(finished: tasearch.Run) -> None:
    best, trials = finished.best(), len(finished.trials) - sum(t.free for t in finished.trials)
    words = f"<Run 'tiny': finished, {trials} trials, {len(finished.front)} in the front, "
    assert repr(finished) == f"{words}best {best.brief}>"
    page = finished._repr_html_()
    assert page.endswith(finished.front._repr_html_())
    assert "<script" not in page and "<Run" not in page


def test_damaged_run_can_still_be_shown(finished: tasearch.Run, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "tiny")
    (tmp_path / "tiny/run.json").write_bytes(b"{}")
    run = tasearch.Run.open(tmp_path / "tiny")
    assert repr(run) == f"<Run {str(tmp_path / 'tiny')!r}: cannot be read>"


def test_best_is_the_candidate_with_its_model(finished: tasearch.Run) -> None:
    best = finished.best(max_params=900)
    known = next(c for c in finished.front.candidates if c.trial == best.trial)
    assert best == known and known == best and asdict(best) == asdict(known)
    assert finished.best(trial=finished.front.members[0].trial) != best
    assert repr(best) == (f"<Student {best.brief}, {best.latency_ms:.4g} ms, trial {best.trial}>")
    assert f"<td>{best.params:,}</td>" in best._repr_html_()


def test_model_of_best_answers_as_the_exported_one(finished: tasearch.Run, tmp_path: Path) -> None:
    run = tasearch.Run.open(finished.path, trust=True)
    best = run.best(max_params=900)
    assert run.export(tmp_path / "winner", max_params=900) == best
    samples = 16 * torch.rand(5, 1, 8, 8)
    assert not best.model.training
    torch.testing.assert_close(
        best.model(samples), tasearch.load(tmp_path / "winner")(samples), rtol=0, atol=0
    )


def test_copied_study_has_all_trials_and_no_way_back(finished: tasearch.Run) -> None:
    before = finished.directory.journal.read_bytes()
    study = finished.study
    theirs = optunas_study(finished)
    assert [(t.state, t.params, t.values) for t in study.trials] == [
        (t.state, t.params, t.values) for t in theirs.trials
    ]
    assert study.directions == theirs.directions and study.user_attrs == theirs.user_attrs
    study.add_trial(optuna.trial.create_trial(values=[0.5, 1.0, 1.0]))
    assert finished.directory.journal.read_bytes() == before


def test_plots_are_those_of_the_report(finished: tasearch.Run) -> None:
    assert finished.plot().layout.xaxis.title.text == "parameters"
    assert finished.plot(x="latency_ms").layout.xaxis.title.text == "latency of a batch, ms"
    assert finished.plot("curves", dark=True).layout.paper_bgcolor != (
        finished.plot("curves").layout.paper_bgcolor
    )
    with pytest.raises(RunError) as error:
        finished.plot("fronts")
    assert str(error.value) == f"name: should be {_listed()}, found 'fronts'"
    with pytest.raises(RunError, match=r"^x: should be params, bytes or latency_ms, found 'size'"):
        finished.plot(x="size")  # type: ignore[arg-type]


def test_report_is_the_page_of_the_command_line(finished: tasearch.Run, tmp_path: Path) -> None:
    page = finished.report(tmp_path / "page.html")
    assert page == tmp_path / "page.html"
    call("report", finished.path, "--out", tmp_path / "other.html")
    assert len(page.read_text()) == len((tmp_path / "other.html").read_text())
    with pytest.raises(RunError, match="should end in"):
        finished.report(tmp_path / "page.txt")


def _listed() -> str:
    return " or ".join(", ".join(PLOTS).rsplit(", ", 1))


def test_plot_without_content_says_what_it_needs(finished: tasearch.Run) -> None:
    empty = copy.copy(finished).refresh()
    empty.trials = []
    with pytest.raises(NothingFits) as error:
        empty.plot("cost")
    assert str(error.value) == (
        f"{finished.path}: has nothing to show as 'cost' yet; it needs a trial that has ended"
    )


def test_refresh_reads_again(finished: tasearch.Run) -> None:
    run = tasearch.Run.open(finished.path, trust=True)
    run.trials = []
    assert not run.front.members
    assert run.refresh() is run and run.trusted
    assert run.front.members == finished.front.members


def test_model_of_user_code_asks_for_trust(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from tasearch.models.mlp import build\n")
    study = tiny(model={"family": "own:build"}, search={"trials": 1}, student={"widths": [2]})
    study = study.model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path)
    assert run.best().model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(ExportError) as error:
        tasearch.Run.open(run.path).best().model  # noqa: B018
    assert str(error.value) == (
        f"{run.path}: rebuilding its student runs user code: model.family = 'own:build' is "
        f"{tmp_path / 'own.py'}; read it, and pass trust=True (--trust) if you trust it"
    )
    assert tasearch.Run.open(run.path, trust=True).best().model is not None
