"""A hop: the training of one model of a chain, with everything that its weights depend on.

A hop *is its lineage*: the model itself, which comes last, and before it every model whose weights
influence its own. A model that learns from the labels alone has no ancestors, so its lineage begins
with itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from tasearch.chains.keys import canonical_json
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import LATER, Recipe
from tasearch.chains.sizes import Size


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of a chain.

    Args:
        width: Its width.
        recipe: How it is trained; None for a teacher that is loaded.
        origin: Digest of the checkpoint or factory of a teacher that is not built by the family;
            None otherwise.
        name: What it is called in chains: the name of a teacher or of a size; empty for its width.
            It decides nothing.
    """

    width: int
    recipe: Recipe | None
    origin: str | None = None
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.width, Size) and not self.name:
            object.__setattr__(self, "name", self.width.name)

    @property
    def distilled(self) -> bool:
        """Whether the model learns from a teacher."""
        return self.recipe is not None and self.recipe.distilled

    @property
    def early(self) -> bool:
        """Whether the model learns from an earlier epoch of its teacher."""
        return self.recipe is not None and self.recipe.early

    def canonical(self, ancestors: int) -> ModelSpec:
        """The same model, with neutral values for options that have no influence on its weights.

        Args:
            ancestors: The number of models before it in its lineage.
        """
        recipe = self.recipe
        if recipe is None:
            return self
        if not recipe.distilled:
            recipe = replace(recipe, temperature=1.0, alpha=0.0, **LATER)  # type: ignore[arg-type]
        if ancestors < 2 or not recipe.distilled:
            recipe = replace(recipe, guidance="serial")
        if recipe.guidance == "serial":
            recipe = replace(recipe, teacher_dropout=0.0)
        if not recipe.hidden_parts:
            recipe = replace(recipe, hidden_weight=1.0)
        if recipe.optimizer != "sgd":
            recipe = replace(recipe, momentum=0.0)
        return replace(self, recipe=recipe)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything besides the lineage that a hop's weights depend on.

    Args:
        data: Digest of the training set and the validation set.
        family: Name of the family; with the digest of its source if the family is the user's, and
            with its multiplier if that is not 1.
        losses: Name and digest of each loss of the user's. A key includes those that the lineage
            uses.
        seed: The study's seed.
        replicates: Number of replicates of each hop.
        threads: Number of CPU threads of one training; with another number, results round
            differently.
        trainer: Version of the training code.
        device: "cpu" or "cuda", which round differently.
        augment: Name of the augmentation; of the user's own, with digest, number and seed of views.
        modes: Width and training mode of each width. A key includes those of the lineage.
        sizes: Number and identity of each size that has a name: in keys the identity stands for the
            number, which depends on the other sizes of the study.
        rungs: Number of rungs. A key includes it if a model of the lineage learns from an earlier
            epoch of its teacher.
        unlabelled: Digest of the samples without labels, and their share of a batch; empty if there
            are none. A key includes it if a model of the lineage is distilled.
        class_weights: Weights of the classes in the cross-entropy, as the study has them; a key
            includes them if there are any.
        teacher: "cached" for soft targets that are stored, "online" for a teacher that is called on
            each batch. A key includes it if a model of the lineage has an online teacher.
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
    rungs: int = 0
    sizes: tuple[tuple[int, str], ...] = ()
    unlabelled: str = ""
    class_weights: str | tuple[float, ...] = "none"
    teacher: str = "cached"


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The training of one model.

    Args:
        lineage: The model, which comes last, and before it every model whose weights influence its
            own, the oldest first.
    """

    lineage: tuple[ModelSpec, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Hop:
        """The hop that `dataclasses.asdict` turned into nested mappings."""
        return cls(
            lineage=tuple(
                ModelSpec(
                    width=model["width"],
                    recipe=Recipe(**model["recipe"]) if model["recipe"] else None,
                    origin=model["origin"],
                    name=model["name"],
                )
                for model in content["lineage"]
            )
        )

    @property
    def model(self) -> ModelSpec:
        """The model that this hop trains."""
        return self.lineage[-1]

    @cached_property
    def canonical_lineage(self) -> tuple[ModelSpec, ...]:
        """The lineage without options that have no influence: equal lineages give equal weights."""
        return tuple(_canonical(model, min(i, 2)) for i, model in enumerate(self.lineage))

    @property
    def ancestor(self) -> Hop | None:
        """The hop before this one; None if this one has no ancestors."""
        return Hop(lineage=self.lineage[:-1]) if len(self.lineage) > 1 else None

    @property
    def teachers(self) -> tuple[Hop, ...]:
        """The hops whose models teach this one, the oldest first."""
        recipe = self.model.recipe
        if recipe is None or not recipe.distilled or self.ancestor is None:
            return ()
        if recipe.guidance == "serial":
            return (self.ancestor,)
        return tuple(Hop(lineage=self.lineage[:end]) for end in range(1, len(self.lineage)))

    @property
    def label(self) -> str:
        """The lineage in one line, such as `64 → 24 → 6`: widths, or the name of the teacher."""
        return arrows([model.name or model.width for model in self.lineage])

    def key(self, setting: Setting) -> str:
        """The name under which this hop is stored, 32 hexadecimal digits.

        With the same version of torch on the same machine, equal keys give equal weights.

        Args:
            setting: Everything besides the lineage that the weights depend on.
        """
        used = {model.recipe.loss for model in self.lineage if model.recipe}
        losses = tuple(pair for pair in setting.losses if pair[0] in used)
        trained = {model.width for model in self.lineage if model.recipe}
        sizes: dict[int, int | str] = {**dict(setting.sizes)}
        modes = [
            (sizes.get(width, width), str(mode))
            for width, mode in setting.modes
            if width in trained
        ]
        own = {**asdict(replace(setting, losses=losses, modes=())), "modes": modes}
        del own["sizes"]
        if not any(model.early for model in self.canonical_lineage):
            del own["rungs"]
        if not setting.unlabelled or not any(model.distilled for model in self.lineage):
            del own["unlabelled"]
        if setting.teacher == "cached" or not any(model.distilled for model in self.lineage):
            del own["teacher"]
        if setting.class_weights == "none":
            del own["class_weights"]
        content = {
            "setting": own,
            "lineage": [_content(model, sizes) for model in self.canonical_lineage],
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]


def _content(model: ModelSpec, sizes: Mapping[int, int | str]) -> dict[str, Any]:
    """The fields of a model by name, as they are hashed."""
    recipe = None if model.recipe is None else model.recipe.content()
    width = sizes.get(model.width, model.width)
    return {"width": width, "recipe": recipe, "origin": model.origin}


@cache
def _canonical(model: ModelSpec, ancestors: int) -> ModelSpec:
    return model.canonical(ancestors)


def arrows(models: Iterable[int | str]) -> str:
    """Widths or names of models in one line, such as `64 → 24 → 6`."""
    return " → ".join(map(str, models))
