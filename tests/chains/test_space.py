from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipes import Choices, Recipes
from tasearch.chains.space import Space
from tests.helpers.recipes import CE, KD

widths = st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True).map(
    lambda values: tuple(sorted(values, reverse=True))
)
losses = st.sampled_from([("kd",), ("ce",), ("kd", "ce"), ("ce", "kd")])


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
@settings(max_examples=30)
def test_baselines_are_students_without_assistants(space: Space) -> None:
    baselines = space.baselines()
    if space.min_assistants:
        assert baselines == []
        return
    losses = sorted(space.student_recipes.options["loss"], reverse=True)  # "kd" before "ce"
    expected = [(loss, (31, width)) for loss in losses for width in space.student_widths]
    assert [(c.student.recipe.loss, c.widths) for c in baselines] == expected
    assert set(baselines) <= set(space)


def test_choices_drop_assistants_no_wider_than_student() -> None:
    recipes = Recipes(
        base=KD,
        options={
            "loss": ("kd",),
            "temperature": (2.0, 4.0),
            "alpha": (0.9,),
            "guidance": ("serial",),
            "learning_rate": (0.01,),
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
