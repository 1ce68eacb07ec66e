"""What a confirmation compares: chains that end in the same student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasearch.chains.assistant_rules import midpoint
from tasearch.chains.chain import Chain
from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipe import LABELS_ONLY
from tasearch.chains.space import Space
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import Measurement
from tasearch.runs.run import Run
from tasearch.runs.trial_attributes import chain_of, describe_recipes
from tasearch.runs.verdicts import Arm, Comparison, Question


def planned_comparisons(
    run: Run, space: Space, widths: Sequence[int], *, by_rule: bool = False
) -> list[Comparison]:
    """The comparisons for some widths of students, before anything is trained.

    For each width: the best finished chain with assistants against direct distillation with the
    same recipe, whether the search has tried that or not; and, where the study searches training on
    labels alone, the best distilled student against it.

    Args:
        run: The run.
        space: The chains within the budget.
        widths: Widths of students.
        by_rule: Whether a width without a finished chain with assistants is compared by one that a
            rule chooses: one assistant, half-way between teacher and student.
    """
    return [found for width in widths for found in _comparisons(run, space, width, by_rule)]


def _comparisons(run: Run, space: Space, width: int, by_rule: bool) -> Iterator[Comparison]:
    finished = [c for c in run.front.candidates if c.chain[-1] == width]  # the best first
    distilled = [c for c in finished if not _learns_from_labels(c)]
    best = _chain(distilled[0], space.teacher) if distilled else None
    with_assistants = next((c for c in distilled if len(c.chain) > 2), None)
    chain = _chain(with_assistants, space.teacher) if with_assistants else None
    if chain is None and by_rule:
        chain = _half_way(run.manifest.measured, space, width, best)
    if chain is not None:
        direct = space.canonical(Chain(models=(space.teacher, chain.student)))
        yield _comparison("assistants", chain, direct)
    best = best or chain
    searched = width in space.student_widths and LABELS_ONLY in run.manifest.study.student.loss
    if best is not None and searched:
        yield _comparison("distillation", best, _labels_only(space, width, finished))


def _half_way(
    measured: Mapping[int, Measurement], space: Space, width: int, best: Chain | None
) -> Chain | None:
    """The chain of one assistant, nearest the geometric mean of the teacher's and student's sizes.

    Args:
        measured: Sizes by width.
        space: The chains within the budget.
        width: The student's width.
        best: The best distilled chain of this student, which gives its recipe; None if none is
            finished.

    Returns:
        The chain; None if the space has none of one assistant.
    """
    sizes = {w: measured[w].params for w in space.assistant_widths if w > width}
    recipes = [recipe for recipe in space.student_recipes.one_per_loss() if recipe.distilled]
    own = best.student.recipe if best else next(iter(recipes), None)
    if own is None or not sizes or not space.min_assistants <= 1 <= space.max_assistants:
        return None
    teacher = measured[space.teacher.width].params or max(sizes.values())  # of outputs alone: none
    half = midpoint(measured[width].params, teacher, sizes)
    assistant = ModelSpec(width=half, recipe=space.assistant_recipes.one_per_loss()[0])
    student = ModelSpec(width=width, recipe=own)
    return space.canonical(Chain(models=(space.teacher, assistant, student)))


def _comparison(question: Question, first: Chain, second: Chain) -> Comparison:
    return Comparison(question=question, first=_arm(first), second=_arm(second))


def _arm(chain: Chain) -> Arm:
    return Arm(chain=chain.widths, recipe=describe_recipes(chain), teacher=chain.teacher)


def _labels_only(space: Space, width: int, finished: Sequence[Candidate]) -> Chain:
    """The best finished student without a teacher; else the one with the first recipe."""
    for candidate in finished:
        if _learns_from_labels(candidate):
            return _chain(candidate, space.teacher)
    recipes = space.student_recipes.one_per_loss()
    recipe = next(recipe for recipe in recipes if not recipe.distilled)
    return Chain(models=(space.teacher, ModelSpec(width=width, recipe=recipe)))


def _learns_from_labels(candidate: Candidate) -> bool:
    return bool(candidate.recipe["student"]["loss"] == LABELS_ONLY)


def _chain(candidate: Candidate, teacher: ModelSpec) -> Chain:
    return chain_of({"chain": candidate.chain, "recipe": candidate.recipe}, teacher)
