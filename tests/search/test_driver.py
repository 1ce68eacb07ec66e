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
from tasearch.cli.early_checks import check_early
from tasearch.config.run_options import RunOptions
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
from tasearch.runs.records import TrialRecord, costs
from tasearch.runs.store import Store
from tasearch.search.prepare import prepare
from tasearch.search.sampler import SAMPLERS
from tests.helpers.processes import children
from tests.helpers.runs import contents, events_of, facts, proposed
from tests.helpers.studies import tiny


def test_the_direct_chains_come_first_and_are_never_pruned(finished: tasearch.Run) -> None:
    assert [t.chain for t in finished.trials[:3]] == [(16, 6), (16, 4), (16, 2)]
    assert all(t.state == "complete" for t in finished.trials[:3])


def test_labels_alone_are_a_baseline_where_they_are_searched(rerun: Any) -> None:
    run = rerun(tiny(student={"loss": ["ce", "kd"]}), trials=6)
    assert [t.chain for t in run.trials] == [(16, 6), (16, 4), (16, 2)] * 2
    assert [t.recipe["student"]["loss"] for t in run.trials] == ["kd"] * 3 + ["ce"] * 3


def recipes(trial: TrialRecord) -> tuple[tuple[int, ...], str]:
    """What tells chains of a study apart."""
    return trial.chain, json.dumps(trial.recipe, sort_keys=True)


def test_no_chain_is_tried_twice(finished: tasearch.Run) -> None:
    chains = [t.chain for t in proposed(finished)]
    assert len(chains) == len(set(chains)) == 10
    assert len({recipes(t) for t in finished.trials}) == len(finished.trials)


def test_each_lineage_is_trained_once(finished: tasearch.Run) -> None:
    trials = proposed(finished)  # a width is trained otherwise as a student than as an assistant
    ancestors = {t.chain[:end] for t in trials for end in range(1, len(t.chain))}
    students = {t.chain for t in trials if t.state == "complete"}
    store = Store(finished.path)
    stored = [store.record("hops", key).widths for key in store.finished()]
    assert sorted(stored) == sorted([*ancestors, *students])
    ended = [e["hop"] for e in finished.directory.events() if e["event"] == "end"]
    assert sorted(ended) == store.finished()
    assert finished.costs.hops == len(ancestors) + len(trials)


def test_the_study_is_optunas(finished: tasearch.Run) -> None:
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


def test_the_same_seed_and_latencies_give_the_same_run(finished: tasearch.Run, rerun: Any) -> None:
    again = rerun(tiny())
    assert facts(again) == facts(finished)
    assert contents(again) == contents(finished)
    other = rerun(tiny(seed=1), "other")
    assert facts(other) != facts(finished)


def test_a_finished_run_trains_nothing_and_a_longer_one_goes_on(rerun: Any) -> None:
    short = facts(rerun(tiny(), trials=5))
    events: list[Any] = []
    rerun(tiny(), trials=5, on_event=events.append)
    assert events == [SearchFinished(reason="5 trials are done", done=5)]
    longer = rerun(tiny(), trials=8)
    straight = rerun(tiny(), "straight", trials=8)
    assert facts(longer)[: len(short)] == short
    assert len(proposed(longer)) == 8
    assert facts(longer) == facts(straight)


