"""Most sections of a study file: every key, its type, default and meaning.

`[data]` and `[training]` have modules of their own.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tasearch.chains.keys import canonical_json
from tasearch.chains.recipe import FROM_TEACHER, LABELS_ONLY, NO_HIDDEN, RANDOM, TRAINED
from tasearch.config.section_base import Section, key
from tasearch.config.sizes import Arguments, Sizes, arguments, ladder
from tasearch.config.values import (
    MOST_VALUES,
    PACKAGES,
    SCALABLE,
    Count,
    Epochs,
    Fractions,
    Guidance,
    Hidden,
    Losses,
    MetricName,
    Positive,
    Rates,
    Starts,
    TeacherEpochs,
    Temperatures,
    Widths,
    distinct,
)
from tasearch.pareto.metric import ACCURACY_NAME


class ModelSection(Section):
    """The models: one family of networks, built at any width."""

    family: str = key(
        "cnn",
        '"cnn", "mlp", "mobile", "plain" (of the TAKD paper; width 2, 4, 6, 8 or 10), "resnet" '
        '(width 8, 14, 20, 26, 32, 44, 56 or 110), "transformer" (of token ids; width 2 or more), '
        '"vit" (width 2 or more), or '
        '"package.module:build", called as build(width, *, in_shape, num_classes) -> Module; with '
        'sizes also a model of a package by its name, such as "timm:vit_tiny_patch16_224", '
        'or "hf:FOLDER", an encoder of texts of transformers',
    )
    multiplier: Annotated[float, Field(gt=0, le=1_000)] = key(
        1.0, 'for family "resnet": factor on the number of channels'
    )
    sizes: Sizes = key(
        (),
        'sizes with a name and arguments, from large to small, such as [{ name = "m", width = 16, '
        'depth = 3 }, { name = "s", width = 8, depth = 2 }]; widths are then such names, and the '
        "family is called with the arguments of a size instead of a width",
    )

    def options(self) -> dict[str, float]:
        """What the family's function takes besides width and shapes."""
        return {"multiplier": self.multiplier} if self.family == SCALABLE else {}

    @property
    def package(self) -> str | None:
        """The package whose model the family is, by its name; None for any other family."""
        package, colon, _ = self.family.partition(":")
        return package if colon and package in PACKAGES else None

    @property
    def own_family(self) -> str:
        """The family if it is a function of the user's; else empty."""
        return self.family if ":" in self.family and self.package is None else ""

    @property
    def arguments(self) -> dict[int, Arguments]:
        """The arguments of each size by its number; empty where widths have no names."""
        named = ladder(self.sizes).values()
        return {place: arguments(size) for place, size in zip(named, self.sizes, strict=True)}

    @property
    def identities(self) -> dict[int, str]:
        """What identifies each size by its number: its arguments, whatever its name and number."""
        return {place: canonical_json(own) for place, own in self.arguments.items()}


class Distilled(Section):
    """The keys that `[assistants]` and `[student]` have in common."""

    loss: Losses = key(
        ("kd",),
        '"kd" (Hinton), "kd-std" (kd of standardized logits), "dist", "dkd", "ce" '
        '(labels only, no teacher), or "package.module:function"',
    )
    temperature: Temperatures = key(
        (4.0,), "temperature of the softmax of teacher and student in the distillation loss"
    )
    alpha: Fractions = key(
        (0.9,),
        "weight of the distillation loss; the cross-entropy with the labels has weight 1 - alpha",
    )
    guidance: Guidance = key(
        ("serial",),
        '"serial": only the model before is the teacher; "dense": all models before are (DGKD)',
    )
    teacher_dropout: Annotated[float, Field(ge=0, lt=1)] = key(
        0.25,
        "with dense guidance: probability that an assistant is left out of the teachers in a step",
    )
    teacher_epoch: TeacherEpochs = key(
        (TRAINED,),
        "share of its training after which the teacher teaches, rounded up to one of its "
        'rungs; "progressive": as it was at the share that its student has reached',
    )
    start: Starts = key(
        (RANDOM,),
        'weights at the start: "random", or "teacher" for weights cut out of those of the model '
        'before; of the families "transformer" and "hf:FOLDER"',
    )
    hidden: Hidden = key(
        (NO_HIDDEN,),
        'hidden layers of the model before to learn from, too, for transformers: "none", "states", '
        '"relations", "embeddings", or some joined, such as "states+relations"; the model before '
        "is then called on each batch",
    )
    hidden_weight: Rates = key(
        (1.0,), "weight of the loss on hidden layers, which is added to that of the logits"
    )
    learning_rate: Rates = key((0.01,), "peak learning rate")
    epochs: Epochs = key(40, "passes over the training set")

    @property
    def inherits(self) -> bool:
        """Whether some recipe has a model start from the weights of its teacher."""
        return FROM_TEACHER in self.start and any(loss != LABELS_ONLY for loss in self.loss)

    @property
    def reads_hidden(self) -> bool:
        """Whether some recipe has a model learn from hidden layers of the model before."""
        used = any(value != NO_HIDDEN for value in self.hidden)
        return used and any(loss != LABELS_ONLY for loss in self.loss)

    @property
    def early(self) -> tuple[float | str, ...]:
        """The values of `teacher_epoch` for which an earlier epoch of a teacher is needed."""
        distilled = any(loss != LABELS_ONLY for loss in self.loss)
        return tuple(value for value in self.teacher_epoch if distilled and value != TRAINED)


