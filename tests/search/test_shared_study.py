"""Optuna's study is shared: others rename, copy or delete it, add trials, and end some."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

import tasearch
from benchmarks.replay import manifest_for, replay
from benchmarks.table import Table
from tasearch import RunError
from tasearch.runs.events import Notice, TrialDone
from tasearch.runs.sealed_journal import clean_after_kill
from tests.helpers.replay import STRICT
from tests.helpers.runs import events_of, facts, optunas_storage, optunas_study, proposed
from tests.helpers.studies import tiny

REMEDY = (
    "remove the file: `tasearch run` on the same study then tries the same chains again, "
    "from the hops that are stored"
)
QUICK: dict[str, Any] = {
    "teacher": {"epochs": 1},
    "assistants": {"max": 1, "widths": [12, 8], "epochs": 1},
    "student": {"widths": [4, 2], "epochs": 1},
}
DIRECTIONS = ["maximize", "minimize", "minimize"]


def rename(run: tasearch.Run, old: str, new: str) -> None:
    """As optuna-dashboard does."""
    storage = optunas_storage(run)
    optuna.copy_study(
        from_study_name=old, from_storage=storage, to_storage=storage, to_study_name=new
    )
    optuna.delete_study(study_name=old, storage=storage)


def refusals(run: tasearch.Run, rerun: Any) -> list[str]:
    """What reading it says, and what going on says."""
    told = []
    for attempt in (lambda: tasearch.Run.open(run.path).front, lambda: rerun(tiny(**QUICK))):
        with pytest.raises(RunError) as error:
            attempt()
        told.append(str(error.value))
    return told


def test_run_refuses_a_renamed_study_and_rebuilds_it(rerun: Any) -> None:
    run = rerun(tiny(**QUICK), trials=3)
    before = facts(run)
    rename(run, "tiny", "mine")
    assert (
        refusals(run, rerun)
        == [
            f"{run.path / 'journal.log'}: has no study 'tiny' any more, but study 'mine'; "
            f"what a copy of it holds is not believed; {REMEDY}"
        ]
        * 2
    )
    (run.path / "journal.log").unlink()
    assert facts(rerun(tiny(**QUICK), trials=3)) == before
    straight = rerun(tiny(**QUICK), "straight", trials=5)
    assert facts(rerun(tiny(**QUICK), trials=5)) == facts(straight)


def test_second_study_in_the_journal_changes_nothing(rerun: Any) -> None:
    run = rerun(tiny(**QUICK), trials=3)
    before = facts(run)
    other = optuna.create_study(
        study_name="other", storage=optunas_storage(run), directions=DIRECTIONS
    )
    other.add_trial(create_trial(values=[1.0, 1.0, 1.0]))
    assert facts(run) == before
    assert facts(rerun(tiny(**QUICK), trials=3)) == before


def test_run_names_the_other_studies_of_the_journal(rerun: Any) -> None:
    run = rerun(tiny(**QUICK), trials=3)
    before = facts(run)
    rename(run, "tiny", "mine")
    for name in ("a", "b", "c", "d", "e"):
        optuna.create_study(study_name=name, storage=optunas_storage(run))
    told = "but studies 'mine', 'a', 'b', 'c', 'd' and 1 others; what a copy"
    assert all(told in message for message in refusals(run, rerun))
    (run.path / "journal.log").unlink()
    assert facts(rerun(tiny(**QUICK), trials=3)) == before


def test_run_refuses_a_deleted_study(rerun: Any) -> None:
    run = rerun(tiny(**QUICK), trials=3)
    before = facts(run)
    optuna.delete_study(study_name="tiny", storage=optunas_storage(run))
    journal = run.path / "journal.log"
    told = f"{journal}: its study 'tiny' was deleted; put it back, or {REMEDY}"
    assert refusals(run, rerun) == [told] * 2
    journal.unlink()
    assert facts(rerun(tiny(**QUICK), trials=3)) == before


def test_run_refuses_a_study_that_others_created(rerun: Any) -> None:
    run = rerun(tiny(**QUICK), trials=3)
    rename(run, "tiny", "mine")
    optuna.create_study(study_name="tiny", storage=optunas_storage(run), directions=DIRECTIONS)
    journal = run.path / "journal.log"
    told = f"{journal}: tasearch has not made its study 'tiny'; beside it study 'mine'; {REMEDY}"
    assert refusals(run, rerun) == [told] * 2


@pytest.mark.parametrize("directions", [["maximize"], ["minimize"] * 3, ["maximize"] * 2])
def test_run_refuses_a_study_with_other_objectives(rerun: Any, directions: list[str]) -> None:
    run = rerun(tiny(**QUICK), trials=1)
    optuna.delete_study(study_name="tiny", storage=optunas_storage(run))
    optuna.create_study(study_name="tiny", storage=optunas_storage(run), directions=directions)
    told = (
        f"{run.path / 'journal.log'}: its study 'tiny' should maximize, minimize, minimize, "
        f"found {', '.join(directions)}: tasearch has not made it; {REMEDY}"
    )
    assert refusals(run, rerun) == [told] * 2


def add_foreign(run: tasearch.Run) -> None:
    """Trials of every state, some a copy of tasearch's, some with parameters of another kind."""
    study = optunas_study(run)
    copied = study.trials[0]
    study.add_trial(copied)
    study.add_trial(create_trial(values=[1.0, 0.0, 0.0], user_attrs=dict(copied.user_attrs)))
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(create_trial(state=TrialState.PRUNED))
    study.ask()
    study.add_trial(
        create_trial(
            values=[1.0, 0.0, 0.0],
            params={"student": 0.5},
            distributions={"student": optuna.distributions.FloatDistribution(0.0, 1.0)},
        )
    )