def test_an_exhausted_space_ends_the_run_and_says_so(rerun: Any) -> None:
    events: list[Any] = []
    small = tiny(assistants={"max": 1, "widths": [8]}, student={"widths": [4, 2]})
    run = rerun(small, trials=50, on_event=events.append)
    assert events[-1] == SearchFinished(reason="all 4 chains have been tried", done=4)
    assert sorted(t.chain for t in proposed(run)) == [(16, 2), (16, 4), (16, 8, 2), (16, 8, 4)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_covers_the_space_without_a_repeat(rerun: Any, sampler: str) -> None:
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


def test_students_over_the_budget_are_never_proposed(finished: tasearch.Run, rerun: Any) -> None:
    limit = finished.manifest.measured[4].params
    run = rerun(tiny(budget={"max_params": limit}), trials=30)
    assert {t.chain[-1] for t in run.trials} == {4, 2}


def test_an_empty_feasible_space_names_the_nearest_student(
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


def test_no_student_with_enough_assistants(rerun: Any) -> None:
    with pytest.raises(StudyError) as error:
        rerun(tiny(assistants={"min": 1, "max": 1, "widths": [6]}, student={"widths": [6]}))
    assert str(error.value) == (
        "study: assistants.min: no student has 1 assistants wider than itself, the narrowest, 6, "
        "has 0"
    )


def test_a_hop_that_fails_fails_its_trials_and_the_search_goes_on(
    finished: tasearch.Run, rerun: Any
) -> None:
    study = tiny(student={"learning_rate": [0.01, 1e30]}, search={"trials": 14})
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
    assert len(proposed(run)) == 14


def test_an_assistant_that_fails_is_trained_once_for_all_its_trials(rerun: Any) -> None:
    study = tiny(assistants={"learning_rate": 1e30, "widths": [8], "max": 1})
    events: list[Any] = []
    run = rerun(study, on_event=events.append)
    failed = [t for t in run.trials if t.state == "failed"]
    assert {t.chain for t in failed if not t.free} == {(16, 8, w) for w in (6, 4, 2)}
    assert [t.chain for t in failed if t.free] == [(16, 8)]
    assert events[-1].reason == "all 6 chains have been tried; 3 failed"
    assert [e.label for e in events if isinstance(e, HopStarted)].count("16 → 8") == 1


def test_a_teacher_that_fails_ends_the_run(rerun: Any) -> None:
    with pytest.raises(TrainingError, match="hop 16: the loss became nan"):
        rerun(tiny(teacher={"learning_rate": 1e30}))


def test_a_student_without_a_teacher_may_fail_too(rerun: Any) -> None:
    run = rerun(tiny(student={"loss": "ce", "learning_rate": 1e30}), trials=2)
    assert [t.state for t in run.trials] == ["failed"] * 2
    assert all("the loss became nan" in str(t.reason) and not t.hops for t in run.trials)


def test_pruning_stops_students_and_its_audit_lets_some_run_on(rerun: Any) -> None:
    keys = {"trials": 18, "gain_quantile": 0.0, "noise_margin": 0.0, "n_startup_trials": 1}
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


def test_a_run_of_another_study_is_refused(rerun: Any, tmp_path: Path) -> None:
    rerun(tiny(), trials=1)
    with pytest.raises(RunError) as error:
        rerun(tiny(student={"epochs": 5}))
    path = tmp_path / "again" / "tiny"
    assert str(error.value) == (
        f"{path}: was made by a different study: student.epochs was 4, is 5; "
        f"give the study another name, or use another --runs-dir"
    )
    with pytest.raises(RunError, match="seed was 0, is 1"):
        rerun(tiny(seed=1))


def test_changed_data_are_another_study(tmp_path: Path, rerun: Any) -> None:
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
    with pytest.raises(RunError, match="was made by a different study: digest of data was"):
        rerun(study, trials=1)


def test_a_second_driver_is_refused(finished: tasearch.Run) -> None:
    with finished.directory.locked(), pytest.raises(RunError) as error:
        tasearch.run(tiny(), runs_dir=finished.path.parent, trials=99)
    assert str(error.value) == f"{finished.path}: another tasearch is running this study"


def test_a_second_driver_is_refused_while_the_first_prepares(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    """Also where there is no run yet; a folder that nothing was written to goes again."""
    study, runs = tiny(), tmp_path / "deep" / "runs"
    prepared = prepare(study, RunOptions(runs_dir=runs, latency_from=finished.path))
    try:
        with pytest.raises(RunError) as error:
            tasearch.run(study, runs_dir=runs)
        assert str(error.value) == f"{runs / 'tiny'}: another tasearch is running this study"
        with pytest.raises(RunError, match="another tasearch is running this study"):
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


def test_an_exception_of_a_callers_own_frees_the_run(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    """Though the caller keeps it, as a notebook does."""

    def fail(event: Any) -> None:
        raise LookupError("mine")

    options = {"runs_dir": tmp_path, "latency_from": finished.path, "trials": 1}
    with pytest.raises(LookupError) as kept:
        tasearch.run(tiny(), on_event=fail, **options)
    assert kept.value.__traceback__ is not None
    assert len(proposed(tasearch.run(tiny(), **options))) == 1


def test_steps_that_end_at_a_notice_leave_no_worker(finished: tasearch.Run, tmp_path: Path) -> None:
    before = children()
    events = events_of(
        tiny(name="odd"), runs_dir=tmp_path, trials=1, workers=2, latency_from=finished.path
    )
    with pytest.MonkeyPatch.context() as patch:
        real = prepare

        def noticing(*args: Any, **kwargs: Any) -> Any:
            return replace(real(*args, **kwargs), notices=("busy",))

        patch.setattr("tasearch.api.prepare", noticing)
        assert next(events) == Notice(message="busy")
    events.close()
    assert children() == before


def test_what_decides_no_result_keeps_no_run_from_lending_its_modes(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finding(*args: Any) -> Any:
        raise AssertionError("modes are found again")

    monkeypatch.setattr("tasearch.search.profiler.study_modes", finding)
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


def test_a_study_may_move(rerun: Any, tmp_path: Path) -> None:
    rerun(tiny().model_copy(update={"root": "/old"}), trials=1)
    run = rerun(tiny().model_copy(update={"root": str(tmp_path)}), trials=2)
    assert run.manifest.study.root == str(tmp_path)


def test_litter_of_a_kill_is_cleared_away_and_nothing_else(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(), trials=1)
    name = ".tasearch-0123456789abcdef.tmp"
    litter = [run.path / name, run.path / "hops" / name]
    theirs = [run.path / "hops" / ".abc.tmp", run.path / "mine" / name, tmp_path / "else" / name]
    for file in (*litter, *theirs):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
    shutil.rmtree(run.path / "targets")
    (run.path / "targets").symlink_to(tmp_path / "else")
    rerun(tiny(), trials=1)
    assert [file.exists() for file in (*litter, *theirs)] == [False] * 2 + [True] * 3


def test_damaged_hops_are_named_and_trained_again(rerun: Any) -> None:
    run = rerun(tiny())
    before = contents(run)
    files = sorted((run.path / "hops").iterdir())
    files[0].write_bytes(b"junk")
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-3])
    events: list[Any] = []
    rerun(tiny(), trials=11, on_event=events.append)
    told = [e.message for e in events if isinstance(e, Notice)]
    assert [str(files[0]) in m for m in told].count(True) == 1
    assert [str(files[2]) in m for m in told].count(True) == 1
    again = contents(run)
    assert {name: again[name] for name in before} == before


def test_a_finished_run_is_mended_too(rerun: Any) -> None:
    run = rerun(tiny())
    before = contents(run)
    for file in (run.path / "hops").iterdir():
        file.write_bytes(b"junk")
    events: list[Any] = []
    again = rerun(tiny(), on_event=events.append)
    after = contents(again)
    assert {name: after[name] for name in before} == before
    assert not any(isinstance(e, TrialDone) for e in events)


@pytest.mark.parametrize("rungs", [1, 2])
def test_a_cut_after_the_last_rung_changes_nothing(rerun: Any, rungs: int) -> None:
    keys = {
        "rungs": rungs,
        "audit_fraction": 1.0,
        "n_startup_trials": 1,
        "noise_margin": 0.0,
        "gain_quantile": 0.0,
    }
    study = tiny(search={**keys, "trials": 8})
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


def test_what_a_failed_student_did_not_train_is_not_saved_by_pruning(rerun: Any) -> None:
    run = rerun(tiny(student={"learning_rate": [0.01, 1e30]}, search={"pruner": "none"}))
    assert "failed" in {t.state for t in run.trials}
    assert run.costs.paid == run.costs.unpruned


def test_a_poor_teacher_is_told(rerun: Any) -> None:
    events: list[Any] = []
    rerun(tiny(teacher={"epochs": 1, "learning_rate": 1e-9}), trials=1, on_event=events.append)
    (told,) = [e.message for e in events if isinstance(e, Notice)]
    assert "hardly better than chance; if it was loaded, see teacher.inputs" in told
    (done,) = [e for e in events if isinstance(e, HopEnded) and e.teacher]
    assert f"{done.accuracy:.2%}" in told


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return logits.sum(1)", "gave shape (2,)"),
        ("return 1.0", "gave float"),
        ("return logits.sum().detach()", "gave shape ()"),
        ("raise KeyError('k')", "raised KeyError: 'k'"),
        ("return terms['alpha']", "raised TypeError: 'Terms' object is not subscriptable"),
    ],
)
def test_a_users_loss_is_tried_before_anything_is_written(
    rerun: Any, tmp_path: Path, body: str, message: str
) -> None:
    (tmp_path / "own.py").write_text(f"def f(logits, labels, targets, terms):\n    {body}\n")
    study = tiny(student={"loss": "own:f"}).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(StudyError) as error:
        rerun(study)
    assert str(error.value).startswith("loss 'own:f' ")
    assert str(error.value).endswith(message)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "'own:f' should return an Optuna sampler, returned int"),
        ("raise OSError('no')", "'own:f' should take a seed, raised OSError: no"),
        (
            "import optuna; return optuna.samplers.GridSampler({'x': [1]})",
            "GridSampler raised ValueError: ",
        ),
    ],
)
def test_a_users_sampler_that_breaks_its_contract(
    rerun: Any, tmp_path: Path, body: str, message: str
) -> None:
    (tmp_path / "own.py").write_text(f"def f(seed):\n    {body}\n")
    study = tiny(search={"sampler": "own:f"}).model_copy(update={"root": str(tmp_path)})
    with pytest.raises(StudyError) as error:
        rerun(study)
    assert str(error.value).startswith(f"search.sampler: {message}")


