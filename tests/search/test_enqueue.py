"""Chains that a person names by `tasearch.enqueue` or `tasearch enqueue`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch import RunError, StudyError
from tasearch.runs.events import TrialDone
from tests.helpers.commands import command
from tests.helpers.runs import events_of, optunas_study
from tests.helpers.studies import BASELINES, SMALL, tiny


def test_enqueue_names_a_chain_by_its_widths(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES)
    first = tasearch.enqueue(run, "16-12-8-4", student={"temperature": 4.0})
    assert (first.number, first.label) == (BASELINES, "16 → 12 → 8 → 4")
    assert first.recipe == "student_temperature 4.0"
    for chain in ("12→8→2", (8, 4), [16, 6, 2]):
        assert tasearch.enqueue(run.path, chain).number > first.number
    run = rerun(study, trials=BASELINES + 4)
    found = [t.chain for t in run.trials[BASELINES : BASELINES + 4]]
    assert found == [(16, 12, 8, 4), (16, 12, 8, 2), (16, 8, 4), (16, 6, 2)]
    assert run.trials[BASELINES].recipe["student"]["temperature"] == 4.0


WRONG = 'chain: should be widths joined by "-", such as 16-8-4, found '


@pytest.mark.parametrize(
    ("chain", "fields", "message"),
    [
        ("", {}, WRONG + '""'),
        ("a-b", {}, WRONG + '"a-b"'),
        ("16--4", {}, WRONG + '"16--4"'),
        ("-4", {}, WRONG + '"-4"'),
        ("4.0", {}, WRONG + '"4.0"'),
        ("9" * 5000, {}, WRONG + '"' + "9" * 76 + "..."),
        ([True], {}, WRONG + "[true]"),
        ("16", {}, "chain: should end in a student, one of 6, 4, 2"),
        ("4-8", {}, "chain: widths should fall strictly, found 4 → 8"),
        ("16-12-8-6-2", {}, "chain: should have 0 to 2 assistants, found 3"),
        ("16-8-5", {}, "chain: the student should be one of 6, 4, 2, found 5"),
        ("16-9-4", {}, "chain: an assistant should be one of 12, 8, 6, found 9"),
        (
            "16-8-4",
            {"student": {"temperature": 3.0}},
            "student.temperature: should be one of 2.0, 4.0, found 3.0",
        ),
        (
            "16-8-4",
            {"student": {"alpha": 0.5}},
            "student.alpha: is not searched and always 0.9, found 0.5",
        ),
        (
            "16-8-4",
            {"assistants": {"heat": 1}},
            "assistants.heat: should be one of loss, temperature, alpha, guidance, "
            "learning_rate, teacher_epoch, start, hidden, hidden_weight",
        ),
        (
            "16-4",
            {"assistants": {"temperature": 4.0}},
            'assistants: the chain has none, found {"temperature": 4.0}',
        ),
    ],
)
def test_enqueue_refuses_a_chain_outside_the_study(
    finished_small: tasearch.Run, chain: Any, fields: dict[str, Any], message: str
) -> None:
    before = (finished_small.path / "journal.log").read_bytes()
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(finished_small, chain, **fields)
    assert str(error.value) == message
    assert (finished_small.path / "journal.log").read_bytes() == before


@pytest.fixture(scope="module")
def finished_small(
    finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory
) -> tasearch.Run:
    folder = tmp_path_factory.mktemp("small")
    return tasearch.run(tiny(**SMALL), runs_dir=folder, latency_from=finished.path, trials=3)


def test_enqueue_refuses_a_student_over_the_budget(rerun: Any, finished: tasearch.Run) -> None:
    limit = finished.manifest.measured[4].params
    run = rerun(tiny(**SMALL, budget={"max_params": limit}), trials=1)
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(run, "16-6")
    assert str(error.value) == (
        "chain: the student should be one of 4, 2, found 6, which is over the budget"
    )


def test_enqueue_refuses_assistants_without_effect(rerun: Any) -> None:
    keys = {**SMALL, "student": {**SMALL["student"], "loss": ["kd", "ce"]}}
    run = rerun(tiny(**keys), trials=1)
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(run, "16-8-4", student={"loss": "ce"})
    assert str(error.value) == (
        "chain: with these losses 8 → 4 depends on fewer assistants; "
        "name those that its student learns from"
    )
    with pytest.raises(StudyError) as error:
        tasearch.enqueue(run, "4", student={"loss": "ce", "temperature": 4.0})
    assert str(error.value) == "student.temperature: means nothing to this chain, found 4.0"
    assert tasearch.enqueue(run, "4", student={"loss": "ce"}).label == "4 (no teacher)"


def test_enqueue_refuses_a_chain_tried_or_queued(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=3)
    with pytest.raises(RunError) as error:
        tasearch.enqueue(run, "4")
    assert str(error.value) == f"{run.path}: this chain was tried already as trial 1 (complete)"
    queued = tasearch.enqueue(run, "12-4")
    with pytest.raises(RunError) as error:
        tasearch.enqueue(run, "16-12-4")
    assert str(error.value) == (
        f"{run.path}: this chain is queued already as trial {queued.number}"
    )


def test_enqueue_refuses_a_failed_chain(rerun: Any) -> None:
    study = tiny(student={"learning_rate": 1e30, "epochs": 1}, teacher={"epochs": 1})
    run = rerun(study, trials=1)
    with pytest.raises(RunError) as error:
        tasearch.enqueue(run, "2")
    assert str(error.value) == (
        f"{run.path}: this chain was tried already as trial 0 (failed); "
        f"a run with --retry-failed (in Python retry_failed) tries it again"
    )
    optunas_study(run).enqueue_trial({"student": 2, "assistants": 0})
    run = rerun(study, trials=2)
    assert run.trials[1].reason == (
        "tried already as trial 0, which failed; a run with --retry-failed (in Python "
        "retry_failed) tries it again"
    )
    run = rerun(study, trials=2, retry_failed=True)
    assert [t.retry_of for t in run.trials if t.chain] == [None, None, 0, 2]


def test_enqueue_works_while_the_search_runs(rerun: Any, tmp_path: Path) -> None:
    study = tiny(**SMALL, search={"max_concurrent": 1})
    straight = rerun(study, "straight", trials=1)
    events = events_of(
        study, runs_dir=tmp_path / "again", latency_from=straight.path, trials=BASELINES + 2
    )
    queued = None
    for event in events:
        if isinstance(event, TrialDone) and queued is None:
            queued = tasearch.enqueue(tmp_path / "again" / "tiny", "12-8-2")
    assert queued is not None
    trial = tasearch.Run.open(tmp_path / "again" / "tiny").trials[queued.number]
    assert (trial.chain, trial.state) == ((16, 12, 8, 2), "complete")


@pytest.mark.slow
def test_enqueue_removes_an_unfinished_line(rerun: Any) -> None:
    study = tiny(**SMALL)
    run = rerun(study, trials=BASELINES)
    with (run.path / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":')
    queued = tasearch.enqueue(run, "12-4")
    assert rerun(study, trials=BASELINES + 1).trials[queued.number].state == "complete"


def test_command_enqueues_a_chain(
    finished_small: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("enqueue", finished_small.path, "8-2", "--temperature", "4")
    code, out, _ = command(capsys, *words)
    number = len(tasearch.Run.open(finished_small.path).trials) - 1
    assert code == 0
    first, recipe, then = out.splitlines()
    assert first == f"trial {number} is queued: 16 → 8 → 2"
    assert recipe == "  recipe    student_temperature 4.0"
    assert then.startswith("  next      `tasearch run` on the same study tries it, with --trials ")
    code, _, err = command(capsys, *words)
    assert code == 2
    assert err == (
        f"error: {finished_small.path}: this chain is queued already as trial {number}\n"
    )
    runs_dir = ("--runs-dir", finished_small.path)
    code, _, err = command(capsys, "enqueue", "nothing", "8-2", *runs_dir)
    assert code == 2
    assert "nothing: no such run; `tasearch run STUDY.toml` makes one in" in err
