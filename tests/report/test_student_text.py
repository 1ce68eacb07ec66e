"""A student in words."""

from __future__ import annotations

from dataclasses import replace

import tasearch
from tasearch.pareto.budget import Budget
from tasearch.report.best_text import card_rows
from tasearch.report.gains import question_words
from tasearch.report.rows import rows_of
from tasearch.report.student_text import help_text
from tasearch.runs.verdicts import write_confirmations


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
