"""When a search has done enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from tasearch.runs.directory import Manifest
from tasearch.search.acquisition import Acquisition

HOUR_S = 3600.0


class Limits:
    """The limits of a study besides its number of trials.

    But for hours they depend on the trials that a proposal may depend on, and on those running as
    if they were trained to their ends, so that a search stops at the same trial whoever trains.

    Args:
        manifest: of the run.
        acquisition: what is known of chains, and of their costs.
        spent: seconds of earlier searches of this run.
        clock: seconds.
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
        """Why nothing more is to be proposed; empty to go on.

        Args:
            trials: all of them.
            seen: so many of the first may be depended on.
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
            expected_growth = self._acquisition.expected_growth()
            if expected_growth is not None and expected_growth < search.min_improvement:
                return (
                    f"spending as much again should raise the hypervolume by "
                    f"{expected_growth:.2%}, "
                    f"below search.min_improvement = {search.min_improvement:g}"
                )
        return ""

    @property
    def _hours(self) -> float:
        return (self._clock() - self._start) / HOUR_S