def test_a_journal_that_is_removed_is_made_again_from_the_hops(rerun: Any) -> None:
    run = rerun(tiny(), trials=4)
    before, files = facts(run), contents(run)
    (run.path / "journal.log").unlink()
    events: list[Any] = []
    again = rerun(tiny(), trials=4, on_event=events.append)
    assert facts(again) == before
    assert contents(again) == files
    assert not any(isinstance(event, HopStarted) for event in events)


def test_no_trial_is_left_waiting(rerun: Any) -> None:
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


def test_latencies_of_another_run_must_fit(finished: tasearch.Run, rerun: Any) -> None:
    with pytest.raises(RunError) as error:
        rerun(tiny(student={"widths": [5]}))
    assert str(error.value).startswith(
        f"--latency-from {finished.path}: should measure width 5 with "
    )
    assert str(error.value).endswith(" params, has no measurement")
    with pytest.raises(RunError, match=r"should measure width 16 with \d"):
        rerun(tiny(model={"family": "cnn"}))


def test_latencies_are_of_the_same_shapes_and_backend(finished: tasearch.Run, rerun: Any) -> None:
    with pytest.raises(RunError) as error:
        rerun(tiny(latency={"batch": 7}))
    setup = "{'in_shape': [1, 8, 8], 'num_classes': 10, 'backend': 'torch', 'batch': %d, "
    setup += "'threads': 1}"
    assert str(error.value) == (
        f"--latency-from {finished.path}: was measured with {setup % 1}, "
        f"this study needs {setup % 7}"
    )


