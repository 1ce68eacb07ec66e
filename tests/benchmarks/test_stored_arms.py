"""Arms that stay as they were stored are compared with what tasearch costs now."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.draws import Draw, Plan
from benchmarks.stored_arms import with_source, with_stored_arms

PLAN = Plan(draws={Draw(seen=(0,)): 0.5, Draw(seen=(1,)): 0.5}, seeds=1)
WEIGHTS = {str(draw): weight for draw, weight in PLAN.draws.items()}


def view(arms: dict[str, Any], costs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "draws": WEIGHTS,
        "seeds_of_a_draw": 1,
        "arms": arms,
        "costs_to_regret": costs,
        "oracle_cost_to_regret": None,
        "speed_up": {},
        **more,
    }


def stored(costs: Any) -> dict[str, Any]:
    table = {"provenance": {"date": "then", "commit": "c0ffee", "cpu": "a processor"}}
    arms = {"b": {"area": 1, "over_tasearch": {"0.01": "stale", "0.02": "stale"}}, "f": {"area": 2}}
    return with_source(view(arms, {"b": costs, "f": [1.0, 1.0]}, speed_up={"end": 3}), table)


def test_stored_arm_is_compared_with_the_new_costs() -> None:
    now = view({"f": {"area": 5}}, {"f": {"0.01": [2.0, 4.0], "0.02": [1.0, 1.0]}})
    found = with_stored_arms(now, stored([4.0, 8.0]), PLAN)
    assert found["arms"]["f"] == {"area": 5}
    over = found["arms"]["b"]["over_tasearch"]
    assert {level: ratio["median"] for level, ratio in over.items()} == {"0.01": 2.0}
    assert found["arms"]["b"]["measured"] == {"date": "then", "commit": "c0ffee"}
    assert found["speed_up"] == {"end": 3}


def test_new_arm_is_compared_with_the_stored_costs_of_tasearch() -> None:
    now = view({"e1": {"over_tasearch": {}}}, {"e1": {"0.01": [3.0, 3.0]}})
    found = with_stored_arms(now, stored([4.0, 8.0]), PLAN)
    medians = {
        arm: {k: ratio["median"] for k, ratio in found["arms"][arm]["over_tasearch"].items()}
        for arm in ("e1", "b")
    }
    assert medians["e1"] == {"0.01": 3.0}
    assert medians["b"]["0.01"] in (4.0, 6.0, 8.0)


def test_costs_stored_for_several_regrets_are_all_compared() -> None:
    now = view({"f": {}}, {"f": {"0.01": [2.0, 4.0], "0.02": [1.0, 1.0]}})
    costs = {"0.02": [3.0, 3.0], "0.01": [None, None]}
    over = with_stored_arms(now, stored(costs), PLAN)["arms"]["b"]["over_tasearch"]
    assert over["0.02"]["median"] == 3.0
    assert over["0.01"]["median"] is None


def test_nothing_stored_changes_nothing() -> None:
    now = view({"f": {}}, {"f": {"0.01": [2.0, 4.0]}})
    assert with_stored_arms(now, with_source({}, {}), PLAN) == now


def test_other_draws_are_refused() -> None:
    now = view({"f": {}}, {"f": {"0.01": [2.0]}}, draws={"0": 1.0})
    with pytest.raises(SystemExit, match="other draws or seeds"):
        with_stored_arms(now, stored([4.0, 8.0]), PLAN)
