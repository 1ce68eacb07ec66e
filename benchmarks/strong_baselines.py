"""The simplest searches that could work: cheapest first, grids, and rules that choose an assistant.

All reuse hops as tasearch does: a stored hop costs nothing, and assistants within the budget count
for the front. The teacher is given. Nothing is pruned. Each search is a sequence of stages, and
within a stage the chain that costs least now is trained next: the training FLOPs of its hops that
are not stored yet. Ties are broken by a seeded shuffle of the stage's chains.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks import assistant_rules
from benchmarks.baselines import HopCosts
from benchmarks.table import Table
from tasearch.chains.assistant_rules import capacity_gap, midpoint
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.recipe import Recipe
from tasearch.chains.space import Space
from tasearch.runs.directory import Manifest


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a search knows when a stage begins.

    Args:
        space: Chains within the budget.
        manifest: Manifest with sizes.
        costs: What was trained so far, the only source of accuracies.
    """

    space: Space
    manifest: Manifest
    costs: HopCosts

    def params(self, width: int) -> int:
        """Number of parameters of a width."""
        return self.manifest.measured[width].params

    @property
    def teacher_params(self) -> int:
        return self.params(self.space.teacher.width)

    def direct_accuracy(self, model: ModelSpec) -> float:
        """Accuracy of a model under the teacher; it must have been trained."""
        return self.costs.accuracy(Chain(models=(self.space.teacher, model)).hop())

    @property
    def teacher_accuracy(self) -> float:
        return self.costs.accuracy(Hop(lineage=(self.space.teacher,)))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A student to choose assistants for.

    Args:
        student: The student.
        assistants: What an only assistant may be, by width.
        chains: Chains of the student with these assistants, by the assistants' widths.
    """

    student: ModelSpec
    assistants: dict[int, ModelSpec]
    chains: dict[tuple[int, ...], list[Chain]]


Stage = Callable[[Known], Iterable[Chain]]
Rule = Callable[[Known, Case], Sequence[tuple[int, ...]]]


def in_stages(
    table: Table, manifest: Manifest, seed: int, trials: int, *, stages: Sequence[Stage]
) -> HopCosts:
    """Search one stage after another.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        seed: Seed of the order among equally cheap chains.
        trials: Largest number of chains.
        stages: Each gives its chains when it begins.
    """
    rng, costs = random.Random(seed), HopCosts(table, manifest, free=True)
    known = Known(space=table.space(manifest), manifest=manifest, costs=costs)
    for stage in stages:
        chains = cheapest_first(costs, stage(known), rng)
        while len(costs.steps) < trials and (chain := next(chains, None)) is not None:
            costs.train(chain)
    return costs


def cheapest_first(costs: HopCosts, chains: Iterable[Chain], rng: random.Random) -> Iterator[Chain]:
    """Chains in the order of what they still cost, if each is trained before the next is asked for.

    A chain whose hops are all stored is left out: its student is among the candidates already.

    Args:
        costs: What was trained so far.
        chains: Chains to order.
        rng: Source of the order among chains of equal cost.
    """
    shuffled = [*chains]
    rng.shuffle(shuffled)
    missing = [costs.missing(chain) for chain in shuffled]
    users = defaultdict(list)
    for place, hops in enumerate(missing):
        for lineage in hops:
            users[lineage].append(place)
    queue = [(sum(hops.values()), place) for place, hops in enumerate(missing)]
    heapq.heapify(queue)
    while queue:
        _, place = heapq.heappop(queue)  # what it costs now: costs only fall
        if not missing[place]:
            continue
        yield shuffled[place]
        for lineage in [*missing[place]]:
            for user in users[lineage]:
                del missing[user][lineage]
                heapq.heappush(queue, (sum(missing[user].values()), user))


def every(known: Known) -> Iterable[Chain]:
    """All chains within the budget."""
    return known.space


def direct(known: Known) -> Iterator[Chain]:
    """All chains without assistants: each student with each recipe."""
    return (chain for chain in known.space if not chain.assistants)


def direct_once_a_loss(known: Known) -> Iterator[Chain]:
    """Each student under the teacher with the first recipe of each loss, as tasearch begins."""
    first = known.space.student_recipes.one_per_loss()
    return (chain for chain in direct(known) if chain.student.recipe in first)


def assistants_alone(known: Known) -> list[Chain]:
    """Each assistant under the teacher, also over the budget: some rules need its accuracy."""
    models = {model for case in cases(known) for model in case.assistants.values()}
    return [Chain(models=(known.space.teacher, model)) for model in sorted(models, key=_order)]


def small_assistants_alone(known: Known) -> list[Chain]:
    """The assistants that MiniDisc allows, under the teacher."""
    chains = assistants_alone(known)
    return [chain for chain in chains if _small(known, chain.student.width)]


def chosen_by(rule: Rule) -> Stage:
    """The stage of the chains that a rule chooses, one student and recipe after another.

    Args:
        rule: Gives the widths of the assistants of each chain to train.
    """

    def stage(known: Known) -> Iterator[Chain]:
        for case in cases(known):
            for widths in rule(known, case):
                yield from case.chains.get(widths, [])

    return stage


def cases(known: Known) -> list[Case]:
    """Each student of the space with each recipe of its own and of its assistants."""
    found: dict[tuple[ModelSpec, Recipe], Case] = {}
    for chain in known.space:
        if not chain.assistants:
            continue
        recipe = chain.assistants[0].recipe
        assert recipe is not None
        recipe = known.space.assistant_recipes.one_teacher(recipe)
        new = Case(student=chain.student, assistants={}, chains={})
        case = found.setdefault((chain.student, recipe), new)
        widths = tuple(model.width for model in chain.assistants)
        case.chains.setdefault(widths, []).append(chain)
        for width in widths:
            case.assistants[width] = ModelSpec(width=width, recipe=recipe)
    return [*found.values()]


def by_midpoint(known: Known, case: Case) -> list[tuple[int, ...]]:
    """The assistant half-way in size."""
    student = known.params(case.student.width)
    return [(midpoint(student, known.teacher_params, _sizes(known, case)),)]


def by_capacity_gap(known: Known, case: Case) -> list[tuple[int, ...]]:
    """The assistants of the capacity-gap law."""
    student, most = known.params(case.student.width), known.space.max_assistants
    sizes = _sizes(known, case)
    return capacity_gap(student, known.teacher_params, sizes, most)


def by_half_way(known: Known, case: Case) -> list[tuple[int, ...]]:
    """The assistant half-way in accuracy; the student's is that of direct distillation."""
    recipe = case.student.recipe
    assert recipe is not None
    alone = replace(case.student, recipe=known.space.student_recipes.one_teacher(recipe))
    student, teacher = known.direct_accuracy(alone), known.teacher_accuracy
    accuracies = {width: known.direct_accuracy(model) for width, model in case.assistants.items()}
    return [(assistant_rules.half_way(student, teacher, accuracies, _sizes(known, case)),)]


def by_minidisc(known: Known, case: Case) -> list[tuple[int, ...]]:
    """The assistant of MiniDisc's trade-off."""
    small = {
        width: known.direct_accuracy(model)
        for width, model in case.assistants.items()
        if _small(known, width)
    }
    sizes = _sizes(known, case)
    return [(assistant_rules.minidisc(known.teacher_params, small, sizes),)] if small else []


def _small(known: Known, width: int) -> bool:
    return assistant_rules.small_enough(known.params(width), known.teacher_params)


def _sizes(known: Known, case: Case) -> dict[int, int]:
    return {width: known.params(width) for width in case.assistants}


def _order(model: ModelSpec) -> tuple[int, str]:
    return model.width, str(model.recipe)