class AssistantsSection(Distilled):
    """The assistants. All of a chain have the same recipe, so that chains can share hops."""

    min: Annotated[int, Field(ge=0, le=MOST_VALUES)] = key(0, "fewest assistants in a chain")
    max: Annotated[int, Field(ge=0, le=MOST_VALUES)] = key(3, "most assistants in a chain")
    widths: Widths = key(
        (48, 32, 24, 16, 12, 8), "widths that an assistant may have, strictly decreasing"
    )


class StudentSection(Distilled):
    """The student: the last model of a chain."""

    widths: Annotated[Widths, AfterValidator(distinct)] = key(
        (12, 8, 6, 4, 3, 2),
        "widths that a student may have, strictly decreasing; an assistant within the budget is a "
        "student too, with the recipe of [assistants]",
    )


class BudgetSection(Section):
    """Limits on the student. Students beyond a limit are never trained."""

    max_params: Count | None = key(None, "most parameters")
    max_bytes: Count | None = key(None, "most bytes of weights and buffers, as stored")
    max_latency_ms: Positive | None = key(
        None, "highest median latency of one batch in milliseconds, measured as [latency] says"
    )


class ConfirmSection(Section):
    """How `tasearch confirm` compares chains again, on seeds that the search never used."""

    after_run: bool = key(
        False, "whether `tasearch run` ends with a confirmation, for the budget of the study"
    )
    margin: Annotated[float, Field(gt=0, le=100)] = key(
        1.0,
        "largest difference in the metric that makes no difference, in percentage points; of a "
        "metric that is no percentage in hundredths, such as 0.01 nats",
    )
    alpha: Annotated[float, Field(gt=0, le=0.05)] = key(
        0.05, 'probability that a confirmation holds any false "helps" or "hurts"'
    )


class ResourcesSection(Section):
    """What one training takes on a node of a Ray cluster (`--engine ray`); else it is not used."""

    cpus: Annotated[float, Field(gt=0, le=10_000)] | None = key(
        None, "cores, which may be a fraction; by default training.threads"
    )
    gpus: Annotated[float, Field(ge=0, le=100)] | None = key(
        None, "GPUs, which may be a fraction, such as 0.25; by default 1 on CUDA, else none"
    )
    memory_gb: Annotated[float, Field(ge=0, le=1e6)] = key(
        0.0, "gigabytes of memory that Ray counts for it; 0: Ray does not count memory"
    )


class ExpectsSection(Section):
    """What an export was made from, written by `export`. A run is refused if anything differs."""

    data: str | None = key(None, "digest of the data set")
    family: str | None = key(None, "family, with the digest of its source if it is yours")
    teacher: str | None = key(None, "digest of the teacher's factory and checkpoint")
    losses: str | None = key(None, "losses, with the digests of those that are yours")
    unlabelled: str | None = key(None, "digest of the samples without labels")
    augment: str | None = key(None, "augmentation of yours, with the digest of its source")


class ObjectiveSection(Section):
    """What the search makes as good as it can, besides size and latency."""

    metric: MetricName = key(
        ACCURACY_NAME,
        'what models are compared by on the validation set: "accuracy", "balanced-accuracy", '
        '"macro-f1", "auc", "top-K" such as "top-5", "nll" (negative log-likelihood), or '
        '"package.module:function", called as function(logits, labels) -> float, more is better',
    )
