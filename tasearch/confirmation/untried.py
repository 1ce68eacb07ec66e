"""Chains that a confirmation compares and the search has not tried: they are tried first.

A verdict may ship such a chain, mostly the student that learns from labels alone. Only what the
search has tried can be exported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from tasearch.chains.space import Space
from tasearch.errors import RunError
from tasearch.runs.events import EpochDone, Event, HopEnded, HopStarted, Notice
from tasearch.runs.records import ENDED, states
from tasearch.runs.run import Run
from tasearch.runs.trial_attributes import chain_of
from tasearch.runs.verdicts import Arm, Comparison
from tasearch.search.enqueue import enqueue_choices
from tasearch.search.prepare import Prepared
from tasearch.search.run_search import search


def untried_arms(run: Run, comparisons: Sequence[Comparison]) -> list[Arm]:
    """The chains of some comparisons that have no trial, each once.

    A search that begins with baselines tries them all, if it has trials for that.

    Args:
        run: The run.
        comparisons: What is compared.
    """
    found: list[Arm] = []
    if run.manifest.study.search.begins_with_baselines:
        return found
    for arm in (arm for compared in comparisons for arm in (compared.first, compared.second)):
        known = any(arm.is_chain(other.chain, other.recipe) for other in found)
        if not known and run.trial_of(arm) is None:
            found.append(arm)
    return found


def try_arms(
    run: Run, space: Space, arms: Sequence[Arm], prepare: Callable[[], Prepared]
) -> Iterator[Event]:
    """Try chains as trials of the run, after those that wait in its queue.

    A search that was cut off is not continued, and limits of the study hold: a chain may then stay
    without a trial, and its verdict says so.

    Args:
        run: The run.
        space: The chains within its budget.
        arms: Chains without a trial.
        prepare: Function that prepares the search.

    Raises:
        RunError: Another driver holds the run.
    """
    if any(trial.state == "running" for trial in run.trials):
        return
    manifest = run.manifest
    for arm in arms:
        chain = chain_of({"chain": arm.chain, "recipe": arm.recipe}, space.teacher)
        choices = space.member(chain)
        if choices is not None:
            with contextlib.suppress(RunError):  # it waits already, since a kill
                enqueue_choices(run.directory, manifest, space, choices)
    counts = states(Run.open(run.place).trials)
    listed = ", ".join(arm.label for arm in arms)
    yield Notice(message=f"trained first, as the search has not tried what is compared: {listed}")
    trials = sum(counts[state] for state in ENDED) + counts["waiting"]
    for event in search(prepare(), trials):
        if isinstance(event, Notice | HopStarted | EpochDone | HopEnded):
            yield event
