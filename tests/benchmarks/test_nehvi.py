"""The search by BoTorch's acquisition function, on a small table of made-up accuracies."""

from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.baselines import HopCosts
from benchmarks.strong_baselines import Known, direct_once_a_loss
from benchmarks.table import Table
from tasearch.chains.hop import Hop
from tasearch.pareto.expected_improvement import expected_improvement
from tasearch.pareto.hypervolume import HypervolumeGrid
from tasearch.runs.directory import Manifest
from tests.helpers.made_up_table import by_chance, made_up

pytest.importorskip("botorch", reason="BoTorch is not installed: pip install -e '.[baselines]'")

from benchmarks.nehvi import Gains, Pool, features, nehvi

RECIPES = {"loss": ["kd", "dist"], "temperature": [2.0, 4.0]}
WIDTHS = {16: 0.98, 12: 0.9, 8: 0.8, 6: 0.6, 4: 0.5, 2: 0.3}


def by_width(hop: Hop, _: int) -> float:
    """Accuracies that are easy to predict: each assistant costs two points."""
    return WIDTHS[hop.model.width] - 0.02 * len(hop.lineage)


def some_trained(table: Table, manifest: Manifest, count: int) -> HopCosts:
    """Costs after some random chains."""
    costs, chains = HopCosts(table, manifest, free=True), [*table.space(manifest)]
    random.Random(0).shuffle(chains)
    for chain in chains[:count]:
        costs.train(chain)
    return costs


@pytest.mark.slow
def test_search_trains_every_hop_once() -> None:
    table, manifest = made_up(by_chance)
    steps = nehvi(table, manifest, 0, 10**6).steps
    assert steps[-1].paid == sum(table.cost(hop, manifest) for hop in table.hops(manifest))
    assert steps[-1].volume == pytest.approx(table.best_volume(manifest))
    paid = [step.paid for step in steps]
    assert paid == sorted(set(paid))  # each chain trains something


def test_search_begins_with_direct_chains_and_obeys_its_seed() -> None:
    table, manifest = made_up(by_width, student=RECIPES)
    known = Known(
        space=table.space(manifest), manifest=manifest, costs=HopCosts(table, manifest, free=True)
    )
    first = {chain.hop().canonical_lineage for chain in direct_once_a_loss(known)}
    steps = nehvi(table, manifest, 3, len(first) + 2).steps
    assert len(steps) == len(first) + 2
    assert {step.finished[-1].canonical_lineage for step in steps[: len(first)]} == first
    assert nehvi(table, manifest, 3, len(first) + 2).steps == steps


def test_gains_are_near_those_in_closed_form() -> None:
    """The closed form takes accuracies for exact; here the noise is small, not nothing."""
    table, manifest = made_up(by_width, student=RECIPES)
    costs = some_trained(table, manifest, 25)
    gains = Gains(table, manifest, 0)
    found = gains(costs)
    hops = [hop for hop in table.hops(manifest) if hop.model.width in manifest.candidates]
    stored = np.array([hop.canonical_lineage in costs.found for hop in hops])
    trained, left = np.flatnonzero(stored), np.flatnonzero(~stored)
    assert found.keys() == {hops[place].canonical_lineage for place in left}
    grid = HypervolumeGrid(manifest.candidates, manifest.reference_box)
    for place in trained:
        grid.add(hops[place].model.width, costs.accuracy(hops[place]))
    process = gains._fit(trained, [costs.accuracy(hops[place]) for place in trained])
    posterior = process.posterior(gains._x[left])
    mean, sd = (
        values[:, 0].detach().numpy() for values in (posterior.mean, posterior.variance.sqrt())
    )
    widths = np.array([hops[place].model.width for place in left])
    closed = expected_improvement(grid, widths, mean, sd)
    own = np.array([found[hops[place].canonical_lineage] for place in left])
    assert own.argmax() in np.argsort(-closed)[:4]
    assert own.max() == pytest.approx(closed[own.argmax()], rel=0.3)
    assert np.corrcoef(own, closed)[0, 1] > 0.95


def test_pool_takes_the_largest_gain_for_what_is_not_paid() -> None:
    table, manifest = made_up(by_chance)
    chains, costs = [*table.space(manifest)], HopCosts(table, manifest, free=True)
    pool, rng = Pool(chains, costs), random.Random(0)
    gains = {hop.canonical_lineage: rng.random() for hop in table.hops(manifest)}
    for _ in range(len(chains) + 1):
        missing = {chain: costs.missing(chain) for chain in chains}
        rates = {
            chain: sum(gains[lineage] for lineage in hops) / sum(hops.values())
            for chain, hops in missing.items()
            if hops
        }
        chain = pool.best(costs, {k: v for k, v in gains.items() if k not in costs.found})
        if not rates:
            assert chain is None
            break
        assert chain is not None
        assert rates[chain] == pytest.approx(max(rates.values()))
        costs.train(chain)
    else:
        raise AssertionError("chains that cost nothing were trained")


def test_features_lie_in_the_unit_cube() -> None:
    table, manifest = made_up(by_chance, student=RECIPES)
    hops = [hop for hop in table.hops(manifest) if hop.model.width in manifest.candidates]
    x = features(table, manifest, hops)
    assert x.min(axis=0).tolist() == [0.0] * x.shape[1]
    assert x.max(axis=0).tolist() == [1.0] * x.shape[1]
    assert x.shape[0] == len(hops)
