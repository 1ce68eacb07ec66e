"""Confirm the students of a run from Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tasearch.config.arguments import check_function, front_or_budget
from tasearch.config.places import Place, absolute
from tasearch.config.run_options import RunOptions
from tasearch.confirmation.start import confirm_events
from tasearch.pareto.budget import Budget
from tasearch.runs.events import ConfirmationFinished, Event
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Confirmation


def confirm(
    run: Run | str | Place,
    *,
    front: bool = False,
    max_params: int | None = None,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    device: str = "auto",
    workers: int | str = 1,
    engine: str = "local",
    address: str | None = None,
    trust: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Confirmation:
    """Tell whether assistants help, on fresh seeds, for the best student within a budget.

    It may be stopped at any time; the same call continues it. A confirmation that is finished is
    not made again.

    Args:
        run: The run, its path or URL, or its name in runs/.
        front: Whether to confirm every student of the front, in place of the best one.
        max_params: Largest number of parameters; None for no limit.
        max_bytes: Largest number of bytes of weights and buffers; None for no limit.
        max_latency_ms: Largest latency of one batch in milliseconds; None for no limit.
        device: "auto", "cpu" or "cuda".
        workers: Number of training processes, or "auto": one for each GPU, or for each core.
        engine: Where workers run: "local" for this machine, "ray" for a Ray cluster.
        address: The cluster: "auto" for the one that this machine belongs to, or HOST:PORT; None to
            start one on this machine, which ends with the confirmation.
        trust: Whether user code that the run's study names may run; a run that `tasearch.run` has
            returned does not need it.
        on_event: Called with each event, one of the classes in `tasearch.runs.events`.

    Returns:
        The comparisons, each with its verdict.

    Raises:
        TasearchError: Something is wrong with the run, its data, its models or an option; see
            `tasearch.errors`.

    Example:
        ```python
        found = tasearch.confirm("runs/digits", max_params=1_000)
        for comparison in found.comparisons:
            print(comparison.question, comparison.verdict.answer, comparison.verdict.difference)
        ```
    """
    check_function(on_event, "on_event")
    opened = run if isinstance(run, Run) else Run.open(run)
    budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    chosen = front_or_budget(front, budget)
    options = RunOptions(
        runs_dir=absolute(opened.place).parent,
        device=device,
        workers=workers,
        engine=engine,
        address=address,
    )
    found = None
    with contextlib.closing(confirm_events(opened, options, chosen, trust=trust)) as events:
        for event in events:
            if isinstance(event, ConfirmationFinished):
                found = event.confirmation
            if on_event is not None:
                on_event(event)
    assert found is not None, "a confirmation ends with its verdicts"
    return found
