"""What an earlier epoch of the teacher adds, by how far the teacher had come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from benchmarks.freedoms import accuracies
from benchmarks.paired import interval, less
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.chains.recipe import PROGRESSIVE, TRAINED, Recipe
from tasearch.chains.rungs import rung_epochs, teaching_rung

LEARNED = 0.95  # of the way from guessing to its end: a teacher has learned


def learned_at(curve: Sequence[float], rungs: Sequence[int], classes: int) -> int:
    """The rung, from 1, at which a model has come `LEARNED` of the way from guessing to its end.

    Args:
        curve: Its accuracy after each epoch, 0..1.
        rungs: Epochs of the rungs.
        classes: Number of classes.
    """
    guess = 1 / classes
    wanted = guess + LEARNED * (curve[-1] - guess)
    return next(place for place, epoch in enumerate(rungs, 1) if curve[epoch - 1] >= wanted)


def by_teachers_progress(table: Table) -> dict[str, dict[str, Any]]:
    """What early teachers add over trained ones, by how far they had come.

    Replicates are grouped, for each share of the teacher's epochs, by whether their teacher had
    not learned yet (see `learned_at`), had just learned, at this rung, or had learned before.

    Returns:
        By share and group, the number of replicates, and the accuracy with the early teacher less
        that with the trained one, in points: the mean over students and recipes, by replicate.
    """
    curves = table[table.teacher_hop].curves
    rungs = rung_epochs(len(curves[0]), table.manifest.study.search.rungs)
    learned = [learned_at(curve, rungs, table.manifest.classes) for curve in curves]
    gains: dict[float | str, list[list[float]]] = {}  # by epoch of the teacher
    recipes: dict[float | str, Recipe] = {}  # one with each
    for chain in table.space(table.manifest):
        recipe = chain.student.recipe
        if chain.assistants or recipe is None or not recipe.early:
            continue
        end = replace(chain.student, recipe=replace(recipe, teacher_epoch=TRAINED))
        trained = accuracies(Chain(models=(chain.models[0], end)), table)
        gains.setdefault(recipe.teacher_epoch, []).append(less(accuracies(chain, table), trained))
        recipes[recipe.teacher_epoch] = recipe
    found: dict[str, dict[str, Any]] = {}
    for share, own in gains.items():
        by_replicate = [fmean(values) for values in zip(*own, strict=True)]
        members: dict[str, list[float]] = {"in all": by_replicate}
        if share != PROGRESSIVE:
            rung = teaching_rung(recipes[share], 0, len(rungs))
            members = {"not yet": [], "just": [], "long before": []}
            for value, at in zip(by_replicate, learned, strict=True):
                group = "not yet" if at > rung else "just" if at == rung else "long before"
                members[group].append(value)
        found[str(share)] = {
            name: {"replicates": len(values), **(interval(values) if len(values) > 1 else {})}
            for name, values in members.items()
        }
    return found
