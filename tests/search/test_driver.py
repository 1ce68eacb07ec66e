from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import tasearch
from tasearch import RunError, StudyError, TrainingError
from tasearch.chains.hop import arrows
from tasearch.cli.early_checks import check_early
from tasearch.config.run_options import RunOptions
from tasearch.runs.comparable import check_comparable
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import (
    EpochDone,
    HopEnded,
    HopReused,
    HopStarted,
    Notice,
    SearchFinished,
    TrialDone,
    TrialStarted,
)
from tasearch.runs.records import TrialRecord
from tasearch.runs.store import Store
from tasearch.search import profiler
from tasearch.search.prepare import prepare
from tasearch.search.sampler import SAMPLERS
from tests.helpers.processes import children
from tests.helpers.runs import contents, events_of, facts, proposed
from tests.helpers.studies import PRUNES_OFTEN, tiny


def test_search_tries_direct_chains_first_and_never_prunes_them(finished: tasearch.Run) -> None:
    assert [t.chain for t in finished.trials[:3]] == [(16, 2), (16, 4), (16, 6)]
    assert all(t.state == "complete" for t in finished.trials[:3])


def test_search_tries_labels_alone_as_a_baseline(rerun: Any) -> None:
    study = tiny(student={"loss": ["ce", "kd"]}, search={"sampler": "random"})
    run = rerun(study, trials=6)
    assert [t.chain[-1] for t in run.trials] == [2, 2, 4, 4, 6, 6]
    assert [t.recipe["student"]["loss"] for t in run.trials] == ["kd", "ce"] * 3


def recipes(trial: TrialRecord) -> tuple[tuple[int, ...], str]:
    """What tells chains of a study apart."""
    return trial.chain, json.dumps(trial.recipe, sort_keys=True)


def test_search_tries_no_chain_twice(finished: tasearch.Run) -> None:
    chains = [t.chain for t in proposed(finished)]
    assert len(chains) == len(set(chains)) == 10
    assert len({recipes(t) for t in finished.trials}) == len(finished.trials)


def test_search_trains_each_lineage_once(finished: tasearch.Run) -> None:
    trials = proposed(finished)  # a width is trained otherwise as a student than as an assistant
    ancestors = {t.chain[:end] for t in trials for end in range(1, len(t.chain))}
    students = {t.chain for t in trials if t.state == "complete"}
    store = Store(finished.path)
    stored = [store.record("hops", key).widths for key in store.finished()]
    assert sorted(stored) == sorted([*ancestors, *students])
    ended = [e["hop"] for e in finished.directory.events() if e["event"] == "end"]
    assert sorted(ended) == store.finished()
    assert finished.costs.hops == len(ancestors) + len(trials)


