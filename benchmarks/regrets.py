"""The regret of a search after each trial, in the views that `benchmarks.draws` explains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.draws import Draw
from benchmarks.replay import Step
from benchmarks.table import Table
from tasearch.chains.hop import Hop
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.runs.directory import Manifest


def regrets(table: Table, draw: Draw, manifest: Manifest, steps: Sequence[Step]) -> dict[str, Any]:
    """The regret after each trial, and its floor.

    Where other replicates value the front, even a search that trains every chain has a regret: it
    ships the models that were lucky on what it saw. This is the floor. The regrets are what is
    missing beyond it; they may be negative, and may rise again.

    Args:
        table: Table with all replicates.
        draw: Replicates that the search saw, and those that value its front.
        manifest: Manifest of the search.
        steps: State of the search after each trial.
    """
    seen = table.seeing(draw.seen)
    if not draw.valuing:
        best = seen.best_volume(manifest)
        return {"regrets": [1 - step.volume / best for step in steps], "floor": 0.0}
    valuing = table.seeing(draw.valuing)
    best = valuing.best_volume(manifest)
    (whole,) = values([seen.hops(manifest)], seen, valuing, manifest)
    found = values([step.finished for step in steps], seen, valuing, manifest)
    return {"regrets": [(whole - value) / best for value in found], "floor": 1 - whole / best}


def values(
    finished: Iterable[Sequence[Hop]], seen: Table, valuing: Table, manifest: Manifest
) -> list[float]:
    """Hypervolume, on other replicates, of the front that a search would ship after each trial.

    Of equally good students with chains of one length, the first in the table's order is shipped:
    so what the front is worth depends on what was trained, and not on the order.

    Args:
        finished: Hops that each trial brought to their ends.
        seen: Table by which the members of the front are chosen.
        valuing: Table by which they are valued.
        manifest: Manifest with the budget.
    """
    hops = seen.hops(manifest)
    places = {hop.canonical_lineage: place for place, hop in enumerate(hops)}
    front, worth = Front([]), 0.0
    found = []
    for more in finished:
        new = [
            replace(candidate, trial=places[hop.canonical_lineage])
            for hop in more
            if (candidate := seen.candidate(hop, manifest)) is not None
        ]
        grown = Front([*front.members, *new])
        if grown.members != front.members:
            front = grown
            shipped = (valuing.candidate(hops[c.trial], manifest) for c in front.members)
            worth = hypervolume(filter(None, shipped), manifest.reference_box)
        found.append(worth)
    return found
