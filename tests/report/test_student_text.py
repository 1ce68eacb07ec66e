"""A student in words."""

from __future__ import annotations

from dataclasses import replace

import tasearch
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