@pytest.mark.slow
def test_optuna_reads_the_study(finished: tasearch.Run) -> None:
    """Optuna opens it: three objectives, readable parameters, the same front.

    An assistant has other epochs than students here, so it is no chain of the space.
    """
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(finished.path / "journal.log"))
    )
    study = optuna.load_study(study_name="tiny", storage=storage)
    assert study.metric_names == ["accuracy", "params", "latency_ms"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    for trial, record in zip(study.trials, finished.trials, strict=True):
        assert (trial.params == {}) == record.free
        if record.free:
            continue
        chain = [trial.params[f"assistant_{i + 1}"] for i in range(trial.params["assistants"])]
        assert (16, *chain, trial.params["student"]) == record.chain
    best = {tuple(t.values) for t in study.best_trials}
    assert best == {(c.accuracy, c.params, c.latency_ms) for c in finished.front.members}
    optuna.visualization.plot_pareto_front(study)


def test_same_seed_and_latencies_give_the_same_run(finished: tasearch.Run, rerun: Any) -> None:
    again = rerun(tiny(), trials=6)
    found = facts(again)
    assert found == facts(finished)[: len(found)]
    files = contents(finished)
    assert {name: files[name] for name in contents(again)} == contents(again)
    other = rerun(tiny(seed=1), "other", trials=2)
    assert facts(other) != facts(finished)[:2]


def test_finished_run_trains_nothing_and_longer_one_continues(
    finished: tasearch.Run, rerun: Any
) -> None:
    short = facts(rerun(tiny(), trials=4))
    events: list[Any] = []
    rerun(tiny(), trials=4, on_event=events.append)
    assert events == [SearchFinished(reason="4 trials are done", done=4)]
    longer = rerun(tiny(), trials=6)
    assert facts(longer)[: len(short)] == short
    assert len(proposed(longer)) == 6
    assert facts(longer) == facts(finished)[: len(facts(longer))]


def test_exhausted_space_ends_the_search(rerun: Any) -> None:
    events: list[Any] = []
    small = tiny(assistants={"max": 1, "widths": [8]}, student={"widths": [4, 2]})
    run = rerun(small, trials=50, on_event=events.append)
    assert events[-1] == SearchFinished(reason="all 4 chains have been tried", done=4)
    assert sorted(t.chain for t in proposed(run)) == [(16, 2), (16, 4), (16, 8, 2), (16, 8, 4)]


@pytest.mark.parametrize(
    "sampler",
    [
        "ehvi",
        *(pytest.param(name, marks=pytest.mark.slow) for name in SAMPLERS if name != "ehvi"),
    ],
)
def test_sampler_covers_the_space_without_repeats(rerun: Any, sampler: str) -> None:
    study = tiny(
        assistants={"epochs": 1},
        student={"epochs": 1, "loss": ["kd", "ce"]},
        search={"sampler": sampler, "pruner": "none", "trials": 60},
        teacher={"epochs": 1},
    )
    run = rerun(study)
    chains = [recipes(t) for t in proposed(run)]
    assert len(set(chains)) == len(chains)
    own = [recipes(t) for t in run.trials if t.free and t.chain[-1] == 6]  # a student's width
    assert len({*chains, *own}) == run.manifest.space == 21
    plain = [t for t in run.trials if t.recipe["student"]["loss"] == "ce"]
    assert plain
    assert all(len(t.chain) == 2 and len(t.hops) == 1 for t in plain)


def test_search_proposes_no_student_over_the_budget(finished: tasearch.Run, rerun: Any) -> None:
    limit = finished.manifest.measured[4].params
    run = rerun(tiny(budget={"max_params": limit}), trials=6)
    assert {t.chain[-1] for t in run.trials} == {4, 2}


def test_empty_space_names_the_nearest_student(
    finished: tasearch.Run, rerun: Any, tmp_path: Path
) -> None:
    size = finished.manifest.measured[2]
    with pytest.raises(StudyError) as error:
        rerun(tiny(budget={"max_params": 10}))
    assert str(error.value) == (
        f"budget: no student fits max_params = 10; the nearest, width 2, has {size.params} params "
        f"in {size.bytes:,} bytes and takes {size.latency_ms:.4g} ms"
    )
    with pytest.raises(StudyError) as error:  # found out before the time for timing is spent
        tasearch.run(tiny(budget={"max_bytes": 10}), runs_dir=tmp_path / "again")
    assert str(error.value) == (
        f"budget: no student fits max_bytes = 10; the nearest, width 2, has {size.params} params "
        f"in {size.bytes:,} bytes"
    )
    assert not (tmp_path / "again").exists()


def test_study_refuses_more_assistants_than_possible(rerun: Any) -> None:
    with pytest.raises(StudyError) as error:
        rerun(tiny(assistants={"min": 1, "max": 1, "widths": [6]}, student={"widths": [6]}))
    assert str(error.value) == (
        "study: assistants.min: no student has 1 assistants wider than itself, the narrowest, 6, "
        "has 0"
    )


def test_failed_hop_fails_only_its_trials(finished: tasearch.Run, rerun: Any) -> None:
    study = tiny(student={"learning_rate": [0.01, 1e30]}, search={"trials": 7})
    events: list[Any] = []
    run = rerun(study, on_event=events.append)
    failed = [t for t in run.trials if t.state == "failed"]
    assert failed
    assert any(t.state == "complete" for t in run.trials[failed[0].number + 1 :])
    for trial in failed:
        assert trial.recipe["student"]["learning_rate"] == 1e30
        assert trial.reason == (
            f"hop {trial.label}: the loss became nan in epoch 1 of 4 "
            f"(loss 'kd', temperature 4, learning_rate 1e+30)"
        )
    assert len(proposed(run)) == 7


def test_search_trains_failed_assistant_once_for_all_trials(rerun: Any) -> None:
    study = tiny(assistants={"learning_rate": 1e30, "widths": [8], "max": 1})
    events: list[Any] = []
    run = rerun(study, on_event=events.append)
    failed = [t for t in run.trials if t.state == "failed"]
    assert {t.chain for t in failed if not t.free} == {(16, 8, w) for w in (6, 4, 2)}
    assert [t.chain for t in failed if t.free] == [(16, 8)]
    assert events[-1].reason == "all 6 chains have been tried; 3 failed"
    assert [e.label for e in events if isinstance(e, HopStarted)].count("16 → 8") == 1


def test_failed_teacher_ends_the_search(rerun: Any) -> None:
    with pytest.raises(TrainingError, match="hop 16: the loss became nan"):
        rerun(tiny(teacher={"learning_rate": 1e30}))


def test_student_without_teacher_fails_with_a_reason(rerun: Any) -> None:
    run = rerun(tiny(student={"loss": "ce", "learning_rate": 1e30}), trials=2)
    assert [t.state for t in run.trials] == ["failed"] * 2
    assert all("the loss became nan" in str(t.reason) and not t.hops for t in run.trials)


@pytest.mark.slow
def test_pruner_stops_trained_students_and_audit_lets_them_continue(rerun: Any) -> None:
    keys = {**PRUNES_OFTEN, "trials": 18}
    strict = rerun(tiny(search={**keys, "audit_fraction": 0.0}))
    pruned = [t for t in strict.trials if t.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial.curve) < 4
        assert trial.hops[-1].trained < trial.hops[-1].epochs
        assert trial.reason is not None
        own = trial.curve and not trial.free
        assert trial.reason.startswith("could reach " if own else "behind 16 → ")
    audited = rerun(tiny(search={**keys, "audit_fraction": 1.0}), "audited")
    assert all(t.state == "complete" for t in audited.trials)
    caught = [t for t in audited.trials if t.audit is not None]
    assert caught
    assert {t.number for t in audited.trials if t.falsely_pruned} == {
        t.number for t in caught if t.accuracy >= t.audit.skyline
    }
    free = rerun(tiny(search={**keys, "pruner": "none"}), "free")
    assert all(t.audit is None and t.state == "complete" for t in free.trials)


def test_run_refuses_another_study(rerun: Any, tmp_path: Path) -> None:
    rerun(tiny(), trials=1)
    with pytest.raises(RunError) as error:
        rerun(tiny(student={"epochs": 5}))
    path = tmp_path / "again" / "tiny"
    assert str(error.value) == (
        f"{path}: was made by a different study: student.epochs was 4, is 5; "
        f"give the study another name, or use another --runs-dir (in Python runs_dir)"
    )
    with pytest.raises(RunError, match="seed was 0, is 1"):
        rerun(tiny(seed=1))


def test_run_refuses_another_digest_of_the_data(finished: tasearch.Run) -> None:
    inputs = {**finished.manifest.inputs, "digest of data": "0" * 8}
    with pytest.raises(RunError, match="was made by a different study: its data have changed;"):
        check_comparable(finished.directory, finished.manifest, finished.manifest.study, inputs)


def test_key_that_is_taken_out_makes_another_study(finished: tasearch.Run) -> None:
    """An identity leaves out keys at their defaults."""
    directory, manifest = finished.directory, finished.manifest
    mixed = replace(manifest, study=tiny(training={"mixup": 0.5, "views": 3}))
    with pytest.raises(RunError, match=r"different study: training\.views was 3, is null"):
        check_comparable(directory, mixed, manifest.study, manifest.inputs)
    with pytest.raises(RunError, match=r"different study: training\.views was null, is 3"):
        check_comparable(directory, manifest, mixed.study, manifest.inputs)


@pytest.mark.slow
def test_run_refuses_changed_data(tmp_path: Path, rerun: Any) -> None:
    code = (
        "from sklearn.datasets import load_digits\n"
        "def data():\n"
        "    digits = load_digits()\n"
        "    return {{'x_train': digits.images[:{n}], 'y_train': digits.target[:{n}]}}\n"
    )
    (tmp_path / "moving.py").write_text(code.format(n=900))
    study = tiny(data={"source": "moving:data"}).model_copy(update={"root": str(tmp_path)})
    rerun(study, trials=1)
    (tmp_path / "moving.py").write_text(code.format(n=800) + "# edited\n")
    with pytest.raises(RunError, match="was made by a different study: its data have changed;"):
        rerun(study, trials=1)


def test_run_refuses_a_second_driver(finished: tasearch.Run) -> None:
    with finished.directory.locked(), pytest.raises(RunError) as error:
        tasearch.run(tiny(), runs_dir=finished.path.parent, trials=99)
    assert str(error.value) == f"{finished.path}: another tasearch is running or confirming it"


def test_run_refuses_a_second_driver_during_preparation(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    """Also where there is no run yet; a folder that nothing was written to goes again."""
    study, runs = tiny(), tmp_path / "deep" / "runs"
    prepared = prepare(study, RunOptions(runs_dir=runs, latency_from=finished.path))
    try:
        with pytest.raises(RunError) as error:
            tasearch.run(study, runs_dir=runs)
        assert str(error.value) == f"{runs / 'tiny'}: another tasearch is running or confirming it"
        with pytest.raises(RunError, match="another tasearch is running or confirming it"):
            check_early(study, RunOptions(runs_dir=runs, device="cpu"))
    finally:
        prepared.close()
        prepared.close()
    assert not (tmp_path / "deep").exists()
    with pytest.raises(tasearch.DataError):
        prepare(tiny(data={"source": "npz", "path": "none.npz"}), RunOptions(runs_dir=runs))
    assert not (tmp_path / "deep").exists()
    run = tasearch.run(study, runs_dir=runs, trials=1, latency_from=finished.path)
    assert len(proposed(run)) == 1


@pytest.mark.slow
def test_callers_exception_releases_the_run(finished: tasearch.Run, tmp_path: Path) -> None:
    """Though the caller keeps it, as a notebook does."""

    def fail(event: Any) -> None:
        raise LookupError("mine")

    options = {"runs_dir": tmp_path, "latency_from": finished.path, "trials": 1}
    with pytest.raises(LookupError) as kept:
        tasearch.run(tiny(), on_event=fail, **options)
    assert kept.value.__traceback__ is not None
    assert len(proposed(tasearch.run(tiny(), **options))) == 1


@pytest.mark.slow
def test_closed_steps_leave_no_worker(finished: tasearch.Run, tmp_path: Path) -> None:
    before = children()
    events = events_of(
        tiny(name="odd"), runs_dir=tmp_path, trials=1, workers=2, latency_from=finished.path
    )
    with pytest.MonkeyPatch.context() as patch:
        real = prepare

        def noticing(*args: Any, **kwargs: Any) -> Any:
            return replace(real(*args, **kwargs), notices=("busy",))

        patch.setattr("tasearch.api.running.prepare", noticing)
        assert next(events) == Notice(message="busy")
    events.close()
    assert children() == before


@pytest.mark.slow
def test_run_lends_modes_despite_changes_without_effect(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finding(*args: Any) -> Any:
        raise AssertionError("modes are found again")

    monkeypatch.setattr(profiler, "study_modes", finding)
    study = tiny(training={"stall_minutes": 3, "targets_gb": 0.5})
    run = tasearch.run(study, runs_dir=tmp_path, trials=1, latency_from=finished.path)
    assert run.manifest.modes == finished.manifest.modes
    with pytest.raises(AssertionError):
        tasearch.run(
            tiny(name="other", training={"clip": 1.0}),
            runs_dir=tmp_path,
            trials=1,
            latency_from=finished.path,
        )


def test_run_accepts_a_moved_study(rerun: Any, tmp_path: Path) -> None:
    rerun(tiny().model_copy(update={"root": "/old"}), trials=1)
    run = rerun(tiny().model_copy(update={"root": str(tmp_path)}), trials=2)
    assert run.manifest.study.root == str(tmp_path)


def test_start_removes_only_temporary_files_of_a_kill(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(), trials=1)
    name = ".tasearch-0123456789abcdef.tmp"
    leftovers = [run.path / name, run.path / "hops" / name]
    theirs = [run.path / "hops" / ".abc.tmp", run.path / "mine" / name, tmp_path / "else" / name]
    for file in (*leftovers, *theirs):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"part")
    shutil.rmtree(run.path / "targets")
    (run.path / "targets").symlink_to(tmp_path / "else")
    rerun(tiny(), trials=1)
    assert [file.exists() for file in (*leftovers, *theirs)] == [False] * 2 + [True] * 3


@pytest.mark.slow
def test_search_names_damaged_hops_and_trains_them_again(rerun: Any) -> None:
    run = rerun(tiny(), trials=4)
    before = contents(run)
    files = sorted((run.path / "hops").iterdir())
    files[0].write_bytes(b"junk")
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-3])
    events: list[Any] = []
    rerun(tiny(), trials=5, on_event=events.append)
    told = [e.message for e in events if isinstance(e, Notice)]
    assert [str(files[0]) in m for m in told].count(True) == 1
    assert [str(files[2]) in m for m in told].count(True) == 1
    again = contents(run)
    assert {name: again[name] for name in before} == before


