"""Limits at which a search ends before it has tried all the trials that it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from tasearch.runs.directory import Manifest
from tasearch.search.acquisition import Acquisition

HOUR_S = 3600.0


class Limits:
    """The limits of a study's search: hours, training FLOPs, and least improvement.

    Except for hours, they depend only on the trials that a proposal may depend on, and on running
    trials as if these were trained to their end. So the search ends at the same trial whatever the
    engine and the number of workers.

    Args:
        manifest: The run's manifest.
        acquisition: The acquisition function, which knows costs and expected improvements.
        spent: Seconds that earlier searches of this run took.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self,
        manifest: Manifest,
        acquisition: Acquisition,
        *,
        spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search, self._acquisition, self._clock = manifest.study.search, acquisition, clock
        self._start = clock() - spent

    def reached(self, trials: Sequence[FrozenTrial], seen: int) -> str:
        """Why the search ends; empty if it continues.

        Args:
            trials: All trials of the search, in its order.
            seen: Number of the first of these trials that the next proposal may depend on.
        """
        search = self._search
        if search.max_hours is not None and self._hours >= search.max_hours:
            return f"search.max_hours = {search.max_hours:g} are over"
        if search.max_flops is None and search.min_improvement is None:
            return ""
        self._acquisition.catch_up(trials, seen)
        if search.max_flops is not None and self._acquisition.paid >= search.max_flops:
            return f"search.max_flops = {search.max_flops:g} training FLOPs are spent"
        if search.min_improvement is not None:
            growth = self._acquisition.expected_growth()
            if growth is not None and growth < search.min_improvement:
                return (
                    f"spending as much again should raise the hypervolume by {growth:.2%}, "
                    f"below search.min_improvement = {search.min_improvement:g}"
                )
        return ""

    @property
    def _hours(self) -> float:
        return (self._clock() - self._start) / HOUR_S