def test_a_run_may_take_some_of_anothers_latencies_again_and_again(rerun: Any) -> None:
    study = tiny(assistants={"widths": [8]}, student={"widths": [4, 2]})
    rerun(study, trials=1)
    assert len(rerun(study, trials=2).trials) == 2


def test_runs_keep_their_own_latencies(finished: tasearch.Run, rerun: Any, tmp_path: Path) -> None:
    rerun(tiny(), trials=1)
    measured = dict(finished.manifest.measured)
    measured[16] = replace(measured[16], latency_ms=measured[16].latency_ms * 2)
    RunDirectory(tmp_path).write(replace(finished.manifest, measured=measured))
    with pytest.raises(RunError, match="has measurements of its own, frozen when it was made"):
        tasearch.run(tiny(), trials=1, runs_dir=tmp_path / "again", latency_from=tmp_path)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        tasearch.Run.open("nothing", tmp_path)
    assert str(error.value) == (
        f"nothing: no such run; `tasearch run STUDY.toml` makes one in {tmp_path}/"
    )


@pytest.mark.parametrize("name", ["run.json", "measurements.json"])
def test_a_damaged_run_is_told(rerun: Any, name: str) -> None:
    run = rerun(tiny(), trials=1)
    (run.path / name).write_text('{"study": {')
    with pytest.raises(RunError, match=rf"{name}: is no JSON: "):
        RunDirectory(run.path).read()


def test_a_users_sampler_and_loss(tmp_path: Path, rerun: Any) -> None:
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


def test_an_unknown_sampler_is_refused_before_anything_is_written(
    tmp_path: Path, rerun: Any
) -> None:
    with pytest.raises(StudyError) as error:
        rerun(tiny(search={"sampler": "tpa"}))
    assert str(error.value) == "study: search.sampler: unknown name 'tpa'; did you mean 'tpe'?"
    assert not (tmp_path / "again").exists()


def test_cuda_without_a_device_is_refused(rerun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RunError, match="--device cuda: torch finds no CUDA device"):
        rerun(tiny(), device="cuda")


