"""A recipe: the hyperparameters with which one model is trained."""

from __future__ import annotations

from dataclasses import dataclass

LABELS_ONLY = "ce"  # the loss that needs no teacher


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters with which one model is trained.

    Args:
        loss: A name in `tasearch.train.losses.LOSSES`, or `"package.module:function"`.
        temperature: The temperature of the softmax of teacher and student in the distillation term
            (Hinton et al., arXiv 1503.02531).
        alpha: Weight of the distillation term; 1 - alpha is the weight of the cross-entropy with
            the labels.
        guidance: "serial" if only the model before teaches it, "dense" if all ancestors do (Son et
            al., arXiv 2009.08825).
        teacher_dropout: With dense guidance, the probability that an assistant is left out of the
            teachers in a step.
        epochs: Number of passes over the training set.
        learning_rate: Peak learning rate, reached at the end of the warm-up.
        batch_size: Samples per step.
        optimizer: A name in `tasearch.train.optimizer.OPTIMIZERS`.
        momentum: Nesterov momentum of SGD.
        schedule: A name in `tasearch.train.schedules.SCHEDULES`.
        warmup: Fraction of all steps in which the learning rate rises.
        weight_decay: Weight decay of matrices and kernels; biases and norms have none.
        clip: Largest norm of a step's gradient; None for no limit.
        ema: Decay of an exponential moving average of the weights, which is then the result; None
            for no average.
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
        """The hyperparameters on which success depends most, for messages."""
        shown = f"temperature {self.temperature:g}, " if self.distilled else ""
        return f"loss {self.loss!r}, {shown}learning_rate {self.learning_rate:g}"

    @property
    def distilled(self) -> bool:
        """Whether the model learns from a teacher."""
        return self.loss != LABELS_ONLY
