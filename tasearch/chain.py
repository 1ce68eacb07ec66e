"""What is trained: recipes, pupils, hops and chains, and the keys that name them.

Pure values. A chain runs from the teacher over 0..K assistants to the student. A hop *is its
lineage*: every pupil whose weights flow into it, itself last. A pupil that learns from the labels
alone has no ancestors, so its lineage starts at itself.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any

LABELS_ONLY = "ce"  # the loss that needs no teacher


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one pupil is trained.

    Args:
        loss: a name of `tasearch.train.losses.LOSSES` or `"package.module:function"`.
        temperature: softens both sides of the distillation term (Hinton et al., 1503.02531).
        alpha: weight of the distillation term; 1 - alpha is that of the labels.
        edges: "serial", from the pupil before alone, or "dense", from all ancestors.
        drop: chance that a dense pupil does without one of the assistants in a step.
        epochs: passes over the training part.
        learning_rate: its peak, after warm-up.
        batch_size: samples a step.
        optimizer: a name of `tasearch.train.optimizer.OPTIMIZERS`.
        momentum: of SGD, Nesterov's.
        schedule: a name of `tasearch.train.optimizer.SCHEDULES`.
        warmup: share of all steps over which the learning rate rises.
        weight_decay: on matrices and kernels only.
        clip: largest norm of a step's gradient; None for no limit.
        ema: decay of a moving average of the weights, which then is the result; None for none.
    """

    loss: str
    temperature: float
    alpha: float
    edges: str
    drop: float
    epochs: int
    learning_rate: float
    batch_size: int
    optimizer: str
    momentum: float
    schedule: str
    warmup: float
    weight_decay: float
    clip: float | None
    ema: float | None

    @property
    def words(self) -> str:
        """What makes a training succeed or fail, in short."""
        heat = f"temperature {self.temperature:g}, " if self.guided else ""
        return f"loss {self.loss!r}, {heat}learning_rate {self.learning_rate:g}"

    @property
    def guided(self) -> bool:
        """Whether the pupil learns from a teacher at all."""
        return self.loss != LABELS_ONLY


@dataclass(frozen=True, kw_only=True)
class Pupil:
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
    def guided(self) -> bool:
        return self.recipe is not None and self.recipe.guided

    def essence(self, ancestors: int) -> Pupil:
        """Without what means nothing to it: no teacher, no temperature; one teacher, no edges."""
        recipe = self.recipe
        if recipe is None:
            return self
        if not recipe.guided:
            recipe = replace(recipe, temperature=1.0, alpha=0.0)
        if ancestors < 2 or not recipe.guided:
            recipe = replace(recipe, edges="serial")
        if recipe.edges == "serial":
            recipe = replace(recipe, drop=0.0)
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
        views: name of the set of augmented views.
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
    views: str
    modes: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One training: the last pupil of `lineage` learns from the one before it, if there is one."""

    lineage: tuple[Pupil, ...]

    @staticmethod
    def of(content: Mapping[str, Any]) -> Hop:
        """A hop from the nested mappings that `asdict` made of it."""
        return Hop(
            lineage=tuple(
                Pupil(
                    width=pupil["width"],
                    recipe=Recipe(**pupil["recipe"]) if pupil["recipe"] else None,
                    origin=pupil["origin"],
                )
                for pupil in content["lineage"]
            )
        )

    @property
    def pupil(self) -> Pupil:
        return self.lineage[-1]

    @cached_property
    def essence(self) -> tuple[Pupil, ...]:
        """The lineage without what means nothing: equal where the weights are."""
        return tuple(_essence(pupil, min(i, 2)) for i, pupil in enumerate(self.lineage))

    @property
    def ancestor(self) -> Hop | None:
        """The hop before this one."""
        return Hop(lineage=self.lineage[:-1]) if len(self.lineage) > 1 else None

    @property
    def teachers(self) -> tuple[Hop, ...]:
        """The hops whose outputs this pupil learns from, the oldest first."""
        recipe = self.pupil.recipe
        if recipe is None or not recipe.guided or self.ancestor is None:
            return ()
        if recipe.edges == "serial":
            return (self.ancestor,)
        return tuple(Hop(lineage=self.lineage[:end]) for end in range(1, len(self.lineage)))

    @property
    def label(self) -> str:
        return arrows(tuple(pupil.width for pupil in self.lineage))

    def key(self, setting: Setting) -> str:
        """32 hex digits: the same key, torch and machine give the same weights."""
        used = {pupil.recipe.loss for pupil in self.lineage if pupil.recipe}
        losses = tuple(pair for pair in setting.losses if pair[0] in used)
        trained = {pupil.width for pupil in self.lineage if pupil.recipe}
        modes = tuple(pair for pair in setting.modes if pair[0] in trained)
        content = {
            "setting": asdict(replace(setting, losses=losses, modes=modes)),
            "lineage": [asdict(pupil) for pupil in self.essence],
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A teacher, 0..K assistants and a student, widths strictly decreasing."""

    pupils: tuple[Pupil, ...]

    def __post_init__(self) -> None:
        widths = self.widths
        if len(widths) < 2:
            raise ValueError(f"a chain has a teacher and a student, found widths {widths}")
        if any(a <= b for a, b in itertools.pairwise(widths)):
            raise ValueError(f"widths of a chain fall strictly, found {widths}")

    @staticmethod
    def ending_in(hop: Hop, teacher: Pupil) -> Chain:
        """The chain whose student is this hop's pupil."""
        above = () if hop.lineage[0] == teacher else (teacher,)
        return Chain(pupils=(*above, *hop.lineage))

    @property
    def widths(self) -> tuple[int, ...]:
        """Teacher first, student last."""
        return tuple(pupil.width for pupil in self.pupils)

    @property
    def student(self) -> Pupil:
        return self.pupils[-1]

    @property
    def assistants(self) -> tuple[Pupil, ...]:
        return self.pupils[1:-1]

    def hop(self) -> Hop:
        """The student's hop: the chain from the last pupil that learns from labels alone."""
        start = max(i for i, pupil in enumerate(self.pupils) if not pupil.guided)
        return Hop(lineage=self.pupils[start:])

    def hops(self) -> Iterator[Hop]:
        """Every hop that the student needs, ancestors first, the student's own last."""
        lineage = self.hop().lineage
        for end in range(1, len(lineage) + 1):
            yield Hop(lineage=lineage[:end])


@cache
def _essence(pupil: Pupil, ancestors: int) -> Pupil:
    return pupil.essence(ancestors)


def arrows(widths: tuple[int, ...]) -> str:
    """`64 → 24 → 6`."""
    return " → ".join(map(str, widths))


def label(chain: tuple[int, ...], recipe: Mapping[str, Any] | None) -> str:
    """The chain's widths, or the student's alone where it learns without a teacher."""
    student = (recipe or {}).get("student") or {}
    if student.get("loss") == LABELS_ONLY:
        return f"{chain[-1]} (no teacher)"
    return arrows(chain)


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on all parts and nothing else."""
    digest = hashlib.sha256(canonical_json(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
