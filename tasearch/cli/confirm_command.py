"""A confirmation in a terminal: what is trained, each look, and the verdicts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.text import Text

from tasearch.cli.console import err, out
from tasearch.cli.stop import Stop
from tasearch.config.run_options import RunOptions
from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.report.verdict_text import points, verdict_text
from tasearch.runs.events import ConfirmationFinished, Event, HopStarted, LookDone, Notice
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Comparison, Confirmation, shipped


def confirm_shown(run: Run, options: RunOptions, budget: Budget | None, *, trust: bool) -> bool:
    """Confirm students of a run, and show the progress.

    Args:
        run: The run.
        options: The device and the workers.
        budget: The budget; None for the whole front.
        trust: Whether user code that the run's study names may run.

    Returns:
        Whether it came to its end.
    """
    with Stop() as stop, err.status("preparing: data, models, workers") as status:
        with stop.later():
            from tasearch.confirmation.start import confirm_events

        events = confirm_events(run, options, budget, trust=trust)
        try:
            with contextlib.closing(events):
                return _show(run, events, stop, status.stop)
        except KeyboardInterrupt:
            return False


def confirm_after_run(run: Run, options: RunOptions) -> bool:
    """Confirm the best student of a run that has just ended; False if it was stopped."""
    _print("\nconfirming on fresh seeds")
    try:
        return confirm_shown(run, options.absolute(), Budget(), trust=True)
    except NothingFits as error:
        _print(f"notice: {error}")
        return True


def _show(run: Run, events: Iterator[Event], stop: Stop, begin: Callable[[], None]) -> bool:
    for event in events:
        stop.training = True
        begin()
        if isinstance(event, HopStarted) and event.epochs:
            again = f" from epoch {event.epoch}" if event.epoch else ""
            _print(f"  train {event.label}{again}")
        elif isinstance(event, Notice):
            _print(f"notice: {event.message}")
        elif isinstance(event, LookDone):
            _print_look(event.confirmation)
        elif isinstance(event, ConfirmationFinished):
            print_verdicts(run, event.confirmation)
        if stop.asked:
            return False
    return True


def _print_look(found: Confirmation) -> None:
    pairs = max(len(c.first.accuracies) for c in found.comparisons)
    shown = []
    for width in dict.fromkeys(c.width for c in found.comparisons):
        parts = [
            f"{c.question} {points(c.verdict.difference)}"
            for c in found.of_width(width)
            if c.verdict.difference is not None
        ]
        shown.append(f"{width}: {', '.join(parts)}")
    _print(f"after {pairs} fresh seeds at most, in points, by width: {'; '.join(shown)}")


def print_verdicts(run: Run, found: Confirmation) -> None:
    """Print the verdicts of a confirmation, and what they say to ship."""
    for width in dict.fromkeys(c.width for c in found.comparisons):
        own = [c for c in found.comparisons if c.width == width]
        out.print(Text(f"\nstudent of width {width}", style="bold"), soft_wrap=True)
        for comparison in own:
            words = verdict_text(comparison, found.plan, len(found.comparisons))
            _print(f"  {comparison.first.label} against {comparison.second.label}:")
            _print(f"    {words}")
            for fault in comparison.faults:
                _print(f"    not all seeds count: {fault}")
        _print_shipped(run, own)


def _print_shipped(run: Run, comparisons: list[Comparison]) -> None:
    ship = shipped(comparisons)
    trial = next((t for t in run.trials if ship.is_chain(t.chain, t.recipe or {})), None)
    where = "not tried by the search, so `best` and `export` keep to what it has"
    if trial is not None:
        where = f"trial {trial.number}"
    _print(f"  ship {ship.label} ({where})")
    if ship.accuracy is not None and ship.test_accuracy is not None:
        searched = ""
        if trial is not None and trial.accuracy is not None:
            searched = f"; the search said {trial.accuracy:.1%}"
        seeds = len(ship.accuracies)
        _print(
            f"    {ship.accuracy:.1%} of the validation part, mean of {seeds} fresh seeds{searched}"
        )
        _print(f"    {ship.test_accuracy:.1%} of the test part, mean of the same seeds")


def _print(line: str) -> None:
    out.print(line, soft_wrap=True)
