"""A chain: a teacher, any number of assistants, and a student."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasearch.chains.hop import Hop, ModelSpec, arrows
from tasearch.chains.recipe import LABELS_ONLY


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A teacher, any number of assistants, and a student.

    Args:
        models: The models, the teacher first and the student last, in strictly decreasing width.

    Raises:
        ValueError: If there are fewer than two models, or their widths do not decrease strictly.
    """

    models: tuple[ModelSpec, ...]

    def __post_init__(self) -> None:
        widths = self.widths
        if len(widths) < 2:
            raise ValueError(f"a chain has a teacher and a student, found widths {widths}")
        if any(a <= b for a, b in itertools.pairwise(widths)):
            raise ValueError(f"widths of a chain fall strictly, found {widths}")

    @classmethod
    def ending_in(cls, hop: Hop, teacher: ModelSpec) -> Chain:
        """The chain that ends in a hop.

        Args:
            hop: The hop whose model is the student.
            teacher: The teacher, which is missing in the lineage if the first model of the lineage
                learns from the labels alone.
        """
        above = () if hop.lineage[0] == teacher else (teacher,)
        return cls(models=(*above, *hop.lineage))

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the models, the teacher's first, the student's last."""
        return tuple(model.width for model in self.models)

    @property
    def teacher(self) -> str:
        """The name of the teacher; empty if it has none."""
        return self.models[0].name

    @property
    def student(self) -> ModelSpec:
        """The last model."""
        return self.models[-1]

    @property
    def assistants(self) -> tuple[ModelSpec, ...]:
        """The models between teacher and student, in order."""
        return self.models[1:-1]

    def hop(self) -> Hop:
        """The student's hop.

        Its lineage begins at the last model that does not learn from a teacher: the models before
        that one have no influence on the student's weights.
        """
        start = max(i for i, model in enumerate(self.models) if not model.distilled)
        return Hop(lineage=self.models[start:])

    def hops(self) -> Iterator[Hop]:
        """Every hop that must be trained for the student, in order; the student's own is last."""
        lineage = self.hop().lineage
        for end in range(1, len(lineage) + 1):
            yield Hop(lineage=lineage[:end])


Teaching = Literal["no teacher", "direct", "assistants"]


def teaching(chain: Sequence[int], recipe: Mapping[str, Any] | None) -> Teaching:
    """What a student learns from: labels alone, the teacher directly, or assistants.

    Args:
        chain: The widths, the teacher's first.
        recipe: The recipes as `Candidate.recipe` has them; None if they are not known.

    Example:
        >>> teaching((64, 24, 6), None)
        'assistants'
    """
    student = (recipe or {}).get("student") or {}
    if student.get("loss") == LABELS_ONLY:
        return "no teacher"
    return "assistants" if len(chain) > 2 else "direct"


def label(chain: Sequence[int], recipe: Mapping[str, Any] | None, teacher: str = "") -> str:
    """A chain in one line: its widths, or only the student's if it learns without a teacher.

    Args:
        chain: The widths, the teacher's first.
        recipe: The recipes as `Candidate.recipe` has them; None if they are not known.
        teacher: Name of the teacher, which stands in place of its width; empty for the width.

    Example:
        >>> label((64, 24, 6), None), label((64, 24, 6), None, "resnet18")
        ('64 → 24 → 6', 'resnet18 → 24 → 6')
    """
    if teaching(chain, recipe) == "no teacher":
        return f"{chain[-1]} (no teacher)"
    return arrows([teacher, *chain[1:]] if teacher and chain else chain)
