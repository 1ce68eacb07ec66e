"""Confirmations of a small run, from the plan to the verdicts."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tasearch
from tasearch.chains.hop import Hop
from tasearch.chains.recipe import LABELS_ONLY
from tasearch.config.run_options import RunOptions
from tasearch.confirmation import confirm as confirming
from tasearch.confirmation.start import confirm_events
from tasearch.data import load_data, load_test
from tasearch.errors import NothingFits, RunError, TrainingError
from tasearch.models import Models
from tasearch.pareto.budget import Budget
from tasearch.runs.events import ConfirmationFinished, Event, HopStarted, LookDone, Notice
from tasearch.runs.store import Store, replicate
from tasearch.runs.test_reads import reads_of_test
from tasearch.runs.verdict_file import FILE, REMEDY
from tasearch.runs.verdicts import Confirmation
from tasearch.train.trainer import Trainer
from tests.helpers.studies import tiny


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """A run with chains of both kinds, and labels alone, at two student widths."""
    study = tiny(
        name="confirmed",
        student={"widths": [6, 4], "loss": ["kd", "ce"], "epochs": 2},
        search={"trials": 12, "pruner": "none"},
    )
    return tasearch.run(study, runs_dir=tmp_path_factory.mktemp("searched"))


@pytest.fixture
def run(searched: tasearch.Run, tmp_path: Path) -> tasearch.Run:
    """A copy of it, to be written to."""
    shutil.copytree(searched.path, tmp_path / "runs/confirmed")
    return tasearch.Run.open(tmp_path / "runs/confirmed")


def events(run: tasearch.Run, budget: Budget | None = None, workers: int = 1) -> list[Event]:
    options = RunOptions(runs_dir=run.path.parent, workers=workers)
    return [*confirm_events(run, options, budget)]


def small(run: tasearch.Run) -> Budget:
    """The budget of the larger student, so that no assistant is the best student."""
    return Budget(max_params=run.manifest.measured[6].params)


def hop_files(run: tasearch.Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (run.path / "confirm/hops").iterdir()}


def confirmation(told: list[Event]) -> Confirmation:
    assert isinstance(told[-1], ConfirmationFinished)
    return told[-1].confirmation


@pytest.mark.slow
def test_front_is_compared_at_equal_recipes_on_common_seeds(run: tasearch.Run) -> None:
    told = events(run)
    found = confirmation(told)
    assert (
        {6, 4} <= {c.width for c in found.comparisons} <= {c.chain[-1] for c in run.front.members}
    )
    for c in found.comparisons:
        assert c.verdict.settled
        assert len(c.first.accuracies) == len(c.second.accuracies) in found.plan.pairs
        assert len(c.first.test) == len(c.second.test) == len(c.first.accuracies)
        for arm in (c.first, c.second):
            assert arm.quality is not None
            assert arm.quality.accuracy == arm.test_accuracy
        assert c.first.chain[0] == c.second.chain[0] == 16
        own, other = c.first.recipe["student"], c.second.recipe["student"]
        if c.question == "assistants":
            assert len(c.first.chain) > len(c.second.chain) == 2
            assert own == other
            best = max(
                t.accuracy or 0.0
                for t in run.trials
                if t.chain[1:]
                and len(t.chain) > 2
                and t.chain[-1] == c.width
                and t.state == "complete"
            )
            assert any(
                t.accuracy == best and c.first.is_chain(t.chain, t.recipe or {}) for t in run.trials
            )
        else:
            assert other["loss"] == LABELS_ONLY != own["loss"]
    looks = [event for event in told if isinstance(event, LookDone)]
    assert looks[-1].confirmation.comparisons[0].verdict == found.comparisons[0].verdict
    assert tasearch.Run.open(run.path).confirmations == [found]


@pytest.fixture
def narrow(tmp_path: Path) -> tasearch.Run:
    """A run whose student of width 6 has been distilled only, not trained on labels alone."""
    study = tiny(
        name="narrow",
        student={"widths": [6, 4], "loss": ["kd", "ce"], "epochs": 6},
        search={"trials": 1},
    )
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    tasearch.enqueue(run, "6", student={"loss": "kd"})
    return tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)


def labels(run: tasearch.Run) -> list[str]:
    """The chains of a run in words, in their order."""
    return [trial.label for trial in run.trials]


@pytest.mark.slow
def test_untried_student_of_a_verdict_is_tried_first(narrow: tasearch.Run) -> None:
    before = labels(narrow)
    assert before == ["4 (no teacher)", "16 → 6"]
    told = events(narrow)
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert (
        "trained first, as the search has not tried what is compared: 6 (no teacher)"
    ) in notices
    after = tasearch.Run.open(narrow.path)
    assert labels(after) == [*before, "6 (no teacher)"]
    for comparison in confirmation(told).comparisons:
        for arm in (comparison.first, comparison.second):
            trial = after.trial_of(arm)
            assert trial is not None and trial.state == "complete"
    again = events(after)
    assert again[-1] == told[-1]
    assert not any(isinstance(event, HopStarted) for event in again)


@pytest.mark.slow
def test_best_student_without_assistants_is_compared_by_a_rule(narrow: tasearch.Run) -> None:
    budget = Budget(max_params=narrow.manifest.measured[6].params)
    found = confirmation(events(narrow, budget))
    assert [c.label for c in found.comparisons if c.question == "assistants"] == [
        "16 → 12 → 6 against 16 → 6"
    ]
    after = tasearch.Run.open(narrow.path)
    assert labels(after)[2:] == ["16 → 12 → 6", "6 (no teacher)", "16 → 12"]
    again = events(after, budget)
    assert confirmation(again) == found
    assert not any(isinstance(event, HopStarted) for event in again)


@pytest.mark.slow
def test_kill_while_a_student_of_a_verdict_is_queued_changes_nothing(
    narrow: tasearch.Run, tmp_path: Path
) -> None:
    shutil.copytree(narrow.path, tmp_path / "whole/narrow")
    whole = events(tasearch.Run.open(tmp_path / "whole/narrow"))
    tasearch.enqueue(narrow, "6", student={"loss": LABELS_ONLY})
    assert events(tasearch.Run.open(narrow.path))[-1] == whole[-1]
    both = (narrow.path, tmp_path / "whole/narrow")
    assert len({tuple(labels(tasearch.Run.open(path))) for path in both}) == 1


@pytest.mark.slow
def test_seeds_are_fresh_and_the_teacher_is_the_runs(run: tasearch.Run) -> None:
    found = confirmation(events(run, small(run)))
    width = found.comparisons[0].width
    fresh = Store(run.path / "confirm")
    keys = fresh.finished()
    assert not {*keys} & {*run.directory.store().finished()}
    records = [fresh.record("hops", key) for key in keys]
    teachers = [r for r in records if r is not None and r.widths == (16,)]
    searched = next(t for t in run.trials if t.hops[0].width == 16).hops[0].accuracy
    assert teachers
    for record in teachers:  # loaded in each block, and evaluated
        assert {*record.accuracies} == {searched}
        assert record.recipes == (None,)
    students = [r for r in records if r is not None and r.widths[-1] == width]
    accuracies = [a for r in students for a in r.accuracies]
    assert len({*accuracies}) > len(found.plan.pairs)  # seeds differ


def test_finished_confirmation_is_not_made_again(run: tasearch.Run) -> None:
    first = events(run, small(run))
    again = events(run, small(run))
    assert again == [first[-1]]
    assert [read.by for read in reads_of_test(run.path)] == ["confirm"]


@pytest.mark.slow
def test_interruption_at_any_event_changes_nothing(run: tasearch.Run, tmp_path: Path) -> None:
    whole = confirmation(events(run, small(run)))
    hops = hop_files(run)
    shutil.rmtree(run.path / "confirm")
    options = RunOptions(runs_dir=run.path.parent)
    told = list[Event]()
    stops = -1
    while not told or not isinstance(told[-1], ConfirmationFinished):
        with contextlib.closing(confirm_events(run, options, small(run))) as going:
            told = [*itertools.islice(going, 9)]
        stops += 1
    assert stops > 2
    assert confirmation(told) == whole
    assert hop_files(run) == hops


@pytest.mark.slow
def test_workers_change_no_verdict(run: tasearch.Run) -> None:
    one = confirmation(events(run))
    shutil.rmtree(run.path / "confirm")
    assert confirmation(events(run, workers=2)) == one


@pytest.mark.slow
def test_test_part_is_read_once_and_after_the_last_look(
    run: tasearch.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = list[int]()
    told = list[Event]()

    def counted(study: tasearch.Study) -> object:
        reads.append(len(told))
        return load_test(study)

    monkeypatch.setattr(confirming, "load_test", counted)
    options = RunOptions(runs_dir=run.path.parent)
    for event in confirm_events(run, options, small(run)):
        told.append(event)
    assert reads == [len(told) - 1]
    assert isinstance(told[-2], LookDone)


@pytest.mark.slow
def test_quality_is_the_mean_of_the_fresh_students(run: tasearch.Run) -> None:
    """As their stored weights give it, beside the run's own teacher."""
    found = confirmation(events(run, small(run))).comparisons[0].second
    study, data = run.manifest.study, load_data(run.manifest.study)
    test, models = load_test(study), Models.for_study(study, data)
    x = (torch.tensor(test.x) - models.mean) / models.std
    fresh, width = Store(run.path / "confirm"), found.chain[-1]
    key = next(t for t in run.trials if t.hops[0].width == 16).hops[0].key

    def predicted(store: Store, key: str, number: int) -> torch.Tensor:
        saved = store.load("hops", key)
        assert saved is not None
        net = models.build(saved[1].widths[-1])
        net.load_state_dict(replicate(saved[0], number))
        return net.eval()(x).argmax(1)

    teacher = predicted(run.directory.store(), key, 0)
    records = {key: fresh.record("hops", key) for key in fresh.finished()}
    own = [
        predicted(fresh, key, number)
        for key, r in records.items()
        if r is not None and r.widths == (16, width) and r.recipes[-1] == found.recipe["student"]
        for number in range(len(r.curves))
    ]
    assert len(own) == len(found.test)
    assert found.quality is not None
    shares = [float((net == teacher).double().mean()) for net in own]
    assert found.quality.agreement == pytest.approx(sum(shares) / len(shares))
    assert found.quality.class_samples == tuple(np.bincount(test.y))
    zeros = [float((net[test.y == 0] == 0).double().mean()) for net in own]
    assert found.quality.class_accuracies[0] == pytest.approx(sum(zeros) / len(zeros))


