"""What a front is worth on the replicates that a search saw, and on others."""

from __future__ import annotations

import pytest

from benchmarks.baselines import HopCosts
from benchmarks.draws import Draw
from benchmarks.regrets import regrets
from benchmarks.replay import manifest_for, replay
from tasearch.chains.hop import Hop
from tests.helpers.made_up_table import by_chance, made_up


def test_other_replicates_value_the_front_that_was_chosen() -> None:
    """Direct 2 is lucky where it is seen; behind 6 it is better than it seems.

    All have one size, so hypervolumes are as accuracies less 0.1, those of guessing.
    """
    accuracies = {(16, 2): (0.9, 0.4), (16, 6, 2): (0.5, 0.8)}

    def accuracy(hop: Hop, replicate: int) -> float:
        widths = tuple(model.width for model in hop.lineage)
        return accuracies.get(widths, (0.1, 0.1))[replicate]

    table, manifest = made_up(accuracy, replicates=2)
    draw = Draw(seen=(0,), valuing=(1,))
    search = HopCosts(table.seeing((0,)), manifest, free=True)
    chains = {chain.widths: chain for chain in table.space(manifest)}
    search.train(chains[16, 6, 2])
    search.train(chains[16, 2])
    found = regrets(table, draw, manifest, search.steps)
    assert found["floor"] == pytest.approx(4 / 7)  # 0.4 is shipped, 0.8 is there
    assert found["regrets"] == pytest.approx([-4 / 7, 0.0])
    own = regrets(table, Draw(seen=(0,)), manifest, search.steps)
    assert own["floor"] == 0
    assert own["regrets"] == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize("draw", [Draw(seen=(0, 0, 2)), Draw(seen=(1,), valuing=(0, 2))])
def test_whole_space_has_no_regret_beyond_the_floor(draw: Draw) -> None:
    table, manifest = made_up(by_chance, replicates=3)
    seen = table.seeing(draw.seen)
    budget = manifest.study.budget.model_dump()
    unpruned = manifest_for(seen, {"pruner": "none"}, 0, budget)
    whole = replay(seen, unpruned, trials=1000).steps
    costs = HopCosts(seen, manifest, free=True)
    for chain in reversed([*seen.space(manifest)]):
        costs.train(chain)
    for steps in (whole, costs.steps):
        assert regrets(table, draw, manifest, steps)["regrets"][-1] == pytest.approx(0)


def test_seen_replicates_decide_accuracies_and_costs() -> None:
    table, manifest = made_up(by_chance, replicates=3)
    (hop, *_) = table.hops(manifest)
    ends = [curve[-1] for curve in table[hop].curves]
    twice = table.seeing((0, 0, 2))
    assert twice.end(hop) == pytest.approx((2 * ends[0] + ends[2]) / 3)
    assert twice[hop].seconds == table[hop].seconds
    one = table.seeing((1,))
    assert one.replicates == 1
    assert one.end(hop) == ends[1]
    assert one.cost(hop, one.manifest) == pytest.approx(table.cost(hop, table.manifest) / 3)
    assert one[hop].seconds == pytest.approx(table[hop].seconds / 3)
