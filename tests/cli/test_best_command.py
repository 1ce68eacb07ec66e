"""`tasearch best`: the card of a student, why it was chosen, and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import tasearch
from tasearch.chains.chain import teaching
from tasearch.cli.best_command import show_best
from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.report.best_text import card_rows, explanation, runner_up
from tasearch.report.numbers import student_numbers
from tasearch.report.rows import rows_of
from tasearch.runs.leads import labels_trial
from tests.helpers.commands import command
from tests.helpers.runs import with_notices

NO_LIMIT = Budget()


def test_card_has_what_is_needed_to_ship(finished: tasearch.Run) -> None:
    best = finished.best()
    rows = dict(card_rows(finished, best, NO_LIMIT))
    measured = finished.manifest.measured
    size = measured[best.chain[-1]]
    assert rows["chain"].startswith(f"{best.label}  (trial {best.trial}")
    assert rows["accuracy"].startswith(f"{best.accuracy:.1%} of the validation part")
    assert "95 % interval" in rows["accuracy"]
    times = f"{measured[16].params / best.params:.3g} times smaller than the teacher"
    assert f"{best.params:,} params" in rows["size"] and times in rows["size"]
    assert f"p95 {size.latency_p95_ms:.4g} ms" in rows["latency"]
    second = runner_up(finished, best, NO_LIMIT)
    assert second is not None
    assert rows["runner-up"].startswith(f"{second.label}: {second.accuracy:.1%}")


@pytest.mark.parametrize("notices", [(), ("the machine was busy while latencies were measured",)])
def test_card_says_whether_the_machine_was_busy(
    finished: tasearch.Run, notices: tuple[str, ...]
) -> None:
    run = tasearch.Run(finished.directory)
    run.manifest = with_notices(finished, *notices)
    best = run.best()
    rows = [words for name, words in card_rows(run, best, NO_LIMIT) if name == "notice"]
    assert tuple(row for row in rows if "(recall 0)" not in row) == notices
    unseen = 0 in run.trials[best.trial].recalls
    assert sum("(recall 0)" in row for row in rows) == unseen
    row = next(row for row in rows_of(run) if row.trial == best.trial)
    assert student_numbers(run, row)["latency_notices"] == notices


def test_runner_up_is_the_best_other_width_within_the_budget(finished: tasearch.Run) -> None:
    for choice in finished.choices:
        budget = Budget(max_params=choice.params)
        best = finished.best_within(budget)
        others = [
            c
            for c in finished.front.candidates
            if budget.admits(c) and c.chain[-1] != best.chain[-1]
        ]
        assert runner_up(finished, best, budget) == (others[0] if others else None)


def test_explanation_is_three_sentences(finished: tasearch.Run) -> None:
    for choice in finished.choices:
        for budget in (NO_LIMIT, Budget(max_params=choice.params)):
            sentences = explanation(finished, choice, budget)
            assert len(sentences) == 3
            assert all(sentence.endswith(".") for sentence in sentences)
    best = finished.choices[0]
    assert (
        "is the most accurate student of the search: " in explanation(finished, best, NO_LIMIT)[0]
    )
    other = finished.choices[1]
    assert f"the best is {best.label}" in explanation(finished, other, NO_LIMIT)[0]


def test_reused_hops_are_those_of_earlier_trials(finished: tasearch.Run) -> None:
    for candidate in finished.front.candidates:
        trial = finished.trials[candidate.trial]
        own = {use.key for use in trial.hops if use.width != 16}
        before = {u.key for t in finished.trials[: trial.number] for u in t.hops if u.trained}
        sentence = explanation(finished, candidate, NO_LIMIT)[1]
        assert sentence.startswith(f"Beyond the teacher its {len(own)} hop")
        assert ("earlier trials had paid" in sentence) == bool(own & before)


def test_gain_over_labels_is_over_the_best_student_without_a_teacher(
    finished: tasearch.Run,
) -> None:
    best = next(c for c in finished.front.candidates if len(c.chain) == 2)
    width, direct = best.chain[-1], finished.trials[best.trial]
    assert labels_trial(finished.trials, width) is None
    alone = replace(direct, recipe={"student": {**best.recipe["student"], "loss": "ce"}})
    worse, better = (replace(alone, accuracy=accuracy) for accuracy in (0.25, 0.5))
    unfinished = replace(alone, accuracy=0.75, state="pruned")
    other = replace(alone, accuracy=0.75, chain=(*direct.chain[:-1], width + 1))
    trials = [direct, worse, better, replace(better), unfinished, other]
    assert labels_trial(trials, width) is better


def test_trial_names_any_finished_student(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for candidate in finished.front.candidates[-2:]:
        show_best(finished, NO_LIMIT, trial=candidate.trial, as_json=False)
        shown = capsys.readouterr().out
        assert shown.startswith(f"chain      {candidate.label}  (trial {candidate.trial}")
    with pytest.raises(NothingFits, match="has no trial 999"):
        show_best(finished, NO_LIMIT, trial=999, as_json=True)


def test_trial_goes_without_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["best", "r"], ["export", "r", "--out", "o"]):
        code, _, said = command(capsys, *words, "--trial", 3, "--max-params", 9)
        assert (code, said) == (
            2,
            "error: --trial: goes without a budget; leave one of the two out\n",
        )


def test_json_has_the_numbers_of_the_front_and_the_runner_up(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    members = json.loads(command(capsys, "front", finished.path, "--json")[1])["front"]
    for member in members:
        trial = finished.candidate(member["trial"])
        second = runner_up(finished, trial, NO_LIMIT)
        assert second is not None
        shown = json.loads(
            command(capsys, "best", finished.path, "--trial", trial.trial, "--json")[1]
        )
        assert shown == {**member, "runner_up": second.trial}
        assert shown["chain"] == [*trial.chain] and shown["label"] == trial.label


def test_json_has_the_teaching_and_the_interval(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    show_best(finished, NO_LIMIT, as_json=True, explain=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    low, high = found["interval"]
    assert low < found["accuracy"] < high
    assert found["teaching"] == teaching(finished.best().chain, finished.best().recipe)
    assert found["replicates"] == 1
    assert found["explanation"] == explanation(finished, finished.best(), NO_LIMIT)
