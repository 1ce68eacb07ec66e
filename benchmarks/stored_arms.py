"""Arms of `benchmarks.search` that stay as they were stored, compared with tasearch as it is now.

A method that did not change need not be run again: its costs are stored, one for each search. Its
arm tells when it was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.draws import Plan
from benchmarks.search_methods import REGRET, TASEARCH
from benchmarks.search_summary import LEVELS, ratios

SOURCE = ("date", "commit")  # of the provenance, kept with an arm


def with_source(view: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A stored view whose arms tell when they were measured.

    Args:
        view: One view of a stored table; may be empty.
        table: The stored result of the table, with its provenance.
    """
    source = {key: table["provenance"][key] for key in SOURCE} if view else {}
    arms = {arm: {"measured": source, **found} for arm, found in view.get("arms", {}).items()}
    return {**view, "arms": arms}


def with_stored_arms(
    found: Mapping[str, Any], stored: Mapping[str, Any], plan: Plan
) -> dict[str, Any]:
    """The result of one view, with the stored arms that were not run now.

    Args:
        found: What was measured now.
        stored: The stored view, from `with_source`.
        plan: Draws and seeds.

    Raises:
        SystemExit: The stored searches had other draws or seeds.
    """
    kept = {arm: a for arm, a in stored["arms"].items() if arm not in found["arms"]}
    if not kept:
        return {**found}
    same = ("draws", "seeds_of_a_draw")
    if any(stored[key] != found[key] for key in same):
        raise SystemExit(
            "error: --out has arms of other draws or seeds, which cannot be compared with these; "
            "give the same --draws and --seeds, or another --out"
        )
    costs = {**stored["costs_to_regret"], **found["costs_to_regret"]}
    ours = _by_level(costs.get(TASEARCH, {}))
    arms = {**found["arms"]}
    again = kept if TASEARCH in arms else {**arms, **kept}  # else they are compared already
    for arm, summary in again.items():
        own = _by_level(costs[arm])
        over = {level: ratios(plan, own[level], ours[level]) for level in own if level in ours}
        arms[arm] = {**summary, "over_tasearch": over}
    order = sorted(arms)
    return {
        **found,
        "arms": {arm: arms[arm] for arm in order},
        "costs_to_regret": {arm: costs[arm] for arm in order},
        "oracle_cost_to_regret": found["oracle_cost_to_regret"] or stored["oracle_cost_to_regret"],
        "speed_up": found["speed_up"] or stored["speed_up"],
    }


def _by_level(costs: Mapping[str, Any] | Sequence[float | None]) -> dict[str, list[float]]:
    """Costs of searches by regret; older results have those to `REGRET` alone."""
    levels = costs if isinstance(costs, Mapping) else {str(REGRET): costs}
    return {
        str(level): [math.inf if cost is None else cost for cost in levels[str(level)]]
        for level in LEVELS
        if str(level) in levels
    }