@pytest.mark.slow
def test_finished_run_trains_damaged_hops_again(rerun: Any) -> None:
    run = rerun(tiny())
    before = contents(run)
    for file in (run.path / "hops").iterdir():
        file.write_bytes(b"junk")
    events: list[Any] = []
    again = rerun(tiny(), on_event=events.append)
    after = contents(again)
    assert {name: after[name] for name in before} == before
    assert not any(isinstance(e, TrialDone) for e in events)


@pytest.mark.parametrize(
    ("rungs", "trials"),
    [
        (2, 3),
        pytest.param(1, 8, marks=pytest.mark.slow),
        pytest.param(2, 8, marks=pytest.mark.slow),
    ],
)
def test_interruption_after_the_last_rung_changes_nothing(
    rerun: Any, rungs: int, trials: int
) -> None:
    keys = {
        **PRUNES_OFTEN,
        "rungs": rungs,
        "audit_fraction": 1.0,
    }
    study = tiny(search={**keys, "trials": trials})
    straight = rerun(study, "straight")
    for _ in range(99):
        events = events_of(
            study, runs_dir=straight.path.parents[1] / "cut", latency_from=straight.path
        )
        for event in events:
            if isinstance(event, EpochDone) and event.epoch == event.epochs == 4:
                break
        else:
            break
        events.close()
    assert facts(tasearch.Run.open(straight.path.parents[1] / "cut" / "tiny")) == facts(straight)


