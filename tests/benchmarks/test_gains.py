"""What each freedom gains, from tables."""

from __future__ import annotations

from statistics import fmean

import pytest
from scipy import stats

from benchmarks.early_teachers import by_teachers_progress, learned_at
from benchmarks.freedoms import (
    ALL,
    ASSISTANTS,
    AT_FIRST,
    EPOCHS,
    FIRST,
    LABELS,
    RECIPES,
    STEPS,
    accuracies,
    freedoms_of,
    worth,
)
from benchmarks.gains import (
    assistants_by_loss,
    by_loss,
    by_options,
    by_rate,
    differences,
    of_rates,
    summarize,
)
from benchmarks.paired import chosen_by_others, interval, p_value, survivors
from benchmarks.table import Table
from tests.helpers.replay import DIGITS

SUBSETS = (
    (FIRST, RECIPES),
    (RECIPES, EPOCHS),
    (RECIPES, ASSISTANTS),
    (EPOCHS, ALL),
    (ASSISTANTS, ALL),
)


@pytest.fixture(scope="module")
def parity() -> Table:
    return Table.load(DIGITS.with_name("parity.json.gz"))


@pytest.fixture(scope="module")
def rates() -> Table:
    return Table.load(DIGITS.with_name("digits-rates.json.gz"))


def test_chain_is_chosen_by_other_replicates_than_it_is_valued_by() -> None:
    lucky, steady = (90.0, 10.0, 10.0), (50.0, 50.0, 50.0)
    # without the first replicate the steady one is better; without another one they are equal
    assert chosen_by_others([steady, lucky]) == [50.0, 50.0, 50.0]
    assert chosen_by_others([lucky, steady]) == [50.0, 10.0, 10.0]


def test_interval_is_that_of_a_t_test() -> None:
    values = [1.0, 2.5, 0.5, 3.0]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = interval(values)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["mean"] == fmean(values)


def test_p_value_is_that_of_a_t_test_and_believes_no_smaller_noise_than_a_sample() -> None:
    values = [1.0, 2.5, 0.5, 3.0]
    assert p_value(values, 0.1) == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)
    assert p_value([1.0, 1.0], 0.5) == pytest.approx(2 * stats.t.sf(2 * 2**0.5, 1))


def test_holm_counts_gains_and_losses_until_the_first_that_is_not() -> None:
    gain, loss = [5.0, 5.1, 4.9, 5.0], [-5.0, -5.1, -4.9, -5.0]
    nothing = [1.0, -1.0, 0.5, -0.4]
    assert survivors([gain, nothing, loss], 0.01) == {"compared": 3, "gains": 1, "losses": 1}
    between = [2.0, 3.5, 1.5, 3.0]  # p = 0.011: enough alone, too large among ten
    assert survivors([between], 0.01)["gains"] == 1
    assert survivors([between] + [nothing] * 9, 0.01)["gains"] == 0


def test_sets_of_chains_grow(parity: Table) -> None:
    chains = [*parity.space(parity.manifest)]
    sets = {
        name: {chain for chain in chains if name in freedoms_of(chain, parity)}
        for name in (LABELS, FIRST, RECIPES, EPOCHS, ASSISTANTS, ALL)
    }
    for few, many in SUBSETS:
        assert sets[few] <= sets[many]
        assert (sets[few] < sets[many]) == ((few, many) != (FIRST, RECIPES))  # one loss to distil
    assert len(sets[LABELS]) == len(sets[FIRST]) == 5
    assert sets[LABELS] | sets[ALL] == {*chains}
    assert not sets[LABELS] & sets[ALL]


def test_what_a_step_adds_is_a_difference_of_accuracies(parity: Table) -> None:
    chains = [c for c in parity.space(parity.manifest) if c.student.width == 6]
    found, adds = worth(chains, parity)
    one_rate = {step for step in STEPS if AT_FIRST not in step and "rate" not in step}
    assert {*adds} == one_rate - {"the recipe"}
    for step, (few, many) in STEPS.items():
        if step in adds:
            assert adds[step] == [b - a for a, b in zip(found[few], found[many], strict=True)]
    (labels,) = (c for c in chains if not c.student.distilled)
    assert found[LABELS] == [*accuracies(labels, parity)]


def test_differences_are_those_to_direct_distillation_by_the_same_recipe(parity: Table) -> None:
    found = differences(parity)
    assert len(found) == sum(bool(c.assistants) for c in parity.space(parity.manifest))
    chain = next(c for c in found if len(c.assistants) == 2)
    direct = next(
        c
        for c in parity.space(parity.manifest)
        if not c.assistants and c.student.recipe == chain.student.recipe
        if c.student.width == chain.student.width
    )
    own, other = (100 * parity.accuracy(c) for c in (chain, direct))
    assert fmean(found[chain]) == pytest.approx(own - other, abs=1e-9)


def test_summary_counts_each_chain_once(parity: Table) -> None:
    found = summarize(parity)
    assert found["after_holm"]["compared"] == len(differences(parity))
    assert set(found["students"]) == {"16", "12", "8", "6", "4"}
    means = [s["adds"]["an earlier epoch"]["mean"] for s in found["students"].values()]
    assert found["adds"]["an earlier epoch"]["mean"] == pytest.approx(fmean(means))
    assert found["chains"]["all"]["low"] < found["chains"]["all"]["mean"]


