"""A search that is told other replicates, between an oracle and a search that is told nothing."""

from __future__ import annotations

import pytest

from benchmarks.baselines import oracle
from benchmarks.informed import informed_cost
from benchmarks.replay import manifest_for
from benchmarks.search_methods import limits, load


def test_informed_search_without_noise_costs_about_what_an_oracle_does() -> None:
    """It is told what it will see, and takes what the oracle takes but for what that leaves out."""
    seen = load("census").seeing((0,))
    manifest = manifest_for(seen, {}, 0, limits(seen, "census"))
    known = oracle(seen, manifest, 0.001)
    assert known <= informed_cost(seen, seen, manifest, 1e-9, 0.001) * (1 + 1e-9)


def test_informed_search_pays_for_what_it_was_told_wrong() -> None:
    table = load("mnist")
    seen, told = table.seeing((0,)), table.seeing((1,))
    manifest = manifest_for(seen, {}, 0, limits(seen, "mnist"))
    right, wrong = (
        informed_cost(seen, other, manifest, table.noise(1), 0.01) for other in (seen, told)
    )
    assert right < wrong
    assert wrong == pytest.approx(informed_cost(seen, told, manifest, table.noise(1), 0.01))
