"""The last lines of `tasearch run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tasearch
from tasearch.cli.summary import check_any_finished, print_summary
from tasearch.errors import TrainingError
from tasearch.report.answer import export_command
from tasearch.report.text import duration
from tasearch.runs.run import Run


def test_summary_tells_the_answer_in_three_lines_and_one_command(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(finished, Path("runs/tiny"))
    text = capsys.readouterr().out
    best = finished.best()
    lines = text.splitlines()
    told = [line for line in lines if line.startswith("notice") and "(recall 0)" in line]
    assert len(told) == (0 in finished.trials[best.trial].recalls)
    _, ship, verdict, cost, _, title, command, others = (line for line in lines if line not in told)
    assert ship.startswith(f"ship       {best.label}: {best.accuracy:.1%} (95 % interval ")
    teacher = finished.manifest.measured[16].params
    assert f"{teacher / best.params:.3g} times smaller than the teacher" in ship
    assert verdict.startswith("verdict    ") and "distillation" not in verdict
    wall = duration(finished.directory.history().seconds)
    assert cost.startswith(f"cost       10 trials in {wall} of wall time, ")
    assert (title, command) == ("Export it:", "  tasearch export runs/tiny --out winner")
    assert others == "Other commands for this run: best, confirm, report, status"


def test_command_names_the_trust_that_user_code_needs(finished: tasearch.Run) -> None:
    run, study = tasearch.Run(finished.directory), finished.manifest.study
    plain = "tasearch export 'a b' --out winner"
    assert export_command(run, path=Path("a b")) == plain
    assert export_command(run, trial=3) == f"tasearch export {run.path} --trial 3 --out winner"
    model = study.model.model_copy(update={"family": "mine:build"})
    own = study.model_copy(update={"model": model})
    run.manifest = replace(finished.manifest, study=own)
    assert export_command(run, path=Path("a b")) == f"{plain} --trust"


def test_free_students_alone_do_not_count_as_finished(finished: tasearch.Run) -> None:
    run = Run(finished.directory)
    check_any_finished(run)
    run.trials = [
        t if t.free else replace(t, state="failed", reason="hop 16 → 2: out of memory")
        for t in finished.trials
    ]
    assert any(t.state == "complete" for t in run.trials)
    with pytest.raises(TrainingError, match="the last reason: hop 16 → 2: out of memory"):
        check_any_finished(run)