@pytest.mark.slow
def test_failed_training_drops_its_pairs_and_says_why(
    run: tasearch.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, width = Trainer.begin, run.front.best(small(run)).chain[-1]
    blocks = list[int]()

    def failing(own: Trainer, hop: Hop, part: Any = ()) -> Any:
        blocks.append(own.study.seed)
        if hop.model.width == width and own.study.seed == blocks[0]:
            raise TrainingError("no luck")
        return begin(own, hop, part)

    monkeypatch.setattr(Trainer, "begin", failing)
    found = confirmation(events(run, small(run)))
    lost = found.plan.pairs[0]
    for c in found.comparisons:
        assert c.first.accuracies[:lost] == c.first.test[:lost] == (None,) * lost
        assert None not in c.first.accuracies[lost:]
        assert c.verdict.pairs == len(c.first.accuracies) - lost
        assert c.faults
        assert all("no luck" in fault for fault in c.faults)


def test_damaged_verdicts_are_refused_before_anything_is_trained(run: tasearch.Run) -> None:
    (run.path / FILE).parent.mkdir()
    (run.path / FILE).write_text("{")
    with pytest.raises(RunError) as error:
        events(run, small(run))
    assert str(error.value).startswith(f"{run.path / FILE}: is no JSON: ")
    assert str(error.value).endswith(REMEDY)
    assert not (run.path / "confirm/hops").exists()


@pytest.mark.slow
def test_largest_assistant_gives_way_to_a_student_that_can_be_compared(run: tasearch.Run) -> None:
    assert run.best().chain[-1] == 12  # no assistant is larger, and labels alone are not searched
    told = events(run, Budget())
    (width,) = {c.width for c in confirmation(told).comparisons}
    assert width == next(c.chain[-1] for c in run.front.candidates if c.chain[-1] < 12)
    assert any(
        isinstance(event, Notice)
        and event.message.endswith(f"of width {width}, is confirmed")
        and "ends in width 12" in event.message
        for event in told
    )


def test_nothing_to_compare_is_refused(rerun: Any) -> None:
    run = rerun(tiny(name="direct", assistants={"max": 0}, search={"trials": 2}), "direct")
    with pytest.raises(NothingFits, match="nothing to compare"):
        events(run, Budget())
    assert not (run.path / FILE).exists()


@pytest.mark.slow
def test_best_ships_what_the_verdicts_say(run: tasearch.Run) -> None:
    found = confirmation(events(run))
    opened = tasearch.Run.open(run.path)
    for member in run.front.members:
        ship = opened.shipped(member)
        of = opened.confirmation_of(member)
        if of is None:
            assert ship == member
            continue
        assert of == found
        helps = {c.question: c.verdict.answer == "helps" for c in found.of_width(member.chain[-1])}
        if not helps.get("distillation", True):
            assert ship.recipe["student"]["loss"] == LABELS_ONLY
        elif not helps.get("assistants", True):
            assert len(ship.chain) == 2


def test_renamed_folder_is_refused(run: tasearch.Run) -> None:
    moved = run.path.rename(run.path.parent / "other")
    with pytest.raises(RunError, match="should have the name of its study, 'confirmed'"):
        events(tasearch.Run.open(moved), Budget())


def test_plan_is_written_before_the_first_seed(run: tasearch.Run) -> None:
    options = RunOptions(runs_dir=run.path.parent)
    with contextlib.closing(confirm_events(run, options, small(run))) as going:
        first = next(event for event in going if isinstance(event, HopStarted))
        assert first.epoch == 0
        (planned,) = tasearch.Run.open(run.path).confirmations
    assert not planned.finished
    assert all(replace(c, verdict=c.verdict).first.accuracies == () for c in planned.comparisons)


def test_python_function_returns_the_same_verdicts(run: tasearch.Run) -> None:
    told = list[Event]()
    limit = run.manifest.measured[6].params
    found = tasearch.confirm(run.path, max_params=limit, on_event=told.append)
    assert confirmation(told) == found
    assert tasearch.confirm(run, max_params=limit) == found
    with pytest.raises(RunError, match="front: goes without a budget"):
        tasearch.confirm(run, front=True, max_params=limit)
    with pytest.raises(RunError, match="on_event: should be a function"):
        tasearch.confirm(run, on_event=3)  # type: ignore[arg-type]
