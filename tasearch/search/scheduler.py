"""The scheduler: which hops to train next, for the trials that are running."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from tasearch.chains.hop import Hop
from tasearch.pareto.skyline import Thresholds, lowest
from tasearch.search.executor import HopExecutor
from tasearch.search.running_trials import RunningTrial


def begin_ready(
    hops: HopExecutor, running_trials: Iterable[RunningTrial], lost: Sequence[Hop]
) -> None:
    """Begin to train the hops that can be trained now, as far as workers are free.

    Hops of earlier trials come first: the search has ranked them so. Hops that can be stacked are
    trained as a group; a group is made smaller where otherwise a free worker would have nothing to
    do.

    Args:
        hops: The hops of the run, and the engine that trains them.
        running_trials: The running trials.
        lost: Hops of ended trials whose files are damaged or missing; they are trained again.
    """
    wanted = _next_hops(hops, running_trials, lost)
    ready = {hops.key(hop): (hop, thresholds) for hop, thresholds in wanted if hops.can_begin(hop)}
    while ready and hops.free_workers:
        waiting = [hop for hop, _ in ready.values()]
        group = hops.group(waiting, math.ceil(len(ready) / hops.free_workers))
        hops.begin(dict(ready.pop(hops.key(hop)) for hop in group))


def _next_hops(
    hops: HopExecutor, running_trials: Iterable[RunningTrial], lost: Sequence[Hop]
) -> Iterator[tuple[Hop, Thresholds]]:
    """The next hop of each trial, those of earlier trials first.

    Yields:
        The hop, and the lowest thresholds of all trials that need it.
    """
    wanted: dict[str, tuple[Hop, list[Thresholds]]] = {}
    for hop in lost:
        wanted[hops.key(hop)] = hop, [()]
    for trial in running_trials:
        missing = [(hop, criterion) for hop, criterion in trial.criteria if not hops.has(hop)]
        if missing:
            hop, criterion = missing[0]
            wanted.setdefault(hops.key(hop), (hop, []))[1].append(criterion.binding)
    for hop, thresholds in wanted.values():
        yield hop, lowest(thresholds)