def test_costs_count_no_savings_for_failed_students(rerun: Any) -> None:
    run = rerun(
        tiny(student={"learning_rate": [0.01, 1e30]}, search={"pruner": "none", "trials": 5})
    )
    assert "failed" in {t.state for t in run.trials}
    assert run.costs.paid == run.costs.unpruned


def test_search_reports_a_poor_teacher(rerun: Any) -> None:
    events: list[Any] = []
    rerun(tiny(teacher={"epochs": 1, "learning_rate": 1e-9}), trials=1, on_event=events.append)
    told, *_ = [e.message for e in reversed(events) if isinstance(e, Notice)]
    assert "hardly better than chance" in told
    (done,) = [e for e in events if isinstance(e, HopEnded) and e.teacher]
    assert f"{done.accuracy:.1%}" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return logits.sum(1)", "gave shape (2,)"),
        ("return 1.0", "gave float"),
        ("return logits.sum().detach()", "gave shape ()"),
        ("raise KeyError('k')", "raised KeyError: 'k'"),
        (
            "return terms['alpha']",
            "raised TypeError: 'Terms' object is not subscriptable",
        ),
    ],
)
def test_search_tests_a_users_loss_before_writing(
    rerun: Any, tmp_path: Path, code: str, message: str
) -> None:
    (tmp_path / "own.py").write_text(f"def f(logits, labels, targets, terms):\n    {code}\n")
    study = tiny(student={"loss": "own:f"}).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(StudyError) as error:
        rerun(study)
    assert str(error.value).startswith("loss 'own:f' ")
    assert str(error.value).endswith(message)
    assert not (tmp_path / "again").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return 3", "'own:f' should return an Optuna sampler, returned int"),
        ("raise OSError('no')", "'own:f' should take a seed, raised OSError: no"),
        (
            "import optuna; return optuna.samplers.GridSampler({'x': [1]})",
            "GridSampler raised ValueError: ",
        ),
    ],
)
def test_search_refuses_a_users_invalid_sampler(
    rerun: Any, tmp_path: Path, code: str, message: str
) -> None:
    (tmp_path / "own.py").write_text(f"def f(seed):\n    {code}\n")
    study = tiny(search={"sampler": "own:f"}).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(StudyError) as error:
        rerun(study)
    assert str(error.value).startswith(f"search.sampler: {message}")


