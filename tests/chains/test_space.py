from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipes import Choices, Recipes
from tasearch.chains.space import Space
from tests.helpers.recipes import CE, KD

widths = st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True).map(
    lambda values: tuple(sorted(values, reverse=True))
)
losses = st.sampled_from([("kd",), ("ce",), ("kd", "ce"), ("ce", "kd"), ("kd", "ce", "dist")])


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    assistants = draw(widths)
    largest = draw(st.integers(0, min(3, len(assistants))))
    smallest = draw(st.integers(0, largest))
    roles = []
    for limit in (1, 0):  # a study file refuses "ce" where more assistants are asked for
        loss = ("kd",) if smallest > limit else draw(losses)
        options = {
            "loss": loss,
            "temperature": draw(st.sampled_from([(4.0,), (2.0, 4.0)])),
            "alpha": (0.9,),
            "guidance": draw(st.sampled_from([("serial",), ("dense",), ("dense", "serial")])),
            "learning_rate": draw(st.sampled_from([(0.01,), (0.1, 0.01)])),
            "teacher_epoch": draw(st.sampled_from([(1.0,), (0.5,), ("progressive", 1.0)])),
            "start": draw(st.sampled_from([("random",), ("teacher", "random")])),
            "hidden": draw(st.sampled_from([("none",), ("states",), ("none", "states")])),
            "hidden_weight": draw(st.sampled_from([(1.0,), (0.5, 1.0)])),
        }
        roles.append(Recipes(base=KD, options=options))
    return Space(
        teacher=ModelSpec(width=31, recipe=CE),
        assistant_widths=assistants,
        student_widths=draw(widths),
        min_assistants=smallest,
        max_assistants=largest,
        assistant_recipes=roles[0],
        student_recipes=roles[1],
    )


@given(spaces())
def test_choices_of_chain_stand_for_that_chain(space: Space) -> None:
    for chain in itertools.islice(space, 300):
        assert space.chain(space.choices(chain)) == chain


@given(spaces())
def test_space_counts_its_distinct_chains(space: Space) -> None:
    chains = list(space)
    assert len(set(chains)) == len(chains) == space.size


@given(spaces(), st.data())
def test_any_choices_stand_for_chain_of_space_or_none(space: Space, data: st.DataObject) -> None:
    raw: Choices = {
        name: data.draw(st.sampled_from(values)) for name, values in space.domains.items()
    }
    chain = space.chain(raw)
    if chain is not None:
        assert chain in set(space)
        canonical = space.choices(chain)
        assert space.choices(space.chain(canonical) or chain) == canonical
        assert all(canonical[name] in values for name, values in space.domains.items())


@given(spaces())
def test_baselines_try_each_loss_once_with_the_narrowest_student_first(space: Space) -> None:
    assume(not space.min_assistants)
    options = space.student_recipes.options
    losses = sorted(options["loss"], key=lambda loss: loss == "ce")  # labels alone come last
    expected = [
        (loss, options["temperature"][0], options["learning_rate"][0], (31, width))
        for width in sorted(space.student_widths)
        for loss in losses
    ]
    baselines = space.baselines()
    assert [
        (r.loss, r.temperature, r.learning_rate, c.widths)
        for c in baselines
        if (r := c.student.recipe)
    ] == expected
    assert {*baselines} <= {*space}


@given(spaces())
def test_every_chain_has_direct_chain_with_its_students_recipe(space: Space) -> None:
    every = {*space}
    for chain in itertools.islice(space, 300):
        direct = space.direct(chain)
        if space.min_assistants:
            assert direct is None
            continue
        assert direct in every
        assert direct.widths == (31, chain.student.width)
        own, recipe = chain.student.recipe, direct.student.recipe
        assert own and recipe
        assert replace(own, guidance="") == replace(recipe, guidance="")


def test_choices_drop_assistants_no_wider_than_student() -> None:
    recipes = Recipes(
        base=KD,
        options={
            "loss": ("kd",),
            "temperature": (2.0, 4.0),
            "alpha": (0.9,),
            "guidance": ("serial",),
            "learning_rate": (0.01,),
            "teacher_epoch": (1.0,),
            "start": ("random",),
            "hidden": ("none",),
            "hidden_weight": (1.0,),
        },
    )
    space = Space(
        teacher=ModelSpec(width=64, recipe=CE),
        assistant_widths=(32, 16, 8),
        student_widths=(8, 4),
        min_assistants=0,
        max_assistants=2,
        assistant_recipes=recipes,
        student_recipes=recipes,
    )
    raw: Choices = {
        "assistants": 2,
        "assistant_1": 8,
        "assistant_2": 16,
        "student": 8,
        "assistant_temperature": 4.0,
        "student_temperature": 2.0,
    }
    chain = space.chain(raw)
    assert chain is not None
    assert chain.widths == (64, 16, 8)  # an assistant no wider than the student drops out
    assert space.choices(chain) == {
        "assistants": 1,
        "assistant_1": 16,
        "assistant_2": 0,
        "student": 8,
        "assistant_temperature": 4.0,
        "student_temperature": 2.0,
    }


@given(spaces())
def test_every_chain_is_the_member_that_trains_its_student(space: Space) -> None:
    for chain in itertools.islice(space, 300):
        assert space.canonical(chain) == chain
        assert space.member(chain) == space.choices(chain)
