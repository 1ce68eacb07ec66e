"""What a run has found, as its last lines: what to ship, what helps it, and what it cost."""

from __future__ import annotations

from tasearch.cli.console import out, print_named
from tasearch.config.places import Place
from tasearch.errors import TrainingError
from tasearch.report.answer import export_command
from tasearch.report.outcomes import outcome_text
from tasearch.report.student_text import accuracy_text, help_text, size_text
from tasearch.report.text import duration, flops_text
from tasearch.runs.accuracies import unseen_text
from tasearch.runs.records import ENDED
from tasearch.runs.run import Run

OTHERS = ("best", "confirm", "report", "status")


def check_any_finished(run: Run) -> None:
    """Refuse a run in which no chain that was asked for has a student.

    Raises:
        TrainingError: No trial was trained to its end, apart from assistants of others.
    """
    if not any(t.state == "complete" and not t.free for t in run.trials):
        reasons = [trial.reason for trial in run.trials if trial.reason]
        last = (reasons or ["none"])[-1]
        raise TrainingError(
            f"no chain that was asked for was trained to the end; the last reason: {last}"
        )


def print_summary(run: Run, path: Place) -> None:
    """Print what a finished run has found, and the command that goes on.

    Args:
        run: A run with at least one finished student.
        path: The path or the URL of the run, as the user knows it.
    """
    best = run.best()
    recalls = run.trials[best.trial].recalls
    out.print()
    lines = [
        ("ship", f"{best.label}: {accuracy_text(run, best)}, {size_text(run, best)}"),
        ("verdict", help_text(run, best)),
        ("cost", _cost(run)),
    ]
    if 0 in recalls:
        lines.insert(1, ("notice", f"it {unseen_text(recalls, run.manifest.class_names)}"))
    print_named(lines)
    out.print(f"\nExport it:\n  {export_command(run, path=path)}", soft_wrap=True)
    out.print(f"Other commands for this run: {', '.join(OTHERS)}", soft_wrap=True)


def _cost(run: Run) -> str:
    seconds = run.directory.history().seconds
    count = sum(t.state in ENDED and not t.free for t in run.trials)
    trials = f"{count} trial{'s' * (count != 1)} in {duration(seconds)} of wall time"
    return f"{trials}, {flops_text(run.costs.paid)}; {outcome_text(run.trials)}"
