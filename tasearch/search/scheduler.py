"""What to train next: the hops that trials that are running need, the longest way first."""

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
    """Begin what can be begun, first what most epochs of its chain come after, so that no long
    chain is left alone at the end; as many groups as are free, if need be smaller ones.

    Args:
        hops: Which are stored, and who trains.
        running_trials: The trials that are not over.
        lost: Hops of trials that are over, to be trained again.
    """
    found = [
        watched_hop
        for watched_hop in _ready(hops, running_trials, lost)
        if hops.can_begin(watched_hop[0])
    ]
    found.sort(key=lambda watched_hop: -watched_hop[2])  # earlier trials first among equals
    ready = {hops.key(hop): (hop, thresholds) for hop, thresholds, _ in found}
    while ready and hops.free:
        waiting = [hop for hop, _ in ready.values()]
        group = hops.group(waiting, math.ceil(len(ready) / hops.free))
        hops.begin(dict(ready.pop(hops.key(hop)) for hop in group))


def _ready(
    hops: HopExecutor, running_trials: Iterable[RunningTrial], lost: Sequence[Hop]
) -> Iterator[tuple[Hop, Thresholds, int]]:
    """The next hop of each trial, the lowest thresholds of all trials that need it, and the epochs
    that are still to be trained with it and after it."""
    wanted: dict[str, tuple[Hop, list[Thresholds], list[int]]] = {}
    for hop in lost:
        wanted[hops.key(hop)] = hop, [()], [0]
    for running_trial in running_trials:
        watched_hops = [
            watched_hop
            for watched_hop in running_trial.watched_hops
            if not hops.has(watched_hop[0])
        ]
        if not watched_hops:
            continue
        hop, watch = watched_hops[0]
        _, thresholds, epochs = wanted.setdefault(hops.key(hop), (hop, [], []))
        thresholds.append(watch.binding)
        epochs.append(
            sum(
                watched_hop.model.recipe.epochs
                for watched_hop, _ in watched_hops
                if watched_hop.model.recipe
            )
        )
    for hop, thresholds, epochs in wanted.values():
        yield hop, lowest(thresholds), max(epochs)