def test_search_reports_and_ignores_trials_of_others(rerun: Any) -> None:
    study = tiny(**QUICK)
    run = rerun(study, trials=3)
    before, front = facts(run), run.front.members
    add_foreign(run)
    read = tasearch.Run.open(run.path)
    count = len(before)
    assert [t.state for t in read.trials[count:]] == ["foreign"] * 6
    assert [t.number for t in read.trials] == [*range(count + 6)]
    assert read.front.members == front
    events: list[Any] = []
    more = rerun(study, trials=6, on_event=events.append)
    told = [e.message for e in events if isinstance(e, Notice)]
    states = ["complete", "complete", "fail", "pruned", "running", "complete"]
    assert told == [
        f"trial {count + i} ({state}) is not this search's: it is ignored"
        for i, state in enumerate(states)
    ]
    assert [t.chain for t in proposed(more) if t.chain] == [
        t.chain for t in proposed(rerun(study, "straight", trials=6))
    ]


def test_search_refuses_a_trial_that_others_ended(rerun: Any) -> None:
    study = tiny(**QUICK)
    straight = rerun(study, "straight", trials=4)
    events = events_of(
        study, runs_dir=straight.path.parents[1] / "again", latency_from=straight.path, trials=4
    )
    journal = straight.path.parents[1] / "again" / "tiny" / "journal.log"

    def ended() -> None:
        done = 0
        for event in events:
            done += isinstance(event, TrialDone)
            if isinstance(event, TrialDone) and done == 1:
                run = tasearch.Run.open(journal.parent)
                running = (
                    t.number for t in optunas_study(run).trials if t.state == TrialState.RUNNING
                )
                optunas_study(run).tell(next(running), (1.0, 0.0, 0.0))

    with pytest.raises(RunError, match="bears no seal and changes trial"):
        ended()
    assert facts(rerun(study, trials=4)) == facts(straight)
    assert (journal.parent / "journal.log.damaged-1").exists()


def test_trials_and_study_have_their_attributes(rerun: Any) -> None:
    limit = 1000
    run = rerun(tiny(budget={"max_params": limit, "max_bytes": 100_000}), trials=8)
    study, measured = optunas_study(run), run.manifest.measured
    teacher = {u.accuracy for t in run.trials for u in t.hops if u.width == 16}
    assert {study.user_attrs["teacher_accuracy"]} == teacher
    assert study.user_attrs["budget"] == {"max_params": limit, "max_bytes": 100_000}
    assert study.user_attrs["tasearch_version"] == tasearch.__version__
    gains = 0
    for trial, record in zip(study.trials, run.trials, strict=True):
        size = measured[record.chain[-1]]
        assert trial.user_attrs["label"] == record.label
        assert trial.user_attrs["bytes"] == size.bytes
        flops = sum(
            3 * measured[u.width].flops * u.trained * run.manifest.trained_samples
            for u in record.hops
        )
        assert trial.user_attrs["training_flops"] == flops
        found = trial.system_attrs["constraints"]
        assert found == [size.params - limit, size.bytes - 100_000]
        assert all(value <= 0 for value in found)
        direct = [
            t.accuracy
            for t in run.trials[: record.number]
            if t.chain == (16, record.chain[-1])
            and t.recipe["student"] == record.recipe["student"]
            and t.state == "complete"
        ]
        compared = len(record.chain) > 2 and record.state == "complete" and direct
        assert ("gain_over_direct" in trial.user_attrs) == bool(compared)
        if compared:
            gains += 1
            assert trial.user_attrs["gain_over_direct"] == record.accuracy - direct[0]
    assert gains


@pytest.mark.parametrize(
    "sampler",
    ["tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nsga2", "gp", "brute"))],
)
def test_constraints_change_no_proposal(rerun: Any, sampler: str) -> None:
    free = {"sampler": sampler, "pruner": "none"}
    wide = rerun(tiny(**QUICK, search=free), "wide", trials=6)
    bounded = tiny(**QUICK, search=free, budget={"max_params": 10**6})
    kept = rerun(bounded, "kept", trials=6)
    assert facts(kept) == facts(wide)
    assert all(t.system_attrs["constraints"][0] < 0 for t in optunas_study(kept).trials)


