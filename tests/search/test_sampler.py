"""What an inner sampler proposes becomes a chain that has never been tried."""

from __future__ import annotations

from typing import Any

import optuna

from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipes import SEARCHED, Recipes
from tasearch.chains.space import Space
from tasearch.runs.journal import DIRECTIONS
from tasearch.search.parameters import distributions
from tasearch.search.sampler import ChainSampler
from tests.helpers.recipes import CE, KD

FIXED = {"assistants": 1, "assistant_1": 12, "student": 4}


class Fixed(optuna.samplers.RandomSampler):
    """Proposes the same chain again and again."""

    asked = 0

    def sample_relative(self, *args: Any) -> dict[str, Any]:
        Fixed.asked += 1
        return dict(FIXED)


def test_repeating_sampler_yields_the_nearest_new_chain() -> None:
    alone = Recipes(base=KD, options={name: (getattr(KD, name),) for name in SEARCHED})
    space = Space(
        teacher=ModelSpec(width=16, recipe=CE),
        assistant_widths=(14, 12, 10, 8),
        student_widths=(6, 5, 4, 3, 2),
        min_assistants=0,
        max_assistants=1,
        assistant_recipes=alone,
        student_recipes=alone,
    )
    sampler = ChainSampler(space, lambda seed: Fixed(seed=seed), 0)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    proposed, asked = [], []
    while not sampler.exhausted:
        Fixed.asked = 0
        choices = study.ask(distributions(space)).params
        asked.append(Fixed.asked)
        proposed.append(choices)
        sampler.remember(choices)
    assert [tuple(choices.values()) for choices in proposed[:2]] == [(0, 0, 4), (1, 12, 4)]
    assert asked == [1, 1] + [2] * (space.size - 2)
    found = [tuple(choices.values()) for choices in proposed]
    assert len({*found}) == space.size == 25
    near = {(1, w, 4) for w in (14, 10, 8)} | {(1, 12, w) for w in (6, 5, 3, 2)}
    direct = {(0, 0, w) for w in (6, 5, 3, 2)}  # before each chain that is the first of its student
    assert {*found[2:13]} == near | direct


def test_direct_chain_of_a_student_and_recipe_comes_before_its_chains_with_assistants() -> None:
    options = {name: (getattr(KD, name),) for name in SEARCHED}
    recipes = Recipes(base=KD, options=options | {"temperature": (4.0, 2.0)})
    space = Space(
        teacher=ModelSpec(width=16, recipe=CE),
        assistant_widths=(14, 12),
        student_widths=(6, 4),
        min_assistants=0,
        max_assistants=2,
        assistant_recipes=recipes,
        student_recipes=recipes,
    )
    sampler = ChainSampler(space, lambda seed: optuna.samplers.RandomSampler(seed=seed), 0)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    tried = set()
    while not sampler.exhausted:
        choices = study.ask(distributions(space)).params
        chain = space.chain(choices)
        assert chain is not None
        assert space.direct(chain) in {*tried, chain}
        tried.add(chain)
        sampler.remember(choices)
    assert len(tried) == space.size
