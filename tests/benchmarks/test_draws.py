"""Draws of replicates are counted as what they are."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from benchmarks.draws import Draw, held_out, make_plan


@pytest.mark.parametrize(("replicates", "distinct"), [(1, 1), (2, 3), (3, 10), (4, 35)])
def test_draws_weigh_as_likely_as_they_are(replicates: int, distinct: int) -> None:
    every = [*itertools.product(range(replicates), repeat=replicates)]
    times = Counter(tuple(sorted(draw)) for draw in every)
    found = {draw.seen: weight for draw, weight in make_plan("own", replicates, 1).draws.items()}
    assert len(found) == distinct
    assert found == pytest.approx({seen: n / len(every) for seen, n in times.items()})


def test_too_many_draws_are_sampled() -> None:
    draws = make_plan("own", 4, 1, most=20).draws
    assert 1 < len(draws) <= 20
    assert sum(draws.values()) == pytest.approx(1)
    assert set(draws) <= set(make_plan("own", 4, 1, most=35).draws)


def test_held_out_replicates_value_what_one_chose() -> None:
    assert held_out(3) == [
        Draw(seen=(0,), valuing=(1, 2)),
        Draw(seen=(1,), valuing=(0, 2)),
        Draw(seen=(2,), valuing=(0, 1)),
    ]
    assert held_out(1) == []


def test_seeds_of_a_draw_share_its_weight() -> None:
    plan = make_plan("own", 2, 3)
    assert len(plan.searches) == len(plan.weights) == 9
    assert sum(plan.weights) == pytest.approx(1)
    assert len({seed for _, seed in plan.searches}) == 9
    assert [{draw for draw, _ in part} for part in plan.by_draw(plan.searches)] == [
        {draw} for draw in plan.draws
    ]
    assert plan.weights[3] == pytest.approx(1 / 6)  # the draw of both, half as likely as all


def test_draws_have_names_of_their_own() -> None:
    views = [*make_plan("own", 3, 1).draws, *make_plan("held-out", 3, 1).draws]
    assert len({str(draw) for draw in views}) == len(views)
    assert str(Draw(seen=(0,), valuing=(1, 2))) == "0-on-1.2"
