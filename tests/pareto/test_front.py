from __future__ import annotations

import random
from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.errors import NothingFits
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tests.helpers.candidates import candidate, candidate_lists


def dominates(one: Candidate, other: Candidate) -> bool:
    """No worse in accuracy, size and latency, and better in one of them."""
    mine = (-one.accuracy, one.params, one.latency_ms)
    theirs = (-other.accuracy, other.params, other.latency_ms)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


@given(candidate_lists)
def test_front_holds_what_no_other_beats(found: list[Candidate]) -> None:
    unbeaten = {
        (c.accuracy, c.params, c.latency_ms)
        for c in found
        if not any(dominates(other, c) for other in found)
    }
    members = Front(found).members
    assert {(c.accuracy, c.params, c.latency_ms) for c in members} == unbeaten
    assert len(members) == len(unbeaten)  # one stands for all that are equal


@given(candidate_lists, st.randoms(use_true_random=False))
def test_front_is_idempotent_and_ignores_order(found: list[Candidate], rng: random.Random) -> None:
    front = Front(found)
    assert Front(front.members).members == front.members
    shuffled = found[:]
    rng.shuffle(shuffled)
    assert Front(shuffled).members == front.members


@given(candidate_lists)
def test_front_equals_optunas(found: list[Candidate]) -> None:
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    for c in found:
        values = (c.accuracy, c.params, c.latency_ms)
        study.add_trial(optuna.trial.create_trial(values=values))
    best = {tuple(t.values) for t in study.best_trials} if found else set()
    assert {(c.accuracy, c.params, c.latency_ms) for c in Front(found).members} == best


@given(candidate_lists, st.integers(1, 6), st.sampled_from([1.0, 2.5, 9.0]))
def test_best_returns_most_accurate_that_fits(
    found: list[Candidate], params: int, latency: float
) -> None:
    budget = Budget(max_params=params, max_latency_ms=latency)
    fitting = [c for c in found if c.params <= params and c.latency_ms <= latency]
    if fitting:
        best = Front(found).best(Budget(max_params=params, max_latency_ms=latency))
        assert budget.admits(best)
        assert best.accuracy == max(c.accuracy for c in fitting)
    else:
        with pytest.raises(NothingFits):
            Front(found).best(Budget(max_params=params, max_latency_ms=latency))


def test_front_keeps_shortest_chain_then_earliest_trial_of_equals() -> None:
    same = [
        candidate(0.5, 3, 1.0, trial=0, depth=2),
        candidate(0.5, 3, 1.0, trial=2),
        candidate(0.5, 3, 1.0, trial=1),
    ]
    assert Front(same).members == (same[2],)


def test_best_names_nearest_miss() -> None:
    front = Front([candidate(0.5, 8, 1.0, trial=3), candidate(0.9, 40, 1.0, trial=4)])
    with pytest.raises(NothingFits) as error:
        front.best(Budget(max_params=5))
    assert str(error.value) == (
        "no candidate fits max_params = 5; the nearest is trial 3, 99 → 1: "
        "8 params, 32 bytes, 1 ms, accuracy 50.0%"
    )
    with pytest.raises(NothingFits, match="no student was trained to the end"):
        Front([]).best()


def test_budget_limits_bytes_that_front_ignores() -> None:
    big = replace(candidate(0.9, 2, 1.0), bytes=100)
    small = candidate(0.8, 2, 1.0, trial=1)
    assert Front([big, small]).members == (big,)
    assert Front([big, small]).best(Budget(max_bytes=50)) == small
