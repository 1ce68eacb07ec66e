from __future__ import annotations

import pytest

from tasearch.errors import StudyError
from tasearch.pareto.front import Front
from tests.helpers.candidates import candidate


@pytest.mark.parametrize("limit", [0, -5])
def test_budget_refuses_limits_not_above_zero(limit: int) -> None:
    with pytest.raises(StudyError) as error:
        Front([candidate(0.5, 8, 1.0)]).best(max_params=limit)
    assert str(error.value) == f"max_params: should be above 0, found {limit}"
