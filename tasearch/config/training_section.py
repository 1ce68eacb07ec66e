"""The section `[training]` of a study file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tasearch.config.section_base import Section, key
from tasearch.config.values import (
    MOST_RATE,
    MOST_VIEWS,
    ClassWeights,
    Fraction,
    ModeText,
    Positive,
    Rate,
    Threads,
)


class TrainingSection(Section):
    """What all trainings have in common."""

    augment: str = key(
        "none",
        'augmentation: "flip" mirrors images, "crop4+flip" also shifts them by up to 4 pixels, '
        '"package.module:function" is yours, called as augment(x) -> a view of the sample x; '
        "teacher and student see the same view",
    )
    views: Annotated[int, Field(ge=2, le=MOST_VIEWS)] | None = key(
        None,
        "for mixup, and for an augmentation of yours, which draws them once unless the teacher is "
        "online: number of seeded views of each sample; soft targets are computed up to so many "
        "times",
    )
    teacher: Literal["cached", "online"] = key(
        "cached",
        'soft targets: "cached" stores them, "online" computes them on each batch as the student '
        "sees it, so that mixup and an augmentation of yours may draw anew in each epoch",
    )
    mixup: Annotated[float, Field(gt=0, le=1000)] | None = key(
        None,
        "alpha of mixup: each view is a mix of two samples, by shares from Beta(alpha, alpha), and "
        "so is its label; the pairs are drawn once, for each view, or in each epoch if the teacher "
        "is online",
    )
    unlabelled_share: Annotated[float, Field(gt=0, lt=1)] = key(
        0.5,
        "share of samples without labels in each batch of a model that learns from a teacher, if "
        "the data have some",
    )
    views_gb: Annotated[float, Field(gt=0, le=1e9)] = key(
        10.0, "most gigabytes of the cache on disk that the views of an augmentation of yours take"
    )
    class_weights: ClassWeights = key(
        "none",
        'weights of the classes in the cross-entropy with the labels: "none", "balanced" (the '
        "rarer, the heavier: samples / (classes * samples of the class)), or a list of one number "
        "for each class; the distillation loss has none",
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = key(64, "samples per step")
    optimizer: Literal["adamw", "sgd"] = key("adamw", '"adamw", or "sgd" with Nesterov momentum')
    momentum: Annotated[float, Field(ge=0, lt=1)] = key(0.9, "momentum of sgd")
    weight_decay: Annotated[float, Field(ge=0, le=MOST_RATE)] = key(
        1e-4, "weight decay of matrices and kernels; norms and biases have none"
    )
    schedule: Literal["cosine", "one-cycle"] = key(
        "cosine", 'learning rate after the warm-up; "one-cycle" changes the momentum, too'
    )
    warmup: Fraction = key(
        0.05, "fraction of all steps in which the learning rate rises to its peak"
    )
    clip: Rate | None = key(
        None, "largest norm of a step's gradient; larger ones are scaled down to it"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None,
        "decay of an exponential moving average of the weights, which is evaluated and "
        "saved in their place",
    )
    precision: Literal["auto", "fp32", "bf16"] = key(
        "auto",
        'precision of training; "auto" is bf16 on CUDA, and on CPU the one that is '
        "measured to be faster",
    )
    stack: Literal["auto", "never"] = key(
        "auto",
        '"auto": train models of one width as one stacked model where that is measured '
        "to be faster",
    )
    modes: dict[str, ModeText] = key(
        {},
        'training mode of each width, such as { 8 = "fp32 x4" }, instead of measuring '
        "the fastest; `export` writes it, so that training again gives the same weights",
    )
    threads: Threads = key(
        1, "CPU threads of one training; with another number, results round differently"
    )
    deterministic: bool = key(
        False,
        "on CUDA: every run gives the same weights, bit for bit, but training is slower; "
        "on CPU this is always so",
    )
    stall_minutes: Positive = key(
        10.0,
        "minutes without progress after which a worker is replaced and its hop fails; a "
        "call of your code in the main process that takes longer fails, too",
    )
    targets_gb: Annotated[float, Field(gt=0, le=1e9)] = key(
        10.0,
        "gigabytes of cached soft targets in the run directory; beyond that, the least "
        "recently used are deleted",
    )

    def deciding(self) -> dict[str, Any]:
        """The keys that influence the weights: all but limits of time and of disk space."""
        return self.model_dump(mode="json", exclude={"targets_gb", "views_gb", "stall_minutes"})
