"""`tasearch confirm` in processes of its own, and `tasearch run` that ends with it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import tasearch
from tasearch.cli.confirm_command import look_lines
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.config.study_file import render
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan, Verdict
from tests.helpers.processes import TASEARCH, call, wait_for
from tests.helpers.studies import tiny

STUDY = {
    "budget": {"max_params": 470},  # the width 6 of a student
    "student": {"widths": [6, 4], "loss": ["kd", "ce"], "epochs": 2},
    "search": {"trials": 10, "pruner": "none"},
}


@pytest.fixture
def run(rerun, tmp_path: Path) -> tasearch.Run:  # type: ignore[no-untyped-def]
    """A finished run that may be written to."""
    found: tasearch.Run = rerun(tiny(**STUDY), "runs")
    return found


def test_budget_and_front_exclude_each_other(finished: tasearch.Run) -> None:
    text = call("confirm", finished.path, "--front", "--max-params", 9, code=2)
    assert text == "error: --front: goes without a budget\n"


def test_look_has_a_line_for_each_width_that_it_trained() -> None:
    def compared(question: str, width: int, seeds: int, difference: float | None) -> Comparison:
        arm = Arm(chain=(16, width), recipe={}, accuracies=(0.5,) * seeds)
        verdict = Verdict(difference=difference)
        return Comparison(question=question, first=arm, second=arm, verdict=verdict)  # type: ignore[arg-type]

    own = (
        compared("assistants", 12, 18, -0.001),
        compared("distillation", 12, 18, 0.004),
        compared("assistants", 6, 8, 0.5),
        compared("distillation", 4, 18, 0.0),
        compared("distillation", 2, 18, None),
    )
    assert [*look_lines(Confirmation(plan=LookPlan(), comparisons=own))] == [
        "look 2 of 2, 18 seeds: width 12: assistants -0.1 points, distillation +0.4 points",
        "look 2 of 2, 18 seeds: width 4: distillation 0.0 points",
        "look 2 of 2, 18 seeds: width 2: distillation no pair trained",
    ]


@pytest.mark.slow
def test_confirm_prints_its_looks_and_what_to_ship(run: tasearch.Run) -> None:
    before = call("best", run.path)
    text = call("confirm", run.path, "--workers", 1)
    (found,) = tasearch.Run.open(run.path).confirmations
    width = found.comparisons[0].width
    looks = re.findall(
        rf"^look (\d) of 2, (8|18) seeds: width {width}: assist.* points$", text, re.M
    )
    assert [int(look) for look, _ in looks] == [*range(1, len(looks) + 1)] != []
    assert f"student of width {width}\n" in text
    assert text.count("  ship ") == 1
    again = call("confirm", run.path)
    assert "  train " not in again
    assert again == text[text.index("\nstudent of width") :]
    after = call("best", run.path)
    assert "not confirmed" in before or "confirmed" not in before
    assert "fresh seeds" in after
    shown = json.loads(call("best", run.path, "--json"))
    assert shown["confirmed"]["seeds"] in found.plan.pairs
    assert {*shown["confirmed"]["verdicts"]} == {c.question for c in found.of_width(width)}
    told = json.loads(call("confirm", run.path, "--json"))
    assert told["finished"] and told["ship"].keys() == {str(width)}
    assert [c["question"] for c in told["comparisons"]] == [c.question for c in found.comparisons]


@pytest.mark.slow
def test_stopped_confirmation_goes_on_with_the_same_command(run: tasearch.Run) -> None:
    whole = call("confirm", run.path, "--workers", 1)
    shutil.rmtree(run.path / "confirm")
    command = [*TASEARCH, "confirm", str(run.path), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    hops = run.path / "confirm" / "hops"
    wait_for(lambda: hops.exists() and any(hops.glob("*.safetensors")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, out + err
    assert "Stopped; nothing finished is lost. This continues:\n  tasearch confirm " in out
    again = call("confirm", run.path, "--workers", 1)
    assert again[again.index("\nstudent") :] == whole[whole.index("\nstudent") :]


@pytest.mark.slow
def test_run_ends_with_a_confirmation_if_the_study_asks_for_it(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(render(tiny(**STUDY, confirm={"after_run": True, "margin": 50.0})))
    options = ("--runs-dir", tmp_path / "runs", "--latency-from", finished.path)
    text = call("run", file, *options)
    assert text.index("finished: ") < text.index("confirming on fresh seeds")
    assert text.index("  ship ") < text.index("Export it:")
    (found,) = tasearch.Run.open(tmp_path / "runs/tiny").confirmations
    assert found.plan.margin == 0.5
    assert {c.verdict.answer for c in found.comparisons} <= {"helps", "hurts", "no difference"}
