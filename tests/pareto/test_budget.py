from __future__ import annotations

from typing import Any

import pytest

from tasearch.errors import StudyError
from tasearch.pareto.budget import Budget
from tasearch.pareto.front import Front
from tests.helpers.candidates import candidate


@pytest.mark.parametrize("limit", [0, -5])
def test_budget_refuses_limits_not_above_zero(limit: int) -> None:
    with pytest.raises(StudyError) as error:
        Front([candidate(0.5, 8, 1.0)]).best(Budget(max_params=limit))
    assert str(error.value) == f"max_params: should be above 0, found {limit}"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_params": "3"}, "max_params: should be a finite number, found '3'"),
        ({"max_bytes": True}, "max_bytes: should be a finite number, found True"),
        ({"max_latency_ms": float("inf")}, "max_latency_ms: should be a finite number, found inf"),
        (
            {"max_latency_ms": 10**400},
            f"max_latency_ms: should be a finite number, found {'1' + '0' * 76}...",
        ),
        ({"max_latency_ms": float("nan")}, "max_latency_ms: should be above 0, found nan"),
        ({"max_params": -1}, "max_params: should be above 0, found -1"),
    ],
)
def test_budget_refuses_limits_that_are_not_numbers(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError) as error:
        Budget(**limits)
    assert str(error.value) == said
