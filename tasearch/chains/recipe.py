"""A recipe: the hyperparameters with which one model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LABELS_ONLY = "ce"  # the loss that needs no teacher
PROGRESSIVE = "progressive"  # the teacher's epoch moves on with the student's
TRAINED = 1.0  # the teacher's epoch of a teacher that is trained to its end
RANDOM = "random"  # the start of a model with random weights
FROM_TEACHER = "teacher"  # the start of a model with weights of its teacher's
NO_HIDDEN = "none"  # the value of `hidden` of a model that learns from logits alone
HIDDEN = ("states", "relations", "embeddings")  # of a teacher that a model may learn from
LATER: dict[str, float | str] = {
    "teacher_epoch": TRAINED,
    "start": RANDOM,
    "hidden": NO_HIDDEN,
    "hidden_weight": 1.0,
}


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
        teacher_epoch: The share of a teacher's training after which it teaches, above 0 and up to
            1; or "progressive" for the share that the model itself has reached. It is rounded up to
            a rung, see `tasearch.chains.rungs`.
        start: "random" for random weights at the start, or "teacher" for weights that are cut out
            of those of the model before, as it is when it is trained.
        hidden: The hidden layers of the model before that it learns from besides the logits: names
            in `HIDDEN` in their order, joined by "+"; "none" for the logits alone.
        hidden_weight: Weight of the loss on hidden layers, which is added to the loss of the
            logits.
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
    teacher_epoch: float | str = TRAINED
    start: str = RANDOM
    hidden: str = NO_HIDDEN
    hidden_weight: float = 1.0

    @property
    def words(self) -> str:
        """The hyperparameters on which success depends most, for messages."""
        shown = f"temperature {self.temperature:g}, " if self.distilled else ""
        shown += "".join(f"{text}, " for text in told_texts(self.content()))
        return f"loss {self.loss!r}, {shown}learning_rate {self.learning_rate:g}"

    @property
    def early(self) -> bool:
        """Whether the model learns from an earlier epoch of its teacher."""
        return self.distilled and self.teacher_epoch != TRAINED

    def content(self) -> dict[str, Any]:
        """The fields by name, as they are stored and hashed.

        Fields in `LATER` are left out where they have the value there, as in recipes of before
        there was a choice: their hops keep their keys.
        """
        found = asdict(self)
        return {name: value for name, value in found.items() if LATER.get(name, ...) != value}

    @property
    def inherits(self) -> bool:
        """Whether the model starts with weights of the model before."""
        return self.distilled and self.start == FROM_TEACHER

    @property
    def hidden_parts(self) -> tuple[str, ...]:
        """The names in `HIDDEN` that the model learns from; empty for the logits alone."""
        used = self.distilled and self.hidden != NO_HIDDEN
        return tuple(self.hidden.split("+")) if used else ()

    @property
    def distilled(self) -> bool:
        """Whether the model learns from a teacher."""
        return self.loss != LABELS_ONLY


def complete_recipe(content: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe with every field, also those that `Recipe.content` leaves out."""
    return {**LATER, **content}


def early_teacher_text(content: Mapping[str, Any]) -> str:
    """What a stored recipe says of an earlier epoch of the teacher; empty where nothing is said.

    Example:
        >>> early_teacher_text({"loss": "kd", "teacher_epoch": 0.25})
        'teacher at 25 %'
        >>> early_teacher_text({"loss": "kd", "teacher_epoch": "progressive"})
        'progressive teacher'
    """
    value = complete_recipe(content)["teacher_epoch"]
    if value == TRAINED or content["loss"] == LABELS_ONLY:
        return ""
    return "progressive teacher" if value == PROGRESSIVE else f"teacher at {100 * value:g} %"


def start_text(content: Mapping[str, Any]) -> str:
    """What a stored recipe says of the weights at the start; empty where they are random.

    Example:
        >>> start_text({"loss": "kd", "start": "teacher"})
        'start from the teacher'
    """
    inherits = content["loss"] != LABELS_ONLY and content.get("start", RANDOM) == FROM_TEACHER
    return "start from the teacher" if inherits else ""


def hidden_text(content: Mapping[str, Any]) -> str:
    """What a stored recipe says of hidden layers; empty where the model learns from logits alone.

    Example:
        >>> hidden_text({"loss": "kd", "hidden": "states+relations"})
        'hidden states and relations'
    """
    whole = complete_recipe(content)
    if whole["hidden"] == NO_HIDDEN or content["loss"] == LABELS_ONLY:
        return ""
    return f"hidden {' and '.join(whole['hidden'].split('+'))}"


def hidden_weight_text(content: Mapping[str, Any]) -> str:
    """What a stored recipe says of the weight of hidden layers; empty where none are used.

    Example:
        >>> hidden_weight_text({"loss": "kd", "hidden": "states"})
        'hidden weight 1'
    """
    weight = complete_recipe(content)["hidden_weight"]
    return f"hidden weight {weight:g}" if hidden_text(content) else ""


TOLD = {  # fields told only if used
    "teacher_epoch": early_teacher_text,
    "start": start_text,
    "hidden": hidden_text,
    "hidden_weight": hidden_weight_text,
}


def told_texts(content: Mapping[str, Any]) -> list[str]:
    """What a stored recipe says of the fields in `TOLD`, without those that are not used."""
    return [text for text in (tell(content) for tell in TOLD.values()) if text]
