"""The space of a study's chains, with the students that the budget admits."""

from __future__ import annotations

from collections.abc import Mapping

from tasearch.chains.hop import ModelSpec
from tasearch.chains.sizes import sized
from tasearch.chains.space import Space
from tasearch.config.study import Study
from tasearch.errors import StudyError
from tasearch.models import Standardized
from tasearch.pareto.budget import Budget
from tasearch.pareto.measurement import Measurement
from tasearch.profiling.counts import parameters, weight_bytes


def check_sizes(study: Study, nets: Mapping[int, Standardized]) -> None:
    """Refuse a budget that no student fits by its size, before anything is timed.

    Args:
        study: The study.
        nets: Its models by width.

    Raises:
        StudyError: No student fits; the message names the nearest one.
    """
    limits = study.limits()
    budget = Budget(max_params=limits.max_params, max_bytes=limits.max_bytes)
    sizes = [
        Measurement(
            width=width,
            params=parameters(nets[width]),
            bytes=weight_bytes(nets[width]),
            flops=0,
            latency_ms=0.0,
            latency_p95_ms=0.0,
        )
        for width in study.student.widths
    ]
    if not any(budget.admits(size) for size in sizes):
        _refuse(budget, sizes)


def _refuse(budget: Budget, students: list[Measurement]) -> None:
    near = min(students, key=lambda m: (budget.excess(m), m.params))
    took = f" and takes {near.latency_ms:.4g} ms" if near.latency_ms else ""
    raise StudyError(
        f"budget: no student fits {budget}; the nearest, {sized(near.width)}, "
        f"has {near.params:,} params in {near.bytes:,} bytes{took}"
    )


def make_space(study: Study, teacher: ModelSpec, measured: Mapping[int, Measurement]) -> Space:
    """The chains whose student is within the budget.

    Args:
        study: The study.
        teacher: Its teacher.
        measured: Measurements by width.

    Raises:
        StudyError: There is no such chain.
    """
    budget = study.limits()
    students = tuple(w for w in study.student.widths if budget.admits(measured[w]))
    if not students:
        _refuse(budget, [measured[w] for w in study.student.widths])
    widths = study.assistants.widths if study.assistants.max else ()
    space = Space(
        teacher=teacher,
        assistant_widths=widths,
        student_widths=students,
        min_assistants=study.assistants.min,
        max_assistants=min(study.assistants.max, len(widths)),
        assistant_recipes=study.recipes("assistants"),
        student_recipes=study.recipes("student"),
    )
    if not space.size:
        raise StudyError(
            f"assistants.min: no student has {study.assistants.min} assistants wider than itself"
        )
    return space
