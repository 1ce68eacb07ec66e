"""The sections of a study file: every key, its type, its default and what it means, once."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from tasearch.mode import Mode

SCALABLE = "resnet"  # the family whose channels have a multiplier


def _options(value: Any) -> Any:
    """One value or a list of them, as a tuple."""
    return _listed(value) if isinstance(value, list | tuple) else (value,)


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise PydanticCustomError("empty", "needs at least one value")
    if len(set(values)) < len(values):
        raise PydanticCustomError("distinct", "should have no value twice")
    return values


def _falling(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(a <= b for a, b in itertools.pairwise(values)):
        raise PydanticCustomError("falling", "should be strictly decreasing")
    return values


def _mode(text: str) -> str:
    try:
        return str(Mode.of(text))
    except ValueError as error:
        rule = str(error).rpartition(", found")[0]
        raise PydanticCustomError("mode", "{rule}", {"rule": rule}) from None


FILES = ("npz", "parquet")  # sources with a path

Width = Annotated[int, Field(ge=1)]
Epochs = Annotated[int, Field(ge=1)]
ModeText = Annotated[str, AfterValidator(_mode)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Widths = Annotated[tuple[Width, ...], BeforeValidator(_listed), AfterValidator(_falling)]
Losses = Annotated[tuple[str, ...], BeforeValidator(_options), AfterValidator(_distinct)]
Temperatures = Annotated[
    tuple[Annotated[float, Field(ge=0.01, le=1000)], ...],
    BeforeValidator(_options),
    AfterValidator(_distinct),
]
Edges = Annotated[
    tuple[Literal["serial", "dense"], ...], BeforeValidator(_options), AfterValidator(_distinct)
]
Positives = Annotated[tuple[Positive, ...], BeforeValidator(_options), AfterValidator(_distinct)]
Shares = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...],
    BeforeValidator(_options),
    AfterValidator(_distinct),
]


def key(default: Any, meaning: str) -> Any:
    """A key of the study file with its default; its meaning is written above it."""
    return Field(default=default, description=meaning)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSection(Section):
    """The data set: digits (scikit-learn's), npz or parquet (with path), or your own function."""

    source: str = key("digits", '"digits", "npz", "parquet", or "package.module:function"')
    path: str | None = key(
        None, "the .npz file; or the .parquet file, or folder of train*, validation*, test*"
    )
    image: str | None = key(None, "parquet's column of images, where there are several")
    label: str = key("label", "parquet's column of labels")
    limit: Annotated[int, Field(ge=2)] | None = key(
        None, "at most so many training samples, stratified, drawn after the other parts"
    )
    layout: Literal["auto", "chw", "hwc"] = key(
        "auto", "axes of images with channels; auto takes the axis of 1, 3 or 4"
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = key(
        0.2, "share set apart to decide, where the data have no such part"
    )
    test: Annotated[float, Field(gt=0, lt=1)] = key(
        0.2, "share set apart to testify, where the data have no such part"
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = key(
        0, "draws the parts, stratified; not touched by `seed`"
    )


class ModelSection(Section):
    """The models: one family, built at any width."""

    family: str = key(
        "cnn",
        '"cnn", "mlp", "plain" (TAKD\'s; width 2, 4, 6, 8, 10), "resnet" (width 8, 14, 20, 26, 32, '
        '44, 56, 110), or "package.module:build": build(width, *, in_shape, num_classes) -> Module',
    )
    multiplier: Positive = key(1.0, "of the channels, for family resnet")

    def options(self) -> dict[str, float]:
        """What the family's function takes besides width and shapes."""
        return {"multiplier": self.multiplier} if self.family == SCALABLE else {}


class TeacherSection(Section):
    """The teacher: top of the ladder, trained here once or loaded."""

    width: Width = key(64, "its width; with a factory, the number that stands for it in chains")
    factory: str | None = key(
        None, '"package.module:make": make(*, in_shape, num_classes) -> Module, not of the family'
    )
    checkpoint: str | None = key(
        None, "its weights: .safetensors, or a torch file that loads with weights_only=True"
    )
    inputs: Literal["raw", "standardized"] = key(
        "raw", "what a loaded teacher takes: samples as they are, or standardized ones"
    )
    epochs: Annotated[int, Field(ge=0)] = key(
        40, "of its training, if it has no checkpoint; 0 takes what a factory returns as it is"
    )
    learning_rate: Positive = key(0.01, "of its training, if it is trained here")

    @property
    def loaded(self) -> bool:
        """Whether it is taken as it is, from a checkpoint or a factory, and never trained."""
        return self.checkpoint is not None or self.epochs == 0


class Distilled(Section):
    """Keys that assistants and students share; a list is searched."""

    loss: Losses = key(
        ("kd",),
        '"kd" (Hinton), "kd-std" (kd of standardised logits), "dist", "dkd", "ce" (labels alone), '
        'or "package.module:function"',
    )
    temperature: Temperatures = key((4.0,), "softens both sides of the distillation term")
    alpha: Shares = key(
        (0.9,), "weight of the distillation term, above 0; the labels have the rest"
    )
    edges: Edges = key(
        ("serial",), '"serial", taught by the pupil before, or "dense", by all ancestors (DGKD)'
    )
    drop: Annotated[float, Field(ge=0, lt=1)] = key(
        0.25, "chance that a dense pupil does without an assistant in a step"
    )
    learning_rate: Positives = key((0.01,), "peak learning rate")
    epochs: Epochs = key(40, "passes over the training part")


class AssistantsSection(Distilled):
    """The assistants: how many, how wide; one recipe for all keeps prefixes shared."""

    min: Annotated[int, Field(ge=0)] = key(0, "fewest assistants in a chain")
    max: Annotated[int, Field(ge=0)] = key(3, "most assistants in a chain")
    widths: Widths = key((48, 32, 24, 16, 12, 8), "what they may be, strictly decreasing")


class StudentSection(Distilled):
    """The student: how wide, and how it is distilled."""

    widths: Annotated[Widths, AfterValidator(_distinct)] = key(
        (12, 8, 6, 4, 3, 2), "what it may be, strictly decreasing"
    )


class TrainingSection(Section):
    """What all trainings share."""

    views: Literal["none", "flip", "crop4+flip"] = key(
        "none", "augmented views of images, the same for pupils and their ancestors"
    )
    batch_size: Annotated[int, Field(ge=2)] = key(64, "samples a step")
    optimizer: Literal["adamw", "sgd"] = key("adamw", '"adamw", or "sgd" with Nesterov momentum')
    momentum: Annotated[float, Field(ge=0, lt=1)] = key(0.9, "of sgd")
    weight_decay: Annotated[float, Field(ge=0)] = key(
        1e-4, "on matrices and kernels; norms and biases have none"
    )
    schedule: Literal["cosine", "one-cycle"] = key(
        "cosine", "of the learning rate after its warm-up; one-cycle moves the momentum too"
    )
    warmup: Share = key(0.05, "share of all steps in which the learning rate rises")
    clip: Positive | None = key(None, "largest norm of a step's gradient")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None, "decay of a moving average of the weights, evaluated and kept in their place"
    )
    precision: Literal["auto", "fp32", "bf16"] = key(
        "auto", "of training; auto is bf16 on CUDA, and on CPU what a probe finds faster"
    )
    fuse: Literal["auto", "never"] = key(
        "auto", "auto trains pupils of one width as one wide model where a probe finds that faster"
    )
    modes: dict[str, ModeText] = key(
        {}, "of widths, in place of what probes find: `export` writes them to train alike again"
    )
    threads: Annotated[int, Field(ge=1)] = key(
        1, "of a training on CPU; another number rounds differently"
    )
    deterministic: bool = key(
        False, "on CUDA: the same bits from run to run, at some speed; on CPU they always are"
    )
    targets_gb: Positive = key(
        10.0, "room for soft targets in the run directory; the oldest unused go first"
    )


class BudgetSection(Section):
    """Students beyond any of these limits are never trained."""

    max_params: Annotated[int, Field(ge=1)] | None = key(None, "numbers in all parameters")
    max_bytes: Annotated[int, Field(ge=1)] | None = key(None, "weights and buffers as stored")
    max_latency_ms: Positive | None = key(None, "median of one batch, measured as [latency] says")


class LatencySection(Section):
    """How latency is measured, before anything is trained."""

    backend: Literal["onnx", "torch"] = key("onnx", "ONNX Runtime on CPU, or torch on the device")
    batch: Annotated[int, Field(ge=1, le=65_536)] = key(1, "samples in one timed call")
    threads: Annotated[int, Field(ge=1)] = key(1, "of the timed call, on CPU")


class SearchSection(Section):
    """The search."""

    trials: Annotated[int, Field(ge=1)] = key(40, "chains to try, pruned and failed ones included")
    max_hours: Positive | None = key(
        None, "of searching, in all; what is begun by then is finished"
    )
    max_cost: Positive | None = key(
        None, "training FLOPs, in all; what is begun by then is finished"
    )
    patience: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None,
        "stop when spending as much again should raise the hypervolume by less than this share",
    )
    sampler: str = key(
        "ehvi",
        '"ehvi" (expected gain of hypervolume for its cost), Optuna\'s "tpe", "nsga2", "gp", '
        '"random", "brute", or "package.module:function"',
    )
    replicates: Annotated[int, Field(ge=1)] = key(
        1, "times that each chain is trained, with other weights and batches; accuracy is the mean"
    )
    lookahead: Annotated[int, Field(ge=1)] = key(
        8, "trials in flight, baselines apart; a proposal or a stop sees those before"
    )
    pruner: Literal["skyline", "none"] = key("skyline", "skyline stops what cannot reach the front")
    rungs: Annotated[int, Field(ge=1)] = key(8, "times that a pupil is evaluated and saved")
    quantile: Share = key(1.0, "of the gains of finished students: how late a bloomer to hope for")
    margin: Annotated[float, Field(ge=0)] = key(
        0.5, "added against noise, in its standard deviations between replicates, or along a curve"
    )
    evidence: Annotated[int, Field(ge=1)] = key(6, "finished students before any is stopped")
    audit: Share = key(0.1, "share of students to stop that run on, to measure the rule")
