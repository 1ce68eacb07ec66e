"""Rows, gains, the answer and the head: what a page says, as plain values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.pareto.hypervolume import hypervolume
from tasearch.report.answer import accuracy_words, answer_of
from tasearch.report.gains import gains_of, question_words
from tasearch.report.head import failures, head_of
from tasearch.report.info import report_info
from tasearch.report.intervals import apart
from tasearch.report.rows import rows_of
from tasearch.report.search_cost import costs_beyond_teacher, hop_tree, spent_of
from tasearch.report.text import searched_text
from tasearch.runs.importance import importance_of
from tasearch.runs.records import TrialRecord
from tests.helpers.runs import events_of
from tests.helpers.studies import tiny

# Rows


def test_every_trial_has_a_row(budgeted: tasearch.Run) -> None:
    rows = rows_of(budgeted)
    assert [row.trial for row in rows] == [trial.number for trial in budgeted.trials]
    members = {c.trial for c in budgeted.front.members}
    assert {row.trial for row in rows if row.front} == members
    finished = {c.trial for c in budgeted.front.candidates}
    assert {row.trial for row in rows if row.finished} == finished
    pruned = [row for row in rows if row.state == "pruned"]
    assert pruned
    assert all(row.reason and not row.finished for row in pruned)


def test_row_knows_the_models_that_its_student_learns_from(budgeted: tasearch.Run) -> None:
    rows = rows_of(budgeted)
    kinds = {row.teaching for row in rows if row.finished}
    assert kinds == {"no teacher", "direct", "assistants"}
    for row in rows:
        if not row.finished:
            continue
        chain = budgeted.trials[row.trial].chain
        widths = tuple(model.width for model in row.models)
        assert widths == (chain[-1:] if row.teaching == "no teacher" else chain)
        assert all(model.accuracy is not None for model in row.models)
        assert row.models[-1].accuracy == row.accuracy
        assert (row.models[0].role == "teacher") == (row.teaching != "no teacher")


def test_leads_are_over_the_same_student(budgeted: tasearch.Run) -> None:
    rows = [row for row in rows_of(budgeted) if row.finished]
    led = [row for row in rows if row.over_direct is not None]
    assert led
    for row in led:
        own = (budgeted.trials[row.trial].recipe or {})["student"]
        twins = [
            r
            for r in rows
            if r.teaching == "direct"
            and r.width == row.width
            and (budgeted.trials[r.trial].recipe or {})["student"] == own
        ]
        assert row.teaching == "assistants"
        assert row.over_direct == row.accuracy - twins[0].accuracy  # type: ignore[operator]
    for row in rows:
        alone = [r.accuracy for r in rows if r.teaching == "no teacher" and r.width == row.width]
        if row.teaching == "no teacher" or not alone:
            assert row.over_labels is None
        else:
            assert row.over_labels == row.accuracy - max(alone)  # type: ignore[type-var, operator]


def test_smaller_student_is_the_smallest_that_is_not_apart(budgeted: tasearch.Run) -> None:
    rows = {row.trial: row for row in rows_of(budgeted)}
    choices = sorted((rows[c.trial] for c in budgeted.choices), key=lambda row: row.params)
    for row in rows.values():
        if not row.finished:
            assert row.smaller is None
            continue
        alike = [
            m.trial
            for m in choices
            if m.params < row.params
            and not apart(row.accuracy, row.interval, m.accuracy, m.interval)  # type: ignore[arg-type]
        ]
        assert row.smaller == (alike[0] if alike else None)


def test_searched_text_tells_what_differs() -> None:
    recipes: list[dict[str, Any]] = [
        {"student": {"loss": "kd", "temperature": 2.0, "alpha": 0.9}, "assistants": None},
        {"student": {"loss": "kd", "temperature": 4.0, "alpha": 0.9}, "assistants": None},
        {"student": {"loss": "ce", "temperature": 2.0, "alpha": 0.9}, "assistants": None},
        {
            "student": {"loss": "kd", "temperature": 4.0, "alpha": 0.9},
            "assistants": {"loss": "kd", "learning_rate": 0.01},
        },
        {
            "student": {"loss": "kd", "temperature": 4.0, "alpha": 0.9},
            "assistants": {"loss": "kd", "learning_rate": 0.1},
        },
    ]
    assert searched_text(recipes) == [
        "loss kd, T 2",
        "loss kd, T 4",
        "loss ce",
        "loss kd, T 4, assistants' lr 0.01",
        "loss kd, T 4, assistants' lr 0.1",
    ]
    assert searched_text(recipes[:1]) == [""]


# Does an assistant help?


def test_gains_have_every_chain_with_assistants(budgeted: tasearch.Run) -> None:
    rows = rows_of(budgeted)
    gains = gains_of(budgeted, rows)
    assert [g.width for g in gains] == sorted({r.width for r in rows if r.finished}, reverse=True)
    shown = {row.trial for gain in gains for row in gain.rows}
    assert shown == {row.trial for row in rows if row.over_direct is not None}
    assert all(gain.answer == "not confirmed" for gain in gains)
    assert all(gain.words.startswith(("not confirmed: ", "not known: ")) for gain in gains)


def test_gain_of_a_confirmed_width_is_its_verdict(confirmed: tasearch.Run) -> None:
    rows = rows_of(confirmed)
    gains = {gain.width: gain for gain in gains_of(confirmed, rows)}
    ((comparison,),) = ([*found.comparisons] for found in confirmed.confirmations)
    own = gains.pop(comparison.width)
    assert own.answer == "helps"
    assert own.words.startswith("assistants help: +9.3 points")
    assert {gain.answer for gain in gains.values()} == {"not confirmed"}
    known = [d for d in comparison.differences if d is not None]
    middle = sum(known) / len(known)
    spread = (sum((d - middle) ** 2 for d in known) / (len(known) - 1)) ** 0.5
    assert own.noise == pytest.approx(1.96 * spread)


# The answer


def test_answer_is_the_best_student_and_says_that_it_is_not_confirmed(
    budgeted: tasearch.Run,
) -> None:
    answer = answer_of(budgeted, rows_of(budgeted))
    assert answer is not None
    best = budgeted.best()
    assert answer.row.trial == best.trial
    assert f"{best.accuracy:.1%} of {budgeted.manifest.validation} validation" in answer.accuracy
    assert "not confirmed" in answer.accuracy
    assert answer.command == f"tasearch export {budgeted.path} --trial {best.trial} --out winner"


def test_confirmed_accuracy_states_the_shrinkage(confirmed: tasearch.Run) -> None:
    rows = rows_of(confirmed)
    (row,) = (r for r in rows if r.confirmed is not None and r.teaching == "assistants")
    assert row.confirmed is not None
    assert row.confirmed.seeds == 3
    assert row.confirmed.accuracy == pytest.approx(0.98)
    assert question_words(confirmed, row.width, "assistants", rows).startswith("assistants help: ")
    words = accuracy_words(confirmed, row)
    gone = 100 * ((row.accuracy or 0) - 0.98)
    assert "98.0% of" in words
    assert f"{abs(gone):.1f} points {'more' if gone >= 0 else 'less'}" in words
    assert "80.0% of the test part" in words
    assert "not confirmed" not in words


def test_run_without_a_finished_student_has_no_answer(
    tmp_path: Path, finished: tasearch.Run
) -> None:
    events = events_of(tiny(), runs_dir=tmp_path, latency_from=finished.path)
    for _ in range(3):
        next(events)
    events.close()
    info = report_info(tasearch.Run.open(tmp_path / "tiny"))
    assert info.answer is None
    assert info.choices == ()
    assert any("The run is not over: 0 of 10 trials" in words for words in info.head.warnings)


# The head


def test_head_warns_of_nothing_without_need(finished: tasearch.Run) -> None:
    notices, best = finished.manifest.timing.notices, finished.best()
    unseen = 0 in finished.trials[best.trial].recalls
    warnings = head_of(finished).warnings
    assert len(warnings) == len(notices) + unseen
    assert any("(recall 0)" in warning for warning in warnings) == unseen


def test_failures_are_grouped_by_reason(finished: tasearch.Run) -> None:
    def failed(number: int, reason: str, retry: int | None = None) -> TrialRecord:
        return TrialRecord(number=number, state="failed", reason=reason, retry_of=retry)

    run = tasearch.Run.open(finished.path)
    run.trials = [
        failed(0, "the loss was nan in epoch 3"),
        failed(1, "out of memory"),
        failed(2, "the loss was nan in epoch 14"),
        failed(3, "killed"),
        failed(4, "out of memory", retry=3),
        failed(5, "the loss was nan in epoch 1"),
    ]
    expected = {"the loss was nan in epoch 3": 3, "out of memory": 2}
    assert failures(run) == expected
    assert [*failures(run)] == [*expected]
    words = head_of(run).warnings[0]
    assert words == (
        "5 trials failed: 3 because the loss was nan in epoch 3; 2 because out of memory."
    )


def test_head_warns_of_a_teacher_that_knows_nothing(finished: tasearch.Run) -> None:
    run = tasearch.Run.open(finished.path)

    def dulled(trial: TrialRecord) -> TrialRecord:
        return replace(trial, hops=tuple(replace(use, accuracy=0.11) for use in trial.hops))

    run.trials = [dulled(trial) for trial in run.trials]
    assert any("hardly better than chance" in words for words in head_of(run).warnings)


# What the search cost


def test_progress_rises_to_the_hypervolume_of_the_front(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    volumes = [step.hypervolume for step in info.progress]
    paid = [step.flops for step in info.progress]
    assert volumes == sorted(volumes)
    assert paid == sorted(paid)
    assert len(volumes) == len(budgeted.trials)
    free = [t.number for t in budgeted.trials if t.free]
    assert free
    assert all(paid[number] == paid[number - 1] for number in free)
    whole = hypervolume(budgeted.front.members, budgeted.manifest.reference_box)
    assert volumes[-1] == pytest.approx(whole)
    assert paid[-1] == info.costs.paid


def test_parts_of_the_cost_sum_to_the_whole(budgeted: tasearch.Run) -> None:
    spent, beyond = spent_of(budgeted), costs_beyond_teacher(budgeted)
    parts = spent.teacher + spent.assistants + spent.students + spent.stopped
    assert parts == pytest.approx(budgeted.costs.paid)
    assert beyond.paid == pytest.approx(budgeted.costs.paid - spent.teacher)
    assert beyond.unshared < budgeted.costs.unshared
    assert spent.stopped > 0


def test_tree_has_every_hop_once(budgeted: tasearch.Run) -> None:
    found = []

    def walk(nodes: Any, above: tuple[int, ...]) -> None:
        for node in nodes:
            found.append((*above, node.width))
            walk(node.below, (*above, node.width))

    walk(hop_tree(budgeted.trials), ())
    lineages = {
        tuple(use.width for use in trial.hops[: end + 1])
        for trial in budgeted.trials
        for end in range(len(trial.hops))
    }
    keys = {use.key for trial in budgeted.trials for use in trial.hops}
    assert set(found) == lineages
    assert len(found) == len(keys)


def test_importance_finds_the_parameter_that_decides() -> None:
    def trial(number: int, loss: str, width: int) -> TrialRecord:
        accuracy = 0.5 + 0.1 * (loss == "dist") + 0.3 * (width == 8) + 0.001 * (number % 3)
        recipe = {"student": {"loss": loss, "alpha": 0.9}, "assistants": None}
        return TrialRecord(
            number=number, state="complete", chain=(64, width), recipe=recipe, accuracy=accuracy
        )

    trials = [trial(i, ("kd", "dist")[i % 2], (8, 4)[i // 2 % 2]) for i in range(24)]
    shares = importance_of(trials)
    assert shares == {"loss": pytest.approx(1.0)}
    assert importance_of(trials[:9]) == {}
    assert importance_of([replace(t, accuracy=0.5) for t in trials]) == {}
