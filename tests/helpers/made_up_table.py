"""A small table whose accuracies are made up: nothing is trained."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.replay import manifest_for
from benchmarks.table import Table
from tasearch.chains.hop import Hop
from tasearch.pareto.measurement import Measurement
from tasearch.runs.directory import Manifest
from tests.helpers.studies import tiny

VALIDATION = 1000
WIDEST_WITHIN = 8  # the budget's widest model: assistants may be students too
SIZES = {16: 1600, 12: 720, 8: 350, 6: 160, 4: 64, 2: 16}  # parameters, and FLOPs a sample


def made_up(
    accuracy: Callable[[Hop, int], float],
    *,
    replicates: int = 1,
    sizes: dict[int, int] = SIZES,
    student: dict[str, Any] | None = None,
) -> tuple[Table, Manifest]:
    """A table of every chain of a small study, and a manifest with a budget.

    Args:
        accuracy: Accuracy of a hop's model after its last epoch, by hop and replicate.
        replicates: Number of replicates.
        sizes: Number of parameters, FLOPs and nanoseconds of each width.
        student: Keys of the section [student].
    """
    study = tiny(student=student or {}, search={"replicates": replicates})
    content: dict[str, Any] = {
        "provenance": {},
        "study": study.model_copy(update={"root": "."}).model_dump(mode="json"),
        "inputs": {},
        "samples": 10,
        "validation": VALIDATION,
        "measurements": [asdict(_measurement(width, sizes[width])) for width in study.widths],
        "setup": {"num_classes": 10},
        "modes": {},
        "device": "made up",
        "recipes": [],
        "hops": [],
    }
    bare = Table(content)
    hops = [bare.teacher_hop, *bare.hops(bare.manifest)]
    numbers: dict[str, int] = {}
    for hop in hops:
        recipes = [model.recipe for model in hop.canonical_lineage if model.recipe]
        for recipe in recipes:
            if str(recipe) not in numbers:
                numbers[str(recipe)] = len(numbers)
                content["recipes"].append(asdict(recipe))
        assert hop.model.recipe is not None
        curves = [
            [round(accuracy(hop, r) * VALIDATION)] * hop.model.recipe.epochs
            for r in range(replicates)
        ]
        widths = [model.width for model in hop.lineage]
        content["hops"].append([widths, [numbers[str(r)] for r in recipes], 1.0, curves])
    table = Table(content)
    return table, manifest_for(table, {}, 0, {"max_params": sizes[WIDEST_WITHIN]})


def by_chance(hop: Hop, replicate: int) -> float:
    """An accuracy of its own for each hop and replicate."""
    return random.Random(f"{hop.canonical_lineage}{replicate}").uniform(0.2, 0.9)


def _measurement(width: int, size: int) -> Measurement:
    return Measurement(
        width=width,
        params=size,
        bytes=4 * size,
        flops=size,
        latency_ms=size / 1e6,
        latency_p95_ms=size / 1e6,
    )