@pytest.mark.slow
def test_search_rebuilds_a_removed_journal_from_stored_hops(rerun: Any) -> None:
    run = rerun(tiny(), trials=4)
    before, files = facts(run), contents(run)
    (run.path / "journal.log").unlink()
    events: list[Any] = []
    again = rerun(tiny(), trials=4, on_event=events.append)
    assert facts(again) == before
    assert contents(again) == files
    assert not any(isinstance(event, HopStarted) for event in events)


@pytest.mark.slow
def test_search_leaves_no_trial_waiting(rerun: Any) -> None:
    """Baselines enter the journal one by one, so that none beyond the trials asked for stays."""
    study = tiny(student={"loss": ["kd", "ce", "dist"]})
    run = rerun(study, trials=2)
    assert [t.state for t in run.trials] == ["complete"] * 2
    run = rerun(study, trials=4)
    whole = rerun(study, "whole", trials=4)
    assert facts(run) == facts(whole)
    assert len(run.trials) == 4
    events: list[Any] = []
    rerun(study, trials=3, on_event=events.append)
    assert events[-1].reason == "4 trials are done, more than the 3 asked for"


def test_search_refuses_latencies_of_other_models(finished: tasearch.Run, rerun: Any) -> None:
    with pytest.raises(RunError) as error:
        rerun(tiny(student={"widths": [5]}))
    assert str(error.value).startswith(
        f"--latency-from (in Python latency_from): {finished.path} should measure width 5 with "
    )
    assert str(error.value).endswith(" params, has no measurement")
    with pytest.raises(RunError, match=r"should measure width 16 with \d"):
        rerun(tiny(model={"family": "cnn"}))