def test_events_tell_the_whole_story(rerun: Any) -> None:
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


# Assistants as students


ALIKE: dict[str, Any] = {  # an assistant is trained as a student is, so its chain is in the space
    "assistants": {"widths": [12, 8, 6], "epochs": 4},
    "student": {"widths": [8, 6, 4, 2]},
}
STRICT = {"gain_quantile": 0.0, "noise_margin": 0.0, "n_startup_trials": 1, "audit_fraction": 0.0}


def claims(run: tasearch.Run) -> dict[str, tuple[int, int]]:
    """Of each assistant's hop: index of the proposal that asked for it first, and its width."""
    found: dict[str, tuple[int, int]] = {}
    for index, trial in enumerate(proposed(run)):
        for use in trial.hops[:-1]:
            if use.width != run.manifest.study.teacher.width:
                found.setdefault(use.key, (index, use.width))
    return found


@pytest.mark.parametrize("sections", [{}, ALIKE, {**ALIKE, "search": STRICT}])
@pytest.mark.parametrize("max_concurrent", [1, 8])
def test_each_assistant_is_a_student_for_free(
    rerun: Any, sections: dict[str, Any], max_concurrent: int
) -> None:
    search = {**sections.get("search", {}), "trials": 30, "max_concurrent": max_concurrent}
    run = rerun(tiny(**{**sections, "search": search}))
    store, trials = Store(run.path), run.trials
    free = [t for t in trials if t.free]
    assert free
    own = {t.hops[-1].key: t for t in free}
    assert len(own) == len(free)
    index = {t.number: i for i, t in enumerate(proposed(run))}
    students = {t.hops[-1].key: t for t in proposed(run)}
    for key, (claim, width) in claims(run).items():
        student = students.get(key)
        if key not in own:
            assert student is not None
            assert student.state == "complete"
            continue
        if student is not None and student.state == "complete":  # not over when it was claimed
            assert index[student.number] > claim - max_concurrent
        trial = own[key]
        assert trial.chain[-1] == width
        before = next(t for t in reversed(trials[: trial.number]) if not t.free)
        assert before.number == [*index][claim]
        assert trial.chain == before.chain[: len(trial.chain)]
        assert trial.hops == before.hops[: len(trial.hops)]
        assert trial.recipe is not None
        assert before.recipe is not None
        assert trial.recipe["student"]["epochs"] == before.recipe["assistants"]["epochs"]
        assert trial.audit is None
        if trial.state == "pruned":  # with its chain, which cannot matter
            assert before.state == "pruned"
            assert trial.reason == before.reason
            assert trial.hops[-1].trained < trial.hops[-1].epochs
            continue
        record = store.record("hops", key)
        assert record is not None
        assert trial.state == "complete"
        assert (trial.accuracy, trial.curve) == (record.curve[-1], record.curve)
    assert {*own} <= {*claims(run)}
    assert sections.get("search") or {t.state for t in free} == {"complete"}


def test_a_free_trial_costs_nothing(finished: tasearch.Run) -> None:
    manifest = finished.manifest
    without = costs(proposed(finished), manifest.trained_samples, manifest.measured)
    assert any(t.free for t in finished.trials)
    assert finished.costs == without


def test_a_chain_that_was_a_free_trial_is_not_proposed_again(rerun: Any, tmp_path: Path) -> None:
    """The first proposal after the direct chains has two assistants; the others are random."""
    (tmp_path / "own.py").write_text(
        "import optuna\n"
        "class Sampler(optuna.samplers.RandomSampler):\n"
        "    def sample_relative(self, study, trial, search_space):\n"
        "        return {'assistants': 2, 'assistant_1': 12, 'assistant_2': 8, 'student': 2}\n"
        "def sampler(seed):\n"
        "    return Sampler(seed=seed)\n"
    )
    study = tiny(**ALIKE, search={"sampler": "own:sampler", "pruner": "none", "max_concurrent": 1})
    events: list[Any] = []
    run = rerun(study.model_copy(update={"root": str(tmp_path)}), trials=50, on_event=events.append)
    assert [(t.chain, t.free) for t in run.trials[4:7]] == [
        ((16, 12, 8, 2), False),
        ((16, 12), True),
        ((16, 12, 8), True),
    ]
    within = [t.chain for t in run.trials if t.chain != (16, 12)]
    assert len(within) == len(set(within)) == run.manifest.space == 20
    done = len(proposed(run))
    assert done < 20
    assert events[-1] == SearchFinished(reason="all 20 chains have been tried", done=done)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(run.path / "journal.log"))
    )
    trials = optuna.load_study(study_name="tiny", storage=storage).trials
    assert trials[5].params == {}
    assert trials[6].params == {"assistants": 1, "assistant_1": 12, "assistant_2": 0, "student": 8}