def test_teacher_has_learned_near_its_end() -> None:
    assert learned_at([0.5, 0.97, 0.97, 1.0], [1, 2, 3, 4], 2) == 4  # 94 % of the way from a half
    assert learned_at([0.5, 0.98, 0.4, 1.0], [1, 2, 3, 4], 2) == 2
    assert learned_at([0.98, 0.5, 0.99, 1.0], [2, 4], 2) == 2


def test_early_teachers_are_grouped_by_what_they_had_learned(parity: Table) -> None:
    found = by_teachers_progress(parity)
    assert {*found} == {"0.2", "progressive"}
    groups = found["0.2"]
    assert sum(group["replicates"] for group in groups.values()) == parity.replicates
    curves = parity[parity.teacher_hop].curves  # epoch 4 of 20 is the second rung
    assert groups["just"]["replicates"] == sum(c[3] >= 0.975 > c[1] for c in curves)
    assert groups["not yet"]["replicates"] == sum(c[3] < 0.975 for c in curves)
    chains = {
        (c.student.width, c.student.recipe.teacher_epoch): accuracies(c, parity)
        for c in parity.space(parity.manifest)
        if not c.assistants and c.student.recipe and c.student.distilled
    }
    own = [
        fmean(chains[width, 0.2][i] - chains[width, 1.0][i] for width in (16, 12, 8, 6, 4))
        for i, curve in enumerate(curves)
        if curve[3] < 0.975
    ]
    assert groups["not yet"]["mean"] == pytest.approx(fmean(own))


def test_losses_and_guidance_are_compared_where_they_are_searched(parity: Table) -> None:
    table = Table.load(DIGITS.with_name("digits-losses.json.gz"))
    assert by_options(parity) == {}
    found = by_options(table)
    chains = [c for c in table.space(table.manifest) if c.assistants]
    assert [sum(belongs(c) for belongs in found.values()) for c in chains] == [1] * len(chains)
    assert {*found} >= {"kd, serial", "dist, dense"}
    losses = by_loss(table)
    assert {*losses} == {"kd-std", "dist", "dkd"}
    direct = {
        (c.student.width, c.student.recipe.loss): table.accuracy(c)
        for c in table.space(table.manifest)
        if not c.assistants and c.student.recipe
    }
    own = fmean(100 * (direct[w, "dist"] - direct[w, "kd"]) for w in (8, 6, 4, 3, 2))
    assert losses["dist"]["mean"] == pytest.approx(own)


def test_first_rate_is_a_part_of_every_rate(rates: Table) -> None:
    chains = [*rates.space(rates.manifest)]
    sets = {
        name: {chain for chain in chains if name in freedoms_of(chain, rates)}
        for own in (LABELS, FIRST, RECIPES, ASSISTANTS)
        for name in (own, own + AT_FIRST)
    }
    sizes = {name: len(own) for name, own in sets.items()}
    assert sizes == {
        LABELS: 9,  # three students at three rates
        LABELS + AT_FIRST: 3,
        FIRST: 9,
        FIRST + AT_FIRST: 3,
        RECIPES: 18,  # two losses
        RECIPES + AT_FIRST: 6,
        ASSISTANTS: 18 + 54,  # three rates of the assistant
        ASSISTANTS + AT_FIRST: 6 + 6,
    }
    for own in (LABELS, FIRST, RECIPES, ASSISTANTS):
        assert sets[own + AT_FIRST] < sets[own]
    first = {m.recipe.learning_rate for c in sets[ASSISTANTS + AT_FIRST] for m in c.models[1:]}
    assert first == {0.01}


def test_each_loss_has_the_rate_that_other_replicates_choose(rates: Table) -> None:
    def best(loss: str, width: int, assistants: int) -> list[float]:
        own = [
            accuracies(c, rates)
            for c in rates.space(rates.manifest)
            if c.student.recipe
            and (c.student.recipe.loss, c.student.width) == (loss, width)
            and len(c.assistants) == assistants
        ]
        assert len(own) == (9 if assistants else 3)
        return chosen_by_others(own)

    for loss in ("dist", "ce"):
        mean = fmean(fmean(best(loss, w, 0)) - fmean(best("kd", w, 0)) for w in (8, 4, 2))
        assert by_loss(rates)[loss]["mean"] == pytest.approx(mean)
    mean = fmean(fmean(best("dist", w, 1)) - fmean(best("dist", w, 0)) for w in (8, 4, 2))
    found = assistants_by_loss(rates)
    assert found["dist"]["mean"] == pytest.approx(mean)
    assert {*found} == {"kd", "dist"}


def test_accuracy_is_told_by_rate_where_rates_are_searched(rates: Table, parity: Table) -> None:
    assert of_rates(parity) == {}
    found = by_rate(rates)
    assert {loss: {*own} for loss, own in found.items()} == {
        loss: {"0.01", "0.03", "0.1"} for loss in ("kd", "dist", "ce")
    }
    own = [
        100 * rates.accuracy(c)
        for c in rates.space(rates.manifest)
        if not c.assistants and c.student.recipe
        if (c.student.recipe.loss, c.student.recipe.learning_rate) == ("ce", 0.1)
    ]
    assert found["ce"]["0.1"]["mean"] == pytest.approx(fmean(own))
    assert summarize(rates)["rates"] == found
