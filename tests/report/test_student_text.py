"""A student in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tasearch
from tasearch.pareto.budget import Budget
from tasearch.report.best_text import card_rows
from tasearch.report.gains import question_words
from tasearch.report.rows import rows_of
from tasearch.report.student_text import help_text
from tasearch.runs.verdict_file import write_confirmations
from tests.helpers.studies import tiny


def test_verdict_answers_for_distillation_where_labels_alone_were_searched(
    budgeted: tasearch.Run, confirmed: tasearch.Run
) -> None:
    best = budgeted.best()
    words = question_words(budgeted, best.chain[-1], "distillation", rows_of(budgeted))
    shown = help_text(budgeted, best)
    assert shown.startswith("assistants: ") and shown.endswith(f"; distillation: {words}")
    longer = next(c for c in confirmed.front.candidates if confirmed.confirmed(c))
    assert ": assistants help: +9.3 points (" in help_text(confirmed, longer)
    run = tasearch.Run.open(confirmed.path)
    (found,) = run.confirmations
    (own,) = found.comparisons
    other = replace(own, question="distillation", verdict=replace(own.verdict, answer="hurts"))
    write_confirmations(run.path, [replace(found, comparisons=(own, other))])
    both = help_text(tasearch.Run.open(run.path), longer)
    assert ": assistants help: +9.3 points (" in both
    assert f"; {other.label}: distillation hurts: +9.3 points (" in both


def test_what_is_missing_for_an_answer_is_named(rerun: Any) -> None:
    study = tiny(
        name="alone",
        student={"widths": [4], "loss": ["kd", "ce"], "epochs": 1},
        search={"trials": 1},  # labels alone come first: they cost least
    )
    run: tasearch.Run = rerun(study, "alone")
    assert help_text(run, run.best()) == (
        "assistants: no chain with assistants that ends in width 4 was tried; "
        "distillation: not known: the same student was not distilled"
    )
    failed = replace(run.trials[0], number=1, chain=(16, 8, 4), state="failed")
    run.trials.append(failed)
    assert "ends in width 4 was trained to its end" in help_text(run, run.best())


def test_texts_say_that_a_pruned_direct_chain_was_not_finished(finished: tasearch.Run) -> None:
    run = tasearch.Run.open(finished.path)
    behind = next(c for c in run.front.candidates if len(c.chain) > 2)
    run = tasearch.Run.open(finished.path)
    for trial in [t for t in run.trials if t.chain == (16, behind.chain[-1])]:
        run.trials[trial.number] = replace(trial, state="pruned", accuracy=None)
    assert help_text(run, behind) == "no finished direct chain with the same recipe"
    gain = dict(card_rows(run, behind, Budget()))["gain"]
    assert gain.startswith(
        "direct distillation with the same recipe has no finished trial at this width, "
    )
