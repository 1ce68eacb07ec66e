from __future__ import annotations

from tasearch.chains.keys import canonical_json, derived_seed


def test_canonical_json_ignores_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [2.5]}) == canonical_json({"a": [2.5], "b": 1})


def test_derived_seeds_differ_and_fit_63_bits() -> None:
    seeds = [derived_seed("weights", seed, width) for seed in range(10) for width in range(10)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
