"""What to train next: the hops that trials in flight need, the longest way first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from tasearch.chains.hop import Hop
from tasearch.pareto.skyline import Bars, lowest
from tasearch.search.executor import Hops
from tasearch.search.running_trials import Flight


def begin_ready(hops: Hops, flights: Iterable[Flight], lost: Sequence[Hop]) -> None:
    """Begin what can be begun, first what most epochs of its chain come after, so that no long
    chain is left alone at the end; as many groups as are free, if need be smaller ones.

    Args:
        hops: Which are stored, and who trains.
        flights: The trials that are not over.
        lost: Hops of trials that are over, to be trained again.
    """
    found = [leg for leg in _ready(hops, flights, lost) if hops.can_begin(leg[0])]
    found.sort(key=lambda leg: -leg[2])  # earlier trials first among equals
    ready = {hops.key(hop): (hop, bars) for hop, bars, _ in found}
    while ready and hops.free:
        waiting = [hop for hop, _ in ready.values()]
        group = hops.group(waiting, math.ceil(len(ready) / hops.free))
        hops.begin(dict(ready.pop(hops.key(hop)) for hop in group))


def _ready(
    hops: Hops, flights: Iterable[Flight], lost: Sequence[Hop]
) -> Iterator[tuple[Hop, Bars, int]]:
    """The next hop of each trial, its bars, as far as all who want it have some, and the epochs
    that are to come with it and after it."""
    wanted: dict[str, tuple[Hop, list[Bars], list[int]]] = {}
    for hop in lost:
        wanted[hops.key(hop)] = hop, [()], [0]
    for flight in flights:
        legs = [leg for leg in flight.legs if not hops.has(leg[0])]
        if not legs:
            continue
        hop, watch = legs[0]
        _, bars, epochs = wanted.setdefault(hops.key(hop), (hop, [], []))
        bars.append(watch.binding)
        epochs.append(sum(leg.pupil.recipe.epochs for leg, _ in legs if leg.pupil.recipe))
    for hop, bars, epochs in wanted.values():
        yield hop, lowest(bars), max(epochs)