def test_assistants_over_the_budget_are_no_students(finished: tasearch.Run, rerun: Any) -> None:
    limit = finished.manifest.measured[8].params
    run = rerun(tiny(budget={"max_params": limit}), trials=18)
    assert {width for _, width in claims(run).values()} == {12, 8, 6}
    assert {t.chain[-1] for t in run.trials if t.free} == {8, 6}
    assert {t.hops[-1].key for t in run.trials if t.free} == {
        key for key, (_, width) in claims(run).items() if width <= 8
    }


def test_a_cut_after_any_trial_changes_nothing(rerun: Any, tmp_path: Path) -> None:
    """In one run, again and again: after each start and each end of a trial."""
    study = tiny(**ALIKE, search={**STRICT, "trials": 12, "max_concurrent": 3})
    straight = rerun(study, "straight")
    assert any(t.free for t in straight.trials)
    assert {t.state for t in straight.trials} == {"complete", "pruned"}
    seen: set[tuple[str, int]] = set()
    for cuts in range(99):  # noqa: B007
        events = events_of(study, runs_dir=tmp_path / "cut", latency_from=straight.path)
        for event in events:
            if isinstance(event, TrialStarted | TrialDone):
                started = isinstance(event, TrialStarted)
                moment = type(event).__name__, event.number if started else event.record.number
                if moment not in seen:
                    seen.add(moment)
                    break
        else:
            break
        events.close()
    assert cuts == len(straight.trials) + 12
    cut = tasearch.Run.open(tmp_path / "cut" / "tiny")
    assert facts(cut) == facts(straight)
    assert contents(cut) == contents(straight)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_free_trials_are_the_same_whoever_trains(rerun: Any, sampler: str) -> None:
    search = {**STRICT, "trials": 12, "max_concurrent": 3, "sampler": sampler}
    study = tiny(**ALIKE, search=search)
    one, three = rerun(study, "one"), rerun(study, "three", workers=3)
    assert any(t.free for t in one.trials)
    assert facts(one) == facts(three)
    assert contents(one) == contents(three)


def test_the_longest_way_is_begun_first(rerun: Any) -> None:
    """All is running from the start, and students have nothing after them."""
    events: list[Any] = []
    study = tiny(
        assistants={"widths": [8, 6], "max": 2},
        student={"widths": [4, 2]},
        training={"stack": "never"},
        search={"trials": 8, "sampler": "brute", "pruner": "none"},
    )
    rerun(study, on_event=events.append)
    first = next(i for i, e in enumerate(events) if isinstance(e, HopStarted))
    assert sum(isinstance(e, TrialStarted) for e in events[:first]) == 8
    begun = [e.label for e in events if isinstance(e, HopStarted)]
    assert begun[:2] == ["16", "16 → 8"]
    assert {*begun[2:4]} == {"16 → 6", "16 → 8 → 6"}


def begun_at_once(events: list[Any]) -> int:
    """Proposals before anything is over."""
    first = next(i for i, e in enumerate(events) if isinstance(e, TrialDone))
    return sum(isinstance(e, TrialStarted) for e in events[:first])


def test_baselines_overlap_whatever_the_lookahead(rerun: Any) -> None:
    """A search cut off among them goes on to the same end."""
    study = tiny(search={"trials": 8, "max_concurrent": 1}, student={"loss": ["ce", "kd"]})
    events: list[Any] = []
    whole = rerun(study, "whole", on_event=events.append)
    assert begun_at_once(events) == 6
    bounded: list[Any] = []  # by the time: what is begun is finished, so not all is begun
    search = {"trials": 8, "max_concurrent": 1, "max_hours": 9.0}
    rerun(tiny(search=search), "bounded", on_event=bounded.append)
    assert begun_at_once(bounded) == 1
    cut = events_of(study, runs_dir=whole.path.parent.parent / "cut", latency_from=whole.path)
    while not isinstance(next(cut), TrialDone):
        pass
    cut.close()
    assert facts(rerun(study, "cut")) == facts(whole)
