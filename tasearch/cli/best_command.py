"""The best student of a run, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from tasearch.cli.console import err, out, print_json, print_line, print_named
from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.report.best_text import card_rows, explanation, runner_up
from tasearch.report.evidence import damage_text
from tasearch.report.numbers import student_numbers
from tasearch.report.rows import row_of
from tasearch.runs.run import Run


def show_best(
    run: Run, budget: Budget, *, trial: int | None = None, as_json: bool, explain: bool = False
) -> None:
    """Print the student to ship within a budget, or that of one trial.

    Args:
        run: The run.
        budget: The budget.
        trial: Number of the trial; None for the best student.
        as_json: Whether to print a JSON object; if nothing fits, with the nearest miss.
        explain: Whether to tell why this chain, what it costs, and what the runner-up is.

    Raises:
        NothingFits: No student is within the budget, or the trial has no finished student.
    """
    if as_json and run.verdicts_damage:  # standard output has the object alone
        err.print(f"notice: {damage_text(run)}", soft_wrap=True)
    try:
        best = run.best(**asdict(budget), trial=trial)
    except NothingFits as error:
        if trial is not None or not as_json or not run.front.candidates:
            raise
        near = run.front.nearest_miss(budget)
        print_json({"error": str(error), "nearest": _as_json(run, near, budget)})
        raise typer.Exit(1) from None
    sentences = explanation(run, best, budget) if explain else []
    if as_json:
        print_json(
            {**_as_json(run, best, budget), **({"explanation": sentences} if explain else {})}
        )
        return
    print_named(card_rows(run, best, budget))
    if sentences:
        out.print()
    for sentence in sentences:
        print_line(sentence)


def _as_json(run: Run, candidate: Candidate, budget: Budget) -> dict[str, Any]:
    second = runner_up(run, candidate, budget)
    return {
        **student_numbers(run, row_of(run, candidate.trial)),
        "runner_up": None if second is None else second.trial,
    }
