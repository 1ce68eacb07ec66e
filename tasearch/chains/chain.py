"""A chain: a teacher, any number of assistants, and a student."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasearch.chains.hop import Hop, ModelSpec, arrows
from tasearch.chains.recipe import LABELS_ONLY


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A teacher, 0..K assistants and a student, widths strictly decreasing."""

    models: tuple[ModelSpec, ...]

    def __post_init__(self) -> None:
        widths = self.widths
        if len(widths) < 2:
            raise ValueError(f"a chain has a teacher and a student, found widths {widths}")
        if any(a <= b for a, b in itertools.pairwise(widths)):
            raise ValueError(f"widths of a chain fall strictly, found {widths}")

    @classmethod
    def ending_in(cls, hop: Hop, teacher: ModelSpec) -> Chain:
        """The chain whose student is this hop's model."""
        above = () if hop.lineage[0] == teacher else (teacher,)
        return cls(models=(*above, *hop.lineage))

    @property
    def widths(self) -> tuple[int, ...]:
        """Teacher first, student last."""
        return tuple(model.width for model in self.models)

    @property
    def student(self) -> ModelSpec:
        return self.models[-1]

    @property
    def assistants(self) -> tuple[ModelSpec, ...]:
        return self.models[1:-1]

    def hop(self) -> Hop:
        """The student's hop: the chain from the last model that learns from labels alone."""
        start = max(i for i, model in enumerate(self.models) if not model.distilled)
        return Hop(lineage=self.models[start:])

    def hops(self) -> Iterator[Hop]:
        """Every hop that the student needs, ancestors first, the student's own last."""
        lineage = self.hop().lineage
        for end in range(1, len(lineage) + 1):
            yield Hop(lineage=lineage[:end])


def label(chain: tuple[int, ...], recipe: Mapping[str, Any] | None) -> str:
    """The chain's widths, or the student's alone where it learns without a teacher."""
    student = (recipe or {}).get("student") or {}
    if student.get("loss") == LABELS_ONLY:
        return f"{chain[-1]} (no teacher)"
    return arrows(chain)
