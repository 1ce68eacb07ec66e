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

    Hops whose chain has most epochs left come first, so that no long chain is left for the end.
    Hops that can be stacked are trained as a group; a group is made smaller where otherwise a free
    worker would have nothing to do.

    Args:
        hops: The hops of the run, and the engine that trains them.
        running_trials: The running trials.
        lost: Hops of ended trials whose files are damaged or missing; they are trained again.
    """
    found = [entry for entry in _next_hops(hops, running_trials, lost) if hops.can_begin(entry[0])]
    found.sort(key=lambda entry: -entry[2])  # among equals, earlier trials come first
    ready = {hops.key(hop): (hop, thresholds) for hop, thresholds, _ in found}
    while ready and hops.free_workers:
        waiting = [hop for hop, _ in ready.values()]
        group = hops.group(waiting, math.ceil(len(ready) / hops.free_workers))
        hops.begin(dict(ready.pop(hops.key(hop)) for hop in group))


def _next_hops(
    hops: HopExecutor, running_trials: Iterable[RunningTrial], lost: Sequence[Hop]
) -> Iterator[tuple[Hop, Thresholds, int]]:
    """The next hop of each trial.

    Yields:
        The hop; the lowest thresholds of all trials that need it; and the number of epochs that are
        still to be trained in a chain from this hop on, the largest of these trials.
    """
    wanted: dict[str, tuple[Hop, list[Thresholds], list[int]]] = {}
    for hop in lost:
        wanted[hops.key(hop)] = hop, [()], [0]
    for trial in running_trials:
        missing = [(hop, criterion) for hop, criterion in trial.criteria if not hops.has(hop)]
        if not missing:
            continue
        hop, criterion = missing[0]
        _, thresholds, epochs = wanted.setdefault(hops.key(hop), (hop, [], []))
        thresholds.append(criterion.binding)
        recipes = [hop.model.recipe for hop, _ in missing]
        epochs.append(sum(recipe.epochs for recipe in recipes if recipe))
    for hop, thresholds, epochs in wanted.values():
        yield hop, lowest(thresholds), max(epochs)
