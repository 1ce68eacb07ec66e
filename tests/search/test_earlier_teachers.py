"""Studies that search for the epoch at which a teacher teaches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tasearch
from tasearch.chains.chain import Chain
from tasearch.chains.hop import ModelSpec
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.confirmation.fresh import Block
from tasearch.exports.chain_file import pinned_study
from tasearch.report.rows import rows_of
from tasearch.runs.folder_check import CONFIRM
from tasearch.runs.store import Store, replicate
from tasearch.runs.trial_attributes import chain_of
from tasearch.runs.verdicts import LookPlan
from tasearch.search.chain_space import make_space
from tasearch.search.encoding import ChainEncoder
from tasearch.search.prepare import prepare
from tasearch.train.soft_targets import view_logits
from tasearch.train.trainer import Trainer
from tests.helpers.commands import command
from tests.helpers.runs import contents, events_of, facts, interrupt_everywhere, proposed
from tests.helpers.studies import tiny

OPTIONS = [1.0, 0.5, "progressive"]


def small(options: Any = OPTIONS, **sections: Any) -> Study:
    """A study of two student widths with an assistant, and no student that may teach.

    Its modes are given: with several replicates they are measured anew.
    """
    keys: dict[str, Any] = {
        "name": "early",
        "teacher": {"epochs": 4},
        "assistants": {"max": 1, "widths": [8], "epochs": 2, "temperature": 2.0},
        "student": {"widths": [6, 4], "epochs": 4, "teacher_epoch": options},
        "training": {"modes": dict.fromkeys(("16", "8", "6", "4"), "fp32")},
        "search": {"trials": 10, "pruner": "none"},
    }
    for name, value in sections.items():
        keys[name] = {**keys.get(name, {}), **value} if isinstance(value, dict) else value
    return tiny(**keys)


@pytest.fixture(scope="module")
def run(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """A finished run; not to be written to."""
    return tasearch.run(
        small(), runs_dir=tmp_path_factory.mktemp("early"), latency_from=finished.path
    )


def trained_twice(run: tasearch.Run) -> set[str]:
    """Keys of the hops that were trained to their end more than once."""
    ends = Counter(e["hop"] for e in run.directory.events() if e["event"] == "end")
    return {key for key, times in ends.items() if times > 1}


def test_every_teacher_epoch_is_tried_without_assistants(run: tasearch.Run) -> None:
    direct = [trial for trial in proposed(run) if len(trial.chain) == 2]
    found = [(t.chain[1], (t.recipe or {})["student"].get("teacher_epoch", 1.0)) for t in direct]
    assert len(found) == 6
    assert {*found} == {(width, value) for value in OPTIONS for width in (6, 4)}
    assert len({trial.accuracies or trial.curve for trial in direct}) == 6
    assert run.manifest.space == 12
    assert trained_twice(run) == set()


def test_encoder_has_a_feature_for_each_teacher_epoch(run: tasearch.Run) -> None:
    study, measured = small([0.25, 0.5, "progressive"]), run.manifest.measured
    teacher = ModelSpec(width=16, recipe=study.teacher_recipe())
    encoder = ChainEncoder(make_space(study, teacher, measured), measured, (6, 4))
    recipe = study.recipes("student").one_per_loss()[0]
    vectors = {
        value: encoder.encode(
            Chain(
                models=(
                    teacher,
                    ModelSpec(width=6, recipe=replace(recipe, teacher_epoch=value)),
                )
            )
        )
        for value in (0.25, 0.5, "progressive", 1.0)  # 1.0 is the assistants'
    }
    base = np.array(vectors[0.25])
    assert np.linalg.matrix_rank([np.array(v) - base for v in vectors.values()]) == 3


def test_run_names_earlier_teachers_in_words(
    run: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {row.trial: (row.recipe, row.searched) for row in rows_of(run)}
    for trial in run.trials:
        value = (trial.recipe or {})["student"].get("teacher_epoch", 1.0)
        expected = {1.0: "", 0.5: "teacher at 50 %", "progressive": "progressive teacher"}[value]
        for text in words[trial.number]:
            assert expected in text
            assert ("teacher" in text) == bool(expected)
        _, out, _ = command(
            capsys, "best", run.path, "--trial", trial.number, "--runs-dir", run.path.parent
        )
        assert (expected in out) and ("% of its" not in out)


def test_enqueue_names_a_teacher_epoch(rerun: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = rerun(small(["progressive", 0.5]), trials=1)
    options = ("--teacher-epoch", "0.5", "--runs-dir", run.path.parent)
    code, out, _ = command(capsys, "enqueue", run.path, "8-4", *options)
    assert code == 0
    assert "student_teacher_epoch 0.5" in out
    code, _, err = command(capsys, "enqueue", run.path, "4", "--teacher-epoch", "0.3")
    assert code != 0
    assert 'student.teacher_epoch: should be one of "progressive", 0.5, found "0.3"' in err
    again = rerun(small(["progressive", 0.5]), trials=5)  # after the four direct chains
    assert any(
        t.chain == (16, 8, 4) and (t.recipe or {})["student"]["teacher_epoch"] == 0.5
        for t in again.trials
    )


def test_lost_snapshot_is_made_again(rerun: Any) -> None:
    whole = rerun(small(), trials=7)
    before, known = contents(whole), facts(whole)
    snapshots = sorted((whole.path / "snapshots").iterdir())
    assert len(snapshots) == 3 + 1  # the teacher's, and the assistant's
    for file in (snapshots[0], snapshots[-1]):
        file.unlink()
        again = rerun(small(), trials=7)
        assert contents(again) == before
        assert facts(again) == known
    assert trained_twice(whole) == {file.name[:32] for file in snapshots}


def test_added_option_trains_the_teacher_again_to_the_same_bits(rerun: Any) -> None:
    plain = rerun(small(1.0), trials=3)
    before, old = contents(plain), facts(plain)
    assert not (plain.path / "snapshots").exists()
    grown = rerun(small(), trials=9)
    after = contents(grown)
    hops = [name for name in before if name.startswith("hops/")]
    assert {name: after[name] for name in hops} == {name: before[name] for name in hops}
    assert [t["accuracy"] for t in facts(grown)[: len(old)]] == [t["accuracy"] for t in old]
    values = {(t.recipe or {})["student"].get("teacher_epoch") for t in grown.trials}
    assert values == {None, 0.5, "progressive"}
    teach = {Path(name).name[:32] for name in after if name.startswith("snapshots/")}
    assert trained_twice(grown) == teach
    assert len(teach) == 2


@pytest.mark.slow
def test_interruption_anywhere_changes_no_result(run: tasearch.Run, tmp_path: Path) -> None:
    options = {"runs_dir": tmp_path, "latency_from": str(run.path)}
    assert interrupt_everywhere(lambda: events_of(small(), **options)) > 10
    again = tasearch.Run.open(tmp_path / "early")
    assert facts(again) == facts(run)
    assert contents(again) == contents(run)


@pytest.mark.slow
@pytest.mark.parametrize(("replicates", "mode"), [(1, "fp32"), (3, "fp32"), (3, "fp32 x3")])
def test_workers_change_no_result(
    run: tasearch.Run, tmp_path: Path, replicates: int, mode: str
) -> None:
    """Also with replicates that the workers divide, and with stacked ones."""
    modes = dict.fromkeys(("16", "8", "6", "4"), mode)
    study = small(search={"replicates": replicates, "trials": 8}, training={"modes": modes})
    one = tasearch.run(study, runs_dir=tmp_path / "1", latency_from=run.path)
    two = tasearch.run(study, runs_dir=tmp_path / "2", latency_from=run.path, workers=2)
    assert facts(two) == facts(one)
    assert contents(two) == contents(one)


def test_chain_file_has_the_teacher_epochs_of_its_chain(run: tasearch.Run, tmp_path: Path) -> None:
    teacher = ModelSpec(width=16, recipe=run.manifest.study.teacher_recipe())
    for trial in run.trials:
        built: Any = SimpleNamespace(run=run, trial=trial)
        study = pinned_study(built, tmp_path)
        (chain,) = make_space(study, teacher, run.manifest.measured)
        theirs = chain_of(vars(trial), teacher).hop()
        assert chain.hop().canonical_lineage == theirs.canonical_lineage


@pytest.mark.slow
def test_export_says_how_the_teacher_taught_and_trains_the_same(
    run: tasearch.Run, tmp_path: Path
) -> None:
    for value, words in ((0.5, "teacher at 50 %"), ("progressive", "progressive teacher")):
        trial = next(
            t
            for t in run.trials
            if len(t.chain) == 2 and (t.recipe or {})["student"].get("teacher_epoch") == value
        )
        out = tmp_path / f"out-{value}"
        tasearch.export(run, out, trial=trial.number)
        card = (out / "README.md").read_text("utf-8")
        assert f"the student learned from an earlier epoch: {words}." in card
        again = tasearch.run(load_study(out / "chain.toml"), runs_dir=tmp_path)
        mine, theirs = contents(again), contents(run)
        assert {name: theirs[name] for name in mine} == mine
        assert proposed(again)[0].accuracy == trial.accuracy


@pytest.mark.slow
def test_confirmation_has_the_runs_early_teacher(run: tasearch.Run, tmp_path: Path) -> None:
    """Each replicate of a block learns from the first replicate of the run's own teacher, as it
    was at the rung."""
    study = small(0.5, name="confirmed", search={"replicates": 2, "trials": 4})
    own = tasearch.run(study, runs_dir=tmp_path, latency_from=run.path)
    limit = own.manifest.measured[6].params
    found = tasearch.confirm(own.path, max_params=limit)
    assert found.finished
    assert not any(c.faults for c in found.comparisons)
    assert found.comparisons[0].second.recipe["student"]["teacher_epoch"] == 0.5
    prepared = prepare(study, RunOptions(runs_dir=tmp_path))
    plan = LookPlan(alpha=0.05, margin=0.01)
    block = Block(prepared=prepared, number=0, pairs=plan.pairs[0], plan=plan, pool=None)
    fresh = Trainer(
        study=block.study,
        models=block.models,
        data=prepared.data,
        store=Store(own.path / CONFIRM),
        device=torch.device("cpu"),
        modes=own.manifest.modes,
    )
    student = block.chain(found.comparisons[0].second).hop()
    assert fresh.finished(student)  # it is the one that was confirmed
    teacher = own.trials[0].hops[0]
    rungs = {}
    for rung in (2, 4):  # the earlier epoch, and the end
        name = f"snapshots/{teacher.key}-0-{rung}" if rung < 4 else f"hops/{teacher.key}"
        kind, _, stem = name.partition("/")
        saved = own.directory.store().load(kind, stem)
        assert saved is not None
        net = prepared.models.build(16)
        net.load_state_dict(replicate(saved[0], 0))
        rungs[rung] = view_logits(net.eval(), fresh.views[0], 0).half()
    prepared.close()
    targets = fresh._soft_targets(student)(0)
    assert len(targets) == plan.pairs[0]
    for each in targets:
        assert torch.equal(each[0], rungs[2])
        assert not torch.equal(each[0], rungs[4])


@pytest.mark.slow
def test_confirmation_asks_for_a_lost_snapshot(run: tasearch.Run, tmp_path: Path) -> None:
    study = small(0.5, name="lost", search={"trials": 4})
    own = tasearch.run(study, runs_dir=tmp_path, latency_from=run.path)
    limit = own.manifest.measured[6].params
    (own.path / "snapshots" / f"{own.trials[0].hops[0].key}-0-2.safetensors").unlink()
    with pytest.raises(tasearch.TasearchError) as error:
        tasearch.confirm(own.path, max_params=limit)
    assert str(error.value) == (
        f"{own.path}: the weights of the teacher at rung 2 are missing or damaged; "
        f"`tasearch run` on the same study makes them again"
    )
    tasearch.run(study, runs_dir=tmp_path)
    assert tasearch.confirm(own.path, max_params=limit).finished


def test_report_names_earlier_teachers(
    run: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    code, _, _ = command(capsys, "report", run.path, "--out", page)
    assert code == 0
    for words in ("teacher at 50 %", "progressive teacher"):
        assert words in page.read_text("utf-8")