# No student has two complete trials


def student_keys(trials: Any) -> Counter[str]:
    return Counter(t.hops[-1].key for t in trials if t.state == "complete")


@pytest.mark.parametrize(
    ("sampler", "pruner", "seeds"),
    [
        ("ehvi", STRICT, [0]),
        ("random", {}, [0]),
        pytest.param("ehvi", {}, range(3), marks=pytest.mark.slow),
        pytest.param("ehvi", STRICT, range(1, 3), marks=pytest.mark.slow),
        pytest.param("random", STRICT, range(3), marks=pytest.mark.slow),
        pytest.param("tpe", {}, range(3), marks=pytest.mark.slow),
        pytest.param("tpe", STRICT, range(3), marks=pytest.mark.slow),
    ],
)
def test_no_student_has_two_complete_trials(
    digits: Table, sampler: str, pruner: dict[str, Any], seeds: Sequence[int]
) -> None:
    """With so many running trials, assistants are proposed as students before they are trained.

    The number of workers changes nothing.
    """
    for seed in seeds:
        search = {"sampler": sampler, "max_concurrent": 24, **pruner}
        manifest = manifest_for(digits, search, seed, {})
        one, more = (replay(digits, manifest, trials=60, workers=n).trials for n in (1, 2 + seed))
        assert any(t.free for t in one)
        assert max(student_keys(one).values()) == 1
        assert sorted(t.number for t in one) == [*range(len(one))]
        assert sorted(one, key=lambda t: t.number) == sorted(more, key=lambda t: t.number)


@pytest.mark.parametrize(
    "section",
    [
        {"teacher_dropout": 0.3},
        pytest.param({"loss": "ce", "temperature": 8.0}, marks=pytest.mark.slow),
    ],
)
def test_recipe_fields_without_effect_make_no_other_student(
    rerun: Any, section: dict[str, Any]
) -> None:
    study = tiny(
        teacher={"epochs": 1},
        assistants={"max": 2, "widths": [12, 8, 6], "epochs": 1, **section},
        student={"widths": [8, 6, 4], "epochs": 1, "loss": ["kd", "ce"]},
        search={"pruner": "none", "max_concurrent": 1},
    )
    run = rerun(study, trials=60)
    assert any(t.free for t in run.trials)
    assert max(student_keys(run.trials).values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("action", ["renamed", "deleted"])
def test_search_reports_a_study_that_disappears(rerun: Any, action: str) -> None:
    finished = rerun(tiny(**QUICK), "lender", trials=2)
    folder = finished.path.parents[1] / "again"
    events = events_of(tiny(**QUICK), runs_dir=folder, latency_from=finished.path, trials=5)
    journal = folder / "tiny" / "journal.log"

    def going() -> None:
        done = 0
        for event in events:
            done += isinstance(event, TrialDone)
            if isinstance(event, TrialDone) and done == 2:
                run = tasearch.Run.open(folder / "tiny")
                if action == "renamed":
                    rename(run, "tiny", "mine")
                else:
                    optuna.delete_study(study_name="tiny", storage=optunas_storage(run))

    with pytest.raises(RunError) as error:
        going()
    words = {
        "renamed": f"has no study 'tiny' any more, but study 'mine'; what a copy of it holds is "
        f"not believed; {REMEDY}",
        "deleted": f"its study 'tiny' was deleted; put it back, or {REMEDY}",
    }
    assert str(error.value) == f"{journal}: {words[action]}"


def test_run_refuses_a_study_deleted_and_created_again(rerun: Any) -> None:
    run = rerun(tiny(**QUICK), trials=3)
    optuna.delete_study(study_name="tiny", storage=optunas_storage(run))
    optuna.create_study(study_name="tiny", storage=optunas_storage(run), directions=DIRECTIONS)
    told = f"{run.path}/journal.log: its study 'tiny' was deleted and made anew; {REMEDY}"
    assert refusals(run, rerun) == [told] * 2


def test_clean_after_kill_leaves_a_live_lock(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    journal.write_bytes(b"{}\n{}")
    lock = tmp_path / "journal.log.lock"
    lock.symlink_to(journal)

    def release() -> None:
        time.sleep(0.5)
        assert lock.is_symlink()
        lock.unlink()

    other = threading.Thread(target=release)
    other.start()
    clean_after_kill(journal)
    other.join()
    assert journal.read_bytes() == b"{}\n"
    lock.symlink_to(journal)  # a kill left it, and no process releases it
    os.utime(lock, (1, 1), follow_symlinks=False)
    start = time.monotonic()
    clean_after_kill(journal)
    assert not lock.is_symlink()
    assert time.monotonic() - start < 20  # Optuna's own patience is 30 s
