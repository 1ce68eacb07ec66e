"""A hop: one model of a chain, trained with everything that its weights depend on.

A hop *is its lineage*: every model whose weights flow into it, itself last. A model that learns
from the labels alone has no ancestors, so its lineage starts at itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any

from tasearch.chains.keys import canonical_json
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of a chain.

    Args:
        width: its rung of the ladder.
        recipe: how it is trained; None for a teacher loaded from a checkpoint.
        origin: identity of what makes a teacher other than the family at this width (a
            checkpoint's or a factory's digest); None otherwise.
    """

    width: int
    recipe: Recipe | None
    origin: str | None = None

    @property
    def distilled(self) -> bool:
        return self.recipe is not None and self.recipe.distilled

    def canonical_lineage(self, ancestors: int) -> ModelSpec:
        """The same model, with neutral values for the options that do not affect its weights."""
        recipe = self.recipe
        if recipe is None:
            return self
        if not recipe.distilled:
            recipe = replace(recipe, temperature=1.0, alpha=0.0)
        if ancestors < 2 or not recipe.distilled:
            recipe = replace(recipe, guidance="serial")
        if recipe.guidance == "serial":
            recipe = replace(recipe, teacher_dropout=0.0)
        if recipe.optimizer != "sgd":
            recipe = replace(recipe, momentum=0.0)
        return replace(self, recipe=recipe)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything besides the lineage that decides a hop's weights.

    Args:
        data: digest of the training and validation parts.
        family: name of the family, with the digest of its source if it is the user's, and with
            its multiplier if that is not 1.
        losses: (name, digest) of the user's own losses; only those of the lineage count.
        seed: the study's seed.
        replicates: repetitions of the training noise, kept together.
        threads: of one training process on CPU; another number rounds differently.
        trainer: version of the training code.
        device: kind of device, "cpu" or "cuda": they round differently.
        augment: name of the set of augmented views.
        modes: (width, mode of its training); only those of the lineage count.
    """

    data: str
    family: str
    losses: tuple[tuple[str, str], ...]
    seed: int
    replicates: int
    threads: int
    trainer: int
    device: str
    augment: str
    modes: tuple[tuple[int, Mode], ...]


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One training: the last model of `lineage` learns from the one before it, if there is one."""

    lineage: tuple[ModelSpec, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Hop:
        """A hop from the nested mappings that `asdict` made of it."""
        return cls(
            lineage=tuple(
                ModelSpec(
                    width=model["width"],
                    recipe=Recipe(**model["recipe"]) if model["recipe"] else None,
                    origin=model["origin"],
                )
                for model in content["lineage"]
            )
        )

    @property
    def model(self) -> ModelSpec:
        return self.lineage[-1]

    @cached_property
    def canonical_lineage(self) -> tuple[ModelSpec, ...]:
        """The lineage without what means nothing: equal where the weights are."""
        return tuple(_canonical(model, min(i, 2)) for i, model in enumerate(self.lineage))

    @property
    def ancestor(self) -> Hop | None:
        """The hop before this one."""
        return Hop(lineage=self.lineage[:-1]) if len(self.lineage) > 1 else None

    @property
    def teachers(self) -> tuple[Hop, ...]:
        """The hops whose outputs this model learns from, the oldest first."""
        recipe = self.model.recipe
        if recipe is None or not recipe.distilled or self.ancestor is None:
            return ()
        if recipe.guidance == "serial":
            return (self.ancestor,)
        return tuple(Hop(lineage=self.lineage[:end]) for end in range(1, len(self.lineage)))

    @property
    def label(self) -> str:
        return arrows(tuple(model.width for model in self.lineage))

    def key(self, setting: Setting) -> str:
        """32 hex digits: the same key, torch and machine give the same weights."""
        used = {model.recipe.loss for model in self.lineage if model.recipe}
        losses = tuple(pair for pair in setting.losses if pair[0] in used)
        trained = {model.width for model in self.lineage if model.recipe}
        modes = [(width, str(mode)) for width, mode in setting.modes if width in trained]
        content = {
            "setting": {**asdict(replace(setting, losses=losses, modes=())), "modes": modes},
            "lineage": [asdict(model) for model in self.canonical_lineage],
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]


@cache
def _canonical(model: ModelSpec, ancestors: int) -> ModelSpec:
    return model.canonical_lineage(ancestors)


def arrows(widths: tuple[int, ...]) -> str:
    """`64 → 24 → 6`."""
    return " → ".join(map(str, widths))