def test_search_refuses_latencies_of_another_setup(finished: tasearch.Run, rerun: Any) -> None:
    with pytest.raises(RunError) as error:
        rerun(tiny(latency={"batch": 7}))
    setup = "{'in_shape': [1, 8, 8], 'num_classes': 10, 'backend': 'torch', 'batch': %d, "
    setup += "'threads': 1}"
    assert str(error.value) == (
        f"--latency-from (in Python latency_from): {finished.path} was measured with {setup % 1}, "
        f"this study needs {setup % 7}"
    )


def test_search_accepts_latencies_of_a_larger_run(rerun: Any) -> None:
    study = tiny(assistants={"widths": [8]}, student={"widths": [4, 2]})
    rerun(study, trials=1)
    assert len(rerun(study, trials=2).trials) == 2


def test_run_keeps_its_own_latencies(finished: tasearch.Run, rerun: Any, tmp_path: Path) -> None:
    rerun(tiny(), trials=1)
    measured = dict(finished.manifest.measured)
    measured[16] = replace(measured[16], latency_ms=measured[16].latency_ms * 2)
    RunDirectory(tmp_path).write(replace(finished.manifest, measured=measured))
    with pytest.raises(RunError, match="has measurements of its own, frozen when it was made"):
        tasearch.run(tiny(), trials=1, runs_dir=tmp_path / "again", latency_from=tmp_path)


