"""The verdict of paired differences, by its laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tasearch.confirmation.statistics import COVERAGE, assess, holm
from tasearch.runs.verdicts import LookPlan, Verdict

PLAN = LookPlan()
STEP = 1 / 359
FIRST, LAST = PLAN.pairs

values = st.integers(-40, 40).map(lambda hits: hits * STEP)
differences = st.lists(st.none() | values, min_size=LAST, max_size=LAST)


def one(found: list[float | None], plan: LookPlan = PLAN) -> Verdict:
    (verdict,) = assess([found], plan, least_step=STEP)
    return verdict


def test_nothing_is_known_before_the_first_look() -> None:
    assert one([0.1] * (FIRST - 1)) == Verdict()


def test_large_steady_difference_is_settled_at_the_first_look() -> None:
    up = one([0.05, 0.051, 0.052, 0.049] * 2)
    assert (up.answer, up.settled, up.pairs) == ("helps", True, FIRST)
    down = one([-0.05, -0.051, -0.052, -0.049] * 2)
    assert (down.answer, down.settled) == ("hurts", True)


def test_equal_chains_make_no_difference() -> None:
    found = one([0.0] * FIRST)
    assert (found.answer, found.settled, found.pairs) == ("no difference", True, FIRST)


def test_noise_cannot_be_told_after_the_last_look() -> None:
    noisy: list[float | None] = [0.05, -0.04, 0.03, -0.05] * 4 + [0.05, -0.05]
    assert not one(noisy[:FIRST]).settled
    found = one(noisy)
    assert (found.answer, found.settled, found.pairs) == ("cannot tell", True, LAST)
    sd = float(np.std(noisy, ddof=1))  # type: ignore[arg-type]
    distance = stats.norm.ppf(1 - PLAN.alpha * PLAN.shares[-1] / 2) + stats.norm.ppf(0.8)
    assert found.needed == pytest.approx((distance * sd / PLAN.margin) ** 2, abs=1)


@given(differences)
def test_first_look_is_a_paired_t_test_at_its_share(found: list[float | None]) -> None:
    known = [d for d in found[:FIRST] if d is not None]
    assessed = one(found[:FIRST])
    assert assessed.pairs == len(known)
    if len(known) < 2:
        assert assessed.difference is None
        return
    if np.std(known, ddof=1) < STEP:
        return  # a smaller deviation than one sample's is not believed
    p = stats.ttest_1samp(known, 0).pvalue / PLAN.shares[0]
    assert assessed.p == pytest.approx(min(1.0, p), rel=1e-6)
    low, high = stats.t.interval(COVERAGE, len(known) - 1, np.mean(known), stats.sem(known))
    assert (assessed.low, assessed.high) == (pytest.approx(low), pytest.approx(high))


@given(st.lists(st.integers(-5, 5).map(lambda hits: hits * STEP), min_size=LAST, max_size=LAST))
def test_no_difference_is_shown_beyond_the_spent_error_rate(found: list[float]) -> None:
    assessed = one([*found])
    known = found[: assessed.pairs]
    assume(assessed.answer == "no difference" and np.std(known, ddof=1) >= STEP)
    share = PLAN.shares[PLAN.pairs.index(assessed.pairs)]
    error = stats.sem(known)
    for bound in (-PLAN.margin, PLAN.margin):  # two one-sided tests
        t = abs(np.mean(known) - bound) / error
        assert stats.t.sf(t, len(known) - 1) <= share * PLAN.alpha / 2 + 1e-12


@given(st.lists(differences, min_size=1, max_size=4))
def test_mirrored_differences_have_mirrored_verdicts(found: list[list[float | None]]) -> None:
    mirrored = [[None if d is None else -d for d in own] for own in found]
    opposite = {"helps": "hurts", "hurts": "helps"}
    for a, b in zip(*(assess(f, PLAN, least_step=STEP) for f in (found, mirrored)), strict=True):
        assert opposite.get(a.answer, a.answer) == b.answer
        assert (a.p, a.pairs, a.needed, a.settled) == (b.p, b.pairs, b.needed, b.settled)
        if a.low is not None and b.high is not None:
            assert a.low == pytest.approx(-b.high)


@given(st.lists(differences, min_size=1, max_size=4))
def test_claim_leaves_zero_out_of_its_interval(found: list[list[float | None]]) -> None:
    for assessed in assess(found, PLAN, least_step=STEP):
        assert assessed.settled
        if assessed.answer in ("helps", "hurts"):
            assert assessed.low is not None
            assert assessed.high is not None
            assert assessed.low > 0 or assessed.high < 0
            assert assessed.p <= PLAN.alpha


@given(st.lists(differences, min_size=2, max_size=4), st.sampled_from(PLAN.pairs))
def test_more_pairs_never_change_what_is_settled(
    found: list[list[float | None]], pairs: int
) -> None:
    early = assess([own[:pairs] for own in found], PLAN, least_step=STEP)
    late = assess(found, PLAN, least_step=STEP)
    for a, b in zip(early, late, strict=True):
        assert a == b or not a.settled


@given(st.lists(differences, min_size=2, max_size=4))
def test_more_comparisons_never_settle_more(found: list[list[float | None]]) -> None:
    together = assess([own[:FIRST] for own in found], PLAN, least_step=STEP)
    for own, assessed in zip(found, together, strict=True):
        assert one(own[:FIRST]).settled or not assessed.settled


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_corrects_as_its_definition_says(ps: list[float]) -> None:
    corrected = holm(ps)
    for p, own in zip(ps, corrected, strict=True):
        smaller = [q for q in ps if q <= p]
        expected = max((len(ps) - sum(r < q for r in ps)) * q for q in smaller)
        assert own == pytest.approx(min(1.0, expected))


def test_a_failed_pair_counts_for_nothing() -> None:
    kept: list[float | None] = [0.05, 0.051, None, 0.052, None, 0.049]
    plan = replace(PLAN, pairs=(6, 18))
    assert one(kept, plan).pairs == 4
    assert one([None] * (FIRST - 1) + [0.1]) == Verdict(pairs=1)
