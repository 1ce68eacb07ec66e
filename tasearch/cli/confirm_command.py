"""A confirmation in a terminal: what is trained, each look, and the verdicts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from rich.text import Text

from tasearch.chains.sizes import sized
from tasearch.cli.confirm_view import ConfirmLiveView, ConfirmPlainView, LookState
from tasearch.cli.console import err, out, print_json, print_line
from tasearch.cli.preparation import Preparation
from tasearch.cli.stop import Stop
from tasearch.config.run_options import RunOptions
from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.report.numbers import confirmation_numbers
from tasearch.report.verdict_text import verdict_text
from tasearch.runs.events import ConfirmationFinished, Event, LookDone, Notice
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Comparison, Confirmation, shipped


def confirm_shown(
    run: Run, options: RunOptions, budget: Budget | None, *, trust: bool, as_json: bool = False
) -> bool:
    """Confirm students of a run, and show the progress.

    Args:
        run: The run.
        options: The device and the workers.
        budget: The budget; None for the whole front.
        trust: Whether user code that the run's study names may run.
        as_json: Whether standard output has the confirmation as JSON, and nothing else.

    Returns:
        Whether it came to its end.
    """
    console = err if as_json else out
    try:
        with Stop(console) as stop, err.status("preparing") as status:
            lines = console if console.is_terminal else None
            shown = Preparation(f"preparing {run.path.name}", status, lines)
            run.directory.tell_wait = shown.say if lines else partial(print_line, console=console)
            shown.step("imports")
            with stop.later():
                from tasearch.confirmation.start import confirm_events

            events = confirm_events(run, options, budget, trust=trust, step=shown.step)
            with contextlib.closing(events):
                return _show(run, events, stop, shown, as_json=as_json)
    except KeyboardInterrupt:
        return False


def confirm_after_run(run: Run, options: RunOptions) -> bool:
    """Confirm the best student of a run that has just ended; False if it was stopped."""
    print_line("\nconfirming on fresh seeds")
    try:
        return confirm_shown(run, options.absolute(), Budget(), trust=True)
    except NothingFits as error:
        print_line(f"notice: {error}")
        return True


def _show(
    run: Run, events: Iterator[Event], stop: Stop, preparation: Preparation, *, as_json: bool
) -> bool:
    console = err if as_json else out
    found: Confirmation | None = None
    state = LookState(run.manifest)
    live = ConfirmLiveView(console, state) if console.is_terminal else None
    view = live or ConfirmPlainView(console, state)
    with contextlib.ExitStack() as drawn:
        for event in events:
            if not stop.training:
                stop.training = True
                preparation.end()
                drawn.enter_context(live or contextlib.nullcontext())
            view.show(event)
            if isinstance(event, Notice):
                print_line(f"notice: {event.message}", console)
            elif isinstance(event, LookDone):
                for line in look_lines(event.confirmation, run.metric):
                    print_line(line, console)
            elif isinstance(event, ConfirmationFinished):
                found = event.confirmation
            if stop.asked:
                return False
    assert found is not None, "a confirmation ends with its verdicts"
    run = Run.open(run.place)  # which has what was tried for the verdicts
    if as_json:
        print_json(confirmation_numbers(run, found))
    else:
        print_verdicts(run, found)
    return True


def look_lines(found: Confirmation, metric: Metric = ACCURACY) -> Iterator[str]:
    """What a look has found, a line for each student width that was trained for it.

    Args:
        found: The confirmation after the look.
        metric: What the chains are compared by.
    """
    pairs = max(len(c.first.accuracies) for c in found.comparisons)
    looks = found.plan.pairs
    look = f"look {looks.index(pairs) + 1} of {len(looks)}, {pairs} seeds"
    for width in dict.fromkeys(c.width for c in found.comparisons):
        own = [c for c in found.of_width(width) if len(c.first.accuracies) == pairs]
        parts = [
            f"{c.question} no pair trained"
            if c.verdict.difference is None
            else f"{c.question} {metric.difference_words(c.verdict.difference)}"
            for c in own
        ]
        if parts:
            yield f"{look}: {sized(width)}: {', '.join(parts)}"


def print_verdicts(run: Run, found: Confirmation) -> None:
    """Print the verdicts of a confirmation, and what they say to ship."""
    for width in dict.fromkeys(c.width for c in found.comparisons):
        own = [c for c in found.comparisons if c.width == width]
        out.print(Text(f"\nstudent of {sized(width)}", style="bold"), soft_wrap=True)
        for comparison in own:
            words = verdict_text(comparison, found.plan, len(found.comparisons), run.metric)
            print_line(f"  {comparison.label}:")
            print_line(f"    {words}")
            print_line(f"    {_both(comparison, run.metric)}")
            for fault in comparison.faults:
                print_line(f"    not all seeds count: {fault}")
        _print_shipped(run, own)


def _both(comparison: Comparison, metric: Metric) -> str:
    """The accuracies of both chains, on the validation part and on the test part."""
    arms = (comparison.first, comparison.second)
    parts = (("validation", [a.accuracy for a in arms]), ("test", [a.test_accuracy for a in arms]))
    return "; ".join(
        f"{part} {metric.text(first)} against {metric.text(second)}"
        for part, (first, second) in parts
    )


def _print_shipped(run: Run, comparisons: list[Comparison]) -> None:
    ship = shipped(comparisons)
    trial = run.trial_of(ship)
    if trial is None or trial.state != "complete":
        why = "has not tried" if trial is None else "did not train to its end"
        keep = "`best` and `export` keep to what it has"
        print_line(f"  would ship {ship.label}, which the search {why}: {keep}")
    else:
        print_line(f"  ship {ship.label} (trial {trial.number})")
    if ship.accuracy is not None and ship.test_accuracy is not None:
        searched = ""
        if trial is not None and trial.accuracy is not None:
            searched = f"; the search said {run.metric.text(trial.accuracy)}"
        found = run.metric.of(ship.accuracy, "the validation part")
        print_line(f"    {found}, mean of {ship.seeds} fresh seeds{searched}")
        found = run.metric.of(ship.test_accuracy, "the test part")
        print_line(f"    {found}, mean of the same seeds")