def test_open_reports_missing_run(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        tasearch.Run.open("nothing", tmp_path)
    assert str(error.value) == (
        f"nothing: no such run; `tasearch run STUDY.toml` makes one in {tmp_path}/"
    )


@pytest.mark.parametrize("name", ["run.json", "measurements.json"])
def test_read_reports_damaged_run(rerun: Any, name: str) -> None:
    run = rerun(tiny(), trials=1)
    (run.path / name).write_text('{"study": {')
    with pytest.raises(RunError, match=rf"{name}: is no JSON: "):
        RunDirectory(run.path).read()


@pytest.mark.slow
def test_search_uses_a_users_sampler_and_loss(tmp_path: Path, rerun: Any) -> None:
    (tmp_path / "own.py").write_text(
        "import optuna\n"
        "import torch.nn.functional as F\n"
        "def sampler(seed):\n"
        "    return optuna.samplers.RandomSampler(seed=seed)\n"
        "def matching(logits, labels, targets, terms):\n"
        "    return F.mse_loss(logits, targets)\n"
    )
    study = tiny(search={"sampler": "own:sampler"}, student={"loss": "own:matching"})
    run = rerun(study.model_copy(update={"root": str(tmp_path)}), trials=4)
    assert [t.state for t in run.trials].count("complete") >= 3
    assert run.trials[0].recipe["student"]["loss"] == "own:matching"


def test_study_refuses_an_unknown_sampler(tmp_path: Path, rerun: Any) -> None:
    with pytest.raises(StudyError) as error:
        rerun(tiny(search={"sampler": "tpa"}))
    assert str(error.value) == "study: search.sampler: unknown name 'tpa'; did you mean 'tpe'?"
    assert not (tmp_path / "again").exists()


def test_run_refuses_cuda_without_a_device(rerun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(
        RunError, match=r"--device \(in Python device\): torch finds no CUDA device"
    ):
        rerun(tiny(), device="cuda")


def test_events_report_every_trial_and_hop(rerun: Any) -> None:
    events: list[Any] = []
    run = rerun(tiny(), trials=6, on_event=events.append)
    done = [e for e in events if isinstance(e, TrialDone)]
    told = sorted((e.record for e in done), key=lambda t: t.number)
    assert told == run.trials
    assert [t for t in told if not t.free] == proposed(run)
    assert [e.done for e in done if not e.record.free] == [1, 2, 3, 4, 5, 6]
    behind = 0
    for event in done:  # a free one does not count
        behind += not event.record.free
        assert (event.done, event.trials) == (behind, 6)
    started = [(e.label, e.epochs) for e in events if isinstance(e, HopStarted)]
    assert len(started) == len(set(started))
    assert any(isinstance(e, HopReused) for e in events)
    assert all(
        e.accuracy is None or 0 <= e.accuracy <= 1 for e in events if isinstance(e, EpochDone)
    )


@pytest.mark.slow
def test_hops_are_trained_in_the_order_of_trials(rerun: Any) -> None:
    """All is running from the start."""
    events: list[Any] = []
    study = tiny(
        assistants={"widths": [8, 6], "max": 2},
        student={"widths": [4, 2]},
        training={"stack": "never"},
        search={"trials": 8, "sampler": "brute", "pruner": "none"},
    )
    run = rerun(study, on_event=events.append)
    first = next(i for i, e in enumerate(events) if isinstance(e, HopStarted))
    assert sum(isinstance(e, TrialStarted) for e in events[:first]) == 8
    begun = [e.label for e in events if isinstance(e, HopStarted)]
    wanted = (
        arrows(trial.chain[:end])
        for trial in sorted(proposed(run), key=lambda trial: trial.number)
        for end in range(1, len(trial.chain) + 1)
    )
    assert begun == list(dict.fromkeys(wanted))
    assert len({trial.chain for trial in proposed(run)}) == 8


def begun_at_once(events: list[Any]) -> int:
    """Proposals before anything is over."""
    first = next(i for i, e in enumerate(events) if isinstance(e, TrialDone))
    return sum(isinstance(e, TrialStarted) for e in events[:first])


@pytest.mark.slow
def test_baselines_of_a_trained_search_overlap(rerun: Any) -> None:
    """A search cut off among them goes on to the same end."""
    search: dict[str, Any] = {"sampler": "random", "trials": 8, "max_concurrent": 1}
    study = tiny(search=search, student={"loss": ["ce", "kd"]})
    events: list[Any] = []
    whole = rerun(study, "whole", on_event=events.append)
    assert begun_at_once(events) == 6
    bounded: list[Any] = []  # by the time: what is begun is finished, so not all is begun
    search |= {"max_hours": 9.0}
    rerun(tiny(search=search), "bounded", on_event=bounded.append)
    assert begun_at_once(bounded) == 1
    cut = events_of(study, runs_dir=whole.path.parent.parent / "cut", latency_from=whole.path)
    while not isinstance(next(cut), TrialDone):
        pass
    cut.close()
    assert facts(rerun(study, "cut")) == facts(whole)
