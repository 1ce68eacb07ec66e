"""The best student of a run, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import stdev
from typing import Any

import typer
from rich.text import Text

from tasearch.cli.console import out
from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import latency_words
from tasearch.report.evidence import evidence
from tasearch.report.text import recipe_text
from tasearch.runs.leads import lead_over_direct
from tasearch.runs.run import Run


def show_best(run: Run, budget: Budget, *, as_json: bool) -> None:
    """Print the most accurate student within a budget.

    Args:
        run: The run.
        budget: The budget.
        as_json: Whether to print a JSON object; if nothing fits, with the nearest miss.

    Raises:
        NothingFits: No student is within the budget.
    """
    try:
        best = run.best_within(budget)
    except NothingFits as error:
        if not as_json or not run.front.candidates:
            raise
        near = run.front.nearest_miss(budget)
        _print_json({"error": str(error), "nearest": _as_json(run, near)})
        raise typer.Exit(1) from None
    if as_json:
        _print_json(_as_json(run, best))
    else:
        _print_best(run, best)


def _print_best(run: Run, best: Candidate) -> None:
    trial, measured = run.trials[best.trial], run.manifest.measured
    free = ", an assistant within the budget" if trial.free else ""
    out.print(Text(best.label, style="bold") + Text(f"  (trial {best.trial}{free})"))
    spread, count = "", len(trial.accuracies)
    if count:
        spread = f", standard deviation {stdev(trial.accuracies):.2%} over {count} replicates"
    out.print(f"  accuracy  {best.accuracy:.2%} of the validation part{spread}", soft_wrap=True)
    out.print(f"  size      {best.params:,} params, {best.bytes:,} bytes")
    latency = latency_words(best.chain[-1], measured)
    out.print(f"  latency   {latency} ({run.manifest.device})", soft_wrap=True)
    out.print(f"  recipe    {recipe_text(best.recipe)}", soft_wrap=True)
    for line in evidence(run, best):
        out.print(f"  {line}", soft_wrap=True)


def _as_json(run: Run, candidate: Candidate) -> dict[str, Any]:
    found = run.confirmation_of(candidate)
    arm = found.arm(candidate.chain, candidate.recipe) if found is not None else None
    confirmed = None
    if found is not None and arm is not None:
        own = found.of_width(candidate.chain[-1])
        confirmed = {
            "accuracy": arm.accuracy,
            "test_accuracy": arm.test_accuracy,
            "seeds": len(arm.accuracies),
            "verdicts": {c.question: asdict(c.verdict) for c in own},
        }
    lead = lead_over_direct(run, candidate)
    unconfirmed = None if lead is None else asdict(lead)
    return {
        **asdict(candidate),
        "label": candidate.label,
        "confirmed": confirmed,
        "lead_over_direct": unconfirmed,
    }


def _print_json(value: dict[str, Any]) -> None:
    """Print in ASCII, without any character that a terminal acts on."""
    print(json.dumps(value, indent=1).replace("\x7f", "\\u007f"))
