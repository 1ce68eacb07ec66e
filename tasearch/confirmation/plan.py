"""What a confirmation compares: chains that end in the same student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasearch.chains.chain import Chain
from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipe import LABELS_ONLY
from tasearch.chains.space import Space
from tasearch.pareto.candidate import Candidate
from tasearch.runs.run import Run
from tasearch.runs.trial_attributes import chain_of, describe_recipes
from tasearch.runs.verdicts import Arm, Comparison, Question


def planned_comparisons(run: Run, space: Space, widths: Sequence[int]) -> list[Comparison]:
    """The comparisons for some widths of students, before anything is trained.

    For each width: the best finished chain with assistants against direct distillation with the
    same recipe, whether the search has tried that or not; and, where the study searches training on
    labels alone, the best distilled student against it.

    Args:
        run: The run.
        space: The chains within the budget.
        widths: Widths of students.
    """
    return [found for width in widths for found in _comparisons(run, space, width)]


def _comparisons(run: Run, space: Space, width: int) -> Iterator[Comparison]:
    finished = [c for c in run.front.candidates if c.chain[-1] == width]  # the best first
    distilled = [c for c in finished if not _learns_from_labels(c)]
    with_assistants = next((c for c in distilled if len(c.chain) > 2), None)
    if with_assistants is not None:
        chain = _chain(with_assistants, space.teacher)
        direct = space.canonical(Chain(models=(space.teacher, chain.student)))
        yield _comparison("assistants", chain, direct)
    searched = width in space.student_widths and LABELS_ONLY in run.manifest.study.student.loss
    if distilled and searched:
        best = _chain(distilled[0], space.teacher)
        yield _comparison("distillation", best, _labels_only(space, width, finished))


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
