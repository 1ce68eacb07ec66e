"""Snapshots: the weights that models had at each rung, for models that learn from earlier epochs.

This needs no torch, as the archive of hops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.recipe import Recipe
from tasearch.chains.rungs import rung_epochs
from tasearch.config.study import Study
from tasearch.runs.store import Store, replicate

if TYPE_CHECKING:
    from torch import Tensor


class Snapshots:
    """Which hops keep their weights at each rung, and which of these are stored.

    Args:
        study: The study.
        store: Where they are stored, in `snapshots/`.
    """

    def __init__(self, study: Study, store: Store) -> None:
        self._study, self._store = study, store
        self._assistant_recipes = cache(self._canonical_recipes)
        self._asked: set[tuple[ModelSpec, ...]] = set()  # canonical lineages

    def keep(self, hop: Hop) -> None:
        """Have the weights of each rung of a hop kept, whatever the study tries."""
        self._asked.add(hop.canonical_lineage)

    def kept(self, hop: Hop) -> bool:
        """Whether the weights of each rung of a hop are kept.

        That is so for hops that may teach, where the study has models learn from earlier epochs,
        and for those of which it was asked. It depends on the canonical lineage, as the hop's key
        does.
        """
        study, own = self._study, hop.canonical_lineage[-1]
        if own.recipe is None:
            return False
        if hop.canonical_lineage in self._asked:
            return True
        if not study.early_teachers:
            return False
        if own.width == study.teacher.width:
            return True
        teaches = bool(study.assistants.max) and own.width > study.student.widths[-1]
        ancestors = min(len(hop.lineage) - 1, 2)
        known = teaches and own.width in study.assistants.widths
        return known and own.recipe in self._assistant_recipes(ancestors)

    def rungs(self, hop: Hop) -> int:
        """Number of rungs of a hop.

        A loaded teacher has those of `teacher.epochs`: in a confirmation they are those with which
        the run has trained it.
        """
        recipe = hop.model.recipe
        epochs = recipe.epochs if recipe else max(1, self._study.teacher.epochs)
        return len(rung_epochs(epochs, self._study.search.rungs))

    def whole(self, hop: Hop, name: str, epochs: Sequence[int]) -> bool:
        """Whether a hop has the snapshots that it should have, undamaged.

        Args:
            hop: The hop.
            name: Name of the hop's checkpoint.
            epochs: Epochs of the rungs at which it was evaluated so far.
        """
        if not self.kept(hop):
            return True
        last = min(len(epochs), self.rungs(hop) - 1)
        names = (snapshot_name(name, rung) for rung in range(1, last + 1))
        return all(self._store.record("snapshots", found) is not None for found in names)

    def load(
        self, checkpoints: Mapping[str, Sequence[int]], number: int, rung: int
    ) -> dict[str, Tensor] | None:
        """The weights of one replicate of a hop at a rung; None where they are not stored.

        Args:
            checkpoints: Names of the hop's checkpoints, with the numbers of the replicates in each.
            number: Number of the replicate.
            rung: Number of the rung, from 1.
        """
        for name, numbers in checkpoints.items():
            if number in numbers:
                saved = self._store.load("snapshots", snapshot_name(name, rung))
                return saved and replicate(saved[0], [*numbers].index(number))
        return None

    def _canonical_recipes(self, ancestors: int) -> set[Recipe | None]:
        """The recipes of assistants with a number of ancestors."""
        recipes = self._study.recipes("assistants").distinct(one_teacher=False)
        found = (ModelSpec(width=1, recipe=recipe).canonical(ancestors) for recipe in recipes)
        return {model.recipe for model in found}


def snapshot_name(name: str, rung: int) -> str:
    """Name of the snapshot of a hop at a rung.

    Args:
        name: Name of the hop's checkpoint.
        rung: Number of the rung, from 1.
    """
    return f"{name}-{rung}"
