"""A recipe: everything that decides how one model is trained."""

from __future__ import annotations

from dataclasses import dataclass

LABELS_ONLY = "ce"  # the loss that needs no teacher


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is trained.

    Args:
        loss: a name of `tasearch.train.losses.LOSSES` or `"package.module:function"`.
        temperature: softens both sides of the distillation term (Hinton et al., 1503.02531).
        alpha: weight of the distillation term; 1 - alpha is that of the labels.
        guidance: "serial", from the model before alone, or "dense", from all ancestors.
        teacher_dropout: chance that a dense model does without one of the assistants in a step.
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
    guidance: str
    teacher_dropout: float
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
        heat = f"temperature {self.temperature:g}, " if self.distilled else ""
        return f"loss {self.loss!r}, {heat}learning_rate {self.learning_rate:g}"

    @property
    def distilled(self) -> bool:
        """Whether the model learns from a teacher at all."""
        return self.loss != LABELS_ONLY
