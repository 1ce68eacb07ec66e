"""Sets of chains from which the best is chosen, and what a larger set adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from benchmarks.paired import chosen_by_others, less
from benchmarks.table import Table
from tasearch.chains.chain import Chain

LABELS, FIRST = "labels alone", "direct, first recipe"
RECIPES, EPOCHS = "direct, any recipe", "direct, any recipe and epoch"
ASSISTANTS, ALL = "assistants, any recipe", "assistants, any recipe and epoch"
AFTER = "assistants after earlier epochs"
AT_FIRST = ", at the first rate"  # where learning rates are searched
STEPS = {  # what more chains to choose from add: those of the second name to those of the first
    "a teacher": (LABELS, FIRST),
    "the recipe": (FIRST, RECIPES),
    "an earlier epoch": (RECIPES, EPOCHS),
    "assistants": (RECIPES, ASSISTANTS),
    AFTER: (EPOCHS, ALL),
    f"a teacher{AT_FIRST}": (LABELS + AT_FIRST, FIRST + AT_FIRST),
    f"the recipe{AT_FIRST}": (FIRST + AT_FIRST, RECIPES + AT_FIRST),
    f"assistants{AT_FIRST}": (RECIPES + AT_FIRST, ASSISTANTS + AT_FIRST),
    "the learning rate, of labels alone": (LABELS + AT_FIRST, LABELS),
    "the learning rate, of the first recipe": (FIRST + AT_FIRST, FIRST),
    "the learning rate": (RECIPES + AT_FIRST, RECIPES),
}


def searches_rates(table: Table) -> bool:
    """Whether a table has several learning rates of students."""
    return len(table.manifest.study.recipes("student").options["learning_rate"]) > 1


def freedoms_of(chain: Chain, table: Table) -> Iterator[str]:
    """The sets that a chain is in, by their names."""
    yield from (own := [*_with_any_rate(chain, table)])
    study = table.manifest.study
    first = {
        **dict.fromkeys(chain.assistants, study.recipes("assistants").options["learning_rate"][0]),
        chain.student: study.recipes("student").options["learning_rate"][0],
    }
    at_first = all(
        model.recipe is None or model.recipe.learning_rate == rate for model, rate in first.items()
    )
    if searches_rates(table) and at_first:
        yield from (name + AT_FIRST for name in own)


def _with_any_rate(chain: Chain, table: Table) -> Iterator[str]:
    if not chain.student.distilled:
        yield LABELS
        return
    recipe, early = chain.student.recipe, any(model.early for model in chain.models)
    first, *_ = table.manifest.study.recipes("student").one_per_loss()
    assert recipe is not None
    yield ALL
    if not early:
        yield ASSISTANTS
    if not chain.assistants:
        yield EPOCHS
        if not early:
            yield RECIPES
        if replace(recipe, learning_rate=first.learning_rate) == first:
            yield FIRST


def accuracies(chain: Chain, table: Table) -> tuple[float, ...]:
    """A student's accuracy in each replicate, in percent."""
    return tuple(100 * curve[-1] for curve in table[chain.hop()].curves)


Worth = dict[str, list[float]]  # a value for each replicate, by name


def worth(chains: Iterable[Chain], table: Table) -> tuple[Worth, Worth]:
    """What the freedoms are worth to one student.

    Args:
        chains: All chains of the student.
        table: Their table.

    Returns:
        The accuracy with each freedom, in percent; and what each step adds, in points.
    """
    sets: dict[str, list[tuple[float, ...]]] = {}
    for chain in chains:
        for name in freedoms_of(chain, table):
            sets.setdefault(name, []).append(accuracies(chain, table))
    best = {name: chosen_by_others(own) for name, own in sets.items()}
    adds = {
        step: less(best[many], best[few])
        for step, (few, many) in STEPS.items()
        if few in sets and many in sets and sets[few] != sets[many]
    }
    if sets.get(RECIPES) == sets.get(EPOCHS):
        adds.pop(AFTER, None)  # the same as without earlier epochs
    return best, adds
