"""Searches without a model on a small table of made-up accuracies."""

from __future__ import annotations

import random

import pytest

from benchmarks.baselines import HopCosts
from benchmarks.search_methods import METHODS
from benchmarks.strong_baselines import (
    Known,
    Rule,
    Stage,
    assistants_alone,
    by_capacity_gap,
    by_half_way,
    by_midpoint,
    by_minidisc,
    cheapest_first,
    chosen_by,
    direct,
    every,
    in_stages,
    small_assistants_alone,
)
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop
from tasearch.runs.directory import Manifest
from tests.helpers.made_up_table import by_chance, made_up

RECIPES = {"loss": ["kd", "dist"], "temperature": [2.0, 4.0]}
WIDTHS = {16: 0.98, 12: 0.9, 8: 0.8, 6: 0.6, 4: 0.5, 2: 0.3}  # accuracies under the teacher
WHOLE = 10**6


def by_width(hop: Hop, _: int) -> float:
    return WIDTHS[hop.model.width]


def known(table: Table, manifest: Manifest) -> Known:
    costs = HopCosts(table, manifest, free=True)
    return Known(space=table.space(manifest), manifest=manifest, costs=costs)


def trained(table: Table, manifest: Manifest, method: str, seed: int = 0) -> list[Hop]:
    """The last hop of each chain that a method trains."""
    baseline = METHODS[method].baseline
    assert baseline is not None
    return [step.finished[-1] for step in baseline(table, manifest, seed, WHOLE).steps]


def test_cheapest_first_pays_least_next() -> None:
    table, manifest = made_up(by_chance, student=RECIPES)
    chains = [*table.space(manifest)]
    stored = {table.teacher_hop.canonical_lineage}
    paid = 0.0

    def left(chain: Chain) -> float:
        return sum(
            table.cost(hop, manifest) for hop in chain.hops() if hop.canonical_lineage not in stored
        )

    steps = in_stages(table, manifest, 0, WHOLE, stages=[every]).steps
    for step in steps:
        (chain,) = (c for c in chains if c.hop() == step.finished[-1])
        assert left(chain) == min(filter(None, map(left, chains)))
        paid += left(chain)
        assert step.paid == paid
        assert step.finished == tuple(chain.hops())[1:]  # assistants are candidates too
        stored |= {hop.canonical_lineage for hop in chain.hops()}
    assert not any(map(left, chains))
    assert steps[-1].volume == pytest.approx(table.best_volume(manifest))


def test_stored_hops_change_what_is_cheapest() -> None:
    """16 to 12 to 2 costs less than 16 to 6 once the 12 is there, and more before."""
    table, manifest = made_up(by_width)
    search = known(table, manifest)
    chains = {chain.widths: chain for chain in search.space}
    two = [chains[16, 12, 2], chains[16, 6]]
    order = cheapest_first(search.costs, two, random.Random(0))
    assert [chain.widths for chain in order] == [(16, 6), (16, 12, 2)]
    search.costs.train(chains[16, 12, 4])
    order = cheapest_first(search.costs, two, random.Random(0))
    assert [chain.widths for chain in order] == [(16, 12, 2), (16, 6)]


def test_seed_breaks_ties_and_changes_no_cost() -> None:
    table, manifest = made_up(by_width, student=RECIPES)
    first, again, other = (
        in_stages(table, manifest, seed, WHOLE, stages=[every]).steps for seed in (0, 0, 1)
    )
    assert first == again
    assert [step.finished for step in first] != [step.finished for step in other]
    assert [step.paid for step in first] == [step.paid for step in other]


def test_grid_is_each_student_with_each_recipe() -> None:
    table, manifest = made_up(by_width, student=RECIPES)
    found = trained(table, manifest, "direct")
    assert [hop.model.width for hop in found] == [2] * 4 + [4] * 4 + [6] * 4
    assert len({hop.canonical_lineage for hop in found}) == 12
    whole = trained(table, manifest, "direct, cheapest")
    assert whole[:12] == found
    assert len(whole) > 12
    losses = trained(table, manifest, "direct once a loss, cheapest")[:6]
    recipes = [(hop.model.width, hop.model.recipe) for hop in losses]
    models = [(width, recipe.loss, recipe.temperature) for width, recipe in recipes if recipe]
    assert sorted(models) == [(w, loss, 2.0) for w in (2, 4, 6) for loss in ("dist", "kd")]


@pytest.mark.parametrize(
    ("rule", "needs", "chains"),
    [
        # geometric means: 160 (6 is 160), 320 (8 is 350), 506 (8 and 12: ratios 1.45 and 1.42)
        (by_midpoint, [], {(16, 6, 2), (16, 8, 4), (16, 12, 6)}),
        # 2: 4 assistants, at most 2, at 40 and 100; 4: 2, at 160 and 400; 6: 2, at 400 and 1,000
        (
            by_capacity_gap,
            [],
            {(16, 6, 2), (16, 6, 4), (16, 8, 6, 4), (16, 8, 6), (16, 12, 8, 6)},
        ),
        # means with the teacher's 0.98: 0.64, 0.74, 0.79
        (by_half_way, [assistants_alone], {(16, 6, 2), (16, 8, 4), (16, 8, 6)}),
        # accuracy and 0.2 (1 - size / 1600): 12 has 1.01, 8 has 0.956, 6 has 0.78
        (by_minidisc, [small_assistants_alone], {(16, 12, 2), (16, 12, 4), (16, 12, 6)}),
    ],
)
def test_rule_chooses_by_its_formula(
    rule: Rule, needs: list[Stage], chains: set[tuple[int, ...]]
) -> None:
    table, manifest = made_up(by_width)
    search = known(table, manifest)
    for stage in (direct, *needs):
        for chain in stage(search):
            search.costs.train(chain)
    assert {chain.widths for chain in chosen_by(rule)(search)} == chains


def test_rule_is_asked_for_each_recipe() -> None:
    table, manifest = made_up(by_width, student=RECIPES)
    chains = [*chosen_by(by_midpoint)(known(table, manifest))]
    assert len(chains) == len({chain.hop().canonical_lineage for chain in chains}) == 12


@pytest.mark.parametrize("rule", [by_half_way, by_minidisc])
def test_rule_knows_only_what_was_paid(rule: Rule) -> None:
    search = known(*made_up(by_width))
    for chain in direct(search):
        search.costs.train(chain)
    with pytest.raises(AssertionError, match="not paid"):
        [*chosen_by(rule)(search)]


def test_assistants_are_paid_before_their_rule() -> None:
    table, manifest = made_up(by_width)
    for method, widths in (("half-way", [6, 8, 12]), ("minidisc", [6, 8, 12])):
        found = trained(table, manifest, method)
        alone = [hop.model.width for hop in found[3:6]]
        assert alone == widths
        assert all(len(hop.lineage) == 2 for hop in found[3:6])


def test_minidisc_pays_only_for_small_assistants() -> None:
    sizes = {16: 1600, 12: 801, 8: 350, 6: 160, 4: 64, 2: 16}
    chains = small_assistants_alone(known(*made_up(by_width, sizes=sizes)))
    assert [chain.widths for chain in chains] == [(16, 6), (16, 8)]


def test_assistants_within_the_budget_count() -> None:
    """8 is within the budget, but no student of the study."""
    table, manifest = made_up(by_width)
    search = known(table, manifest)
    chain = next(c for c in search.space if c.widths == (16, 8, 2))
    search.costs.train(chain)
    strict = HopCosts(table, manifest)
    strict.train(chain)
    assert search.costs.volume > strict.volume
    assert search.costs.steps[-1].finished[0].model.width == 8
