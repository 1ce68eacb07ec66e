"""Simulated workers of a cluster: how much sooner a search ends, and how many are idle."""

from __future__ import annotations

import pytest

from benchmarks.ray_replay import simulated


@pytest.mark.slow
def test_simulated_workers_are_idle_where_trials_are_few() -> None:
    one, few, many = (simulated(n, 4, 1.0, 0.1, seeds=1, trials=30) for n in (1, 2, 64))
    assert one["speed_up"]["median"] == pytest.approx(1.0)
    assert one["idle"]["median"] == pytest.approx(0.0, abs=1e-9)
    assert 1.0 < few["speed_up"]["median"] <= 2.0
    assert 2.0 < many["speed_up"]["median"] <= 8.0  # a trial may train its assistants beside it
    assert few["idle"]["median"] < 0.5 < many["idle"]["median"] < 1.0
    assert one["trials"] == few["trials"] == many["trials"]
