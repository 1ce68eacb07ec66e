"""The sections of a study file: every key, its type, its default and what it means, once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tasearch.config.values import (
    LONGEST_TEXT,
    MOST_CONCURRENT,
    MOST_COUNT,
    MOST_EPOCHS,
    MOST_HOURS,
    MOST_RATE,
    MOST_REPLICATES,
    MOST_RUNGS,
    MOST_TRIALS,
    MOST_VALUES,
    SCALABLE,
    Count,
    Epochs,
    Guidance,
    Losses,
    ModeText,
    PathText,
    Positive,
    Rate,
    Rates,
    Seed,
    Share,
    Shares,
    Temperatures,
    Threads,
    Width,
    Widths,
    distinct,
)


def key(default: Any, meaning: str) -> Any:
    """A key of the study file with its default; its meaning is written above it."""
    return Field(default=default, description=meaning)


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        str_max_length=LONGEST_TEXT,
    )


class DataSection(Section):
    """The data set: digits (scikit-learn's), npz or parquet (with path), or your own function."""

    source: str = key("digits", '"digits", "npz", "parquet", or "package.module:function"')
    path: PathText | None = key(
        None, "the .npz file; or the .parquet file, or folder of train*, validation*, test*"
    )
    image: str | None = key(None, "parquet's column of images, where there are several")
    label: str = key("label", "parquet's column of labels")
    background: Literal["black", "white"] = key(
        "black", "what encoded images are laid over where they are transparent"
    )
    limit: Annotated[int, Field(ge=2, le=MOST_COUNT)] | None = key(
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
    split_seed: Seed = key(0, "draws the parts, stratified; not touched by `seed`")


class ModelSection(Section):
    """The models: one family, built at any width."""

    family: str = key(
        "cnn",
        '"cnn", "mlp", "plain" (TAKD\'s; width 2, 4, 6, 8, 10), "resnet" (width 8, 14, 20, 26, 32, '
        '44, 56, 110), or "package.module:build": build(width, *, in_shape, num_classes) -> Module',
    )
    multiplier: Annotated[float, Field(gt=0, le=1_000)] = key(
        1.0, "of the channels, for family resnet"
    )

    def options(self) -> dict[str, float]:
        """What the family's function takes besides width and shapes."""
        return {"multiplier": self.multiplier} if self.family == SCALABLE else {}


class TeacherSection(Section):
    """The teacher: top of the ladder, trained here once or loaded."""

    width: Width = key(64, "its width; with a factory, the number that stands for it in chains")
    factory: str | None = key(
        None, '"package.module:make": make(*, in_shape, num_classes) -> Module, not of the family'
    )
    checkpoint: PathText | None = key(
        None, "its weights: .safetensors, or a torch file that loads with weights_only=True"
    )
    inputs: Literal["raw", "standardized"] = key(
        "raw", "what a loaded teacher takes: samples as they are, or standardized ones"
    )
    epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = key(
        40, "of its training, if it has no checkpoint; 0 takes what a factory returns as it is"
    )
    learning_rate: Rate = key(0.01, "of its training, if it is trained here")

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
    guidance: Guidance = key(
        ("serial",), '"serial", taught by the model before, or "dense", by all ancestors (DGKD)'
    )
    teacher_dropout: Annotated[float, Field(ge=0, lt=1)] = key(
        0.25, "with dense guidance: probability of leaving an assistant out in a step (DGKD)"
    )
    learning_rate: Rates = key((0.01,), "peak learning rate")
    epochs: Epochs = key(40, "passes over the training part")


class AssistantsSection(Distilled):
    """The assistants: how many, how wide; one recipe for all keeps prefixes shared."""

    min: Annotated[int, Field(ge=0, le=MOST_VALUES)] = key(0, "fewest assistants in a chain")
    max: Annotated[int, Field(ge=0, le=MOST_VALUES)] = key(3, "most assistants in a chain")
    widths: Widths = key((48, 32, 24, 16, 12, 8), "what they may be, strictly decreasing")


class StudentSection(Distilled):
    """The student: how wide, and how it is distilled."""

    widths: Annotated[Widths, AfterValidator(distinct)] = key(
        (12, 8, 6, 4, 3, 2), "what it may be, strictly decreasing"
    )


class TrainingSection(Section):
    """What all trainings share."""

    augment: Literal["none", "flip", "crop4+flip"] = key(
        "none", "augmentation of images; teachers and students see the same views"
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = key(64, "samples a step")
    optimizer: Literal["adamw", "sgd"] = key("adamw", '"adamw", or "sgd" with Nesterov momentum')
    momentum: Annotated[float, Field(ge=0, lt=1)] = key(0.9, "of sgd")
    weight_decay: Annotated[float, Field(ge=0, le=MOST_RATE)] = key(
        1e-4, "on matrices and kernels; norms and biases have none"
    )
    schedule: Literal["cosine", "one-cycle"] = key(
        "cosine", "of the learning rate after its warm-up; one-cycle moves the momentum too"
    )
    warmup: Share = key(0.05, "share of all steps in which the learning rate rises")
    clip: Rate | None = key(None, "largest norm of a step's gradient")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None, "decay of a moving average of the weights, evaluated and kept in their place"
    )
    precision: Literal["auto", "fp32", "bf16"] = key(
        "auto", "of training; auto is bf16 on CUDA, and on CPU what a probe finds faster"
    )
    stack: Literal["auto", "never"] = key(
        "auto",
        "auto trains models of one width as one stacked model where that is measured to be faster",
    )
    modes: dict[str, ModeText] = key(
        {}, "of widths, in place of what probes find: `export` writes them to train alike again"
    )
    threads: Threads = key(1, "of a training on CPU; another number rounds differently")
    deterministic: bool = key(
        False, "on CUDA: the same bits from run to run, at some speed; on CPU they always are"
    )
    stall_minutes: Positive = key(
        10.0,
        "without any progress, after which a worker is replaced and its hop fails; not of built-in "
        "code in the process of the search",
    )
    targets_gb: Annotated[float, Field(gt=0, le=1e9)] = key(
        10.0, "room for soft targets in the run directory; the oldest unused go first"
    )

    def deciding(self) -> dict[str, Any]:
        """The keys that decide how models train: all but those of room and min_improvement."""
        return self.model_dump(mode="json", exclude={"targets_gb", "stall_minutes"})


class BudgetSection(Section):
    """Students beyond any of these limits are never trained."""

    max_params: Count | None = key(None, "numbers in all parameters")
    max_bytes: Count | None = key(None, "weights and buffers as stored")
    max_latency_ms: Positive | None = key(None, "median of one batch, measured as [latency] says")


class LatencySection(Section):
    """How latency is measured, before anything is trained."""

    backend: Literal["onnx", "torch"] = key("onnx", "ONNX Runtime on CPU, or torch on the device")
    batch: Annotated[int, Field(ge=1, le=65_536)] = key(1, "samples in one timed call")
    threads: Threads = key(1, "of the timed call, on CPU")


class ExpectsSection(Section):
    """What an export was made of, as `export` writes it; a run of anything else is refused."""

    data: str | None = key(None, "digest of the data set")
    family: str | None = key(None, "family, with the digest of its source where it is yours")
    teacher: str | None = key(None, "digest of the teacher's factory and checkpoint")
    losses: str | None = key(None, "losses, with the digests of those that are yours")


class SearchSection(Section):
    """The search."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = key(
        40, "chains to try, pruned and failed ones included"
    )
    max_hours: Annotated[float, Field(gt=0, le=MOST_HOURS)] | None = key(
        None, "of searching, in all; what is begun by then is finished"
    )
    max_flops: Positive | None = key(
        None, "training FLOPs, in all; what is begun by then is finished"
    )
    min_improvement: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None,
        "stop when as much training again should raise the hypervolume by less than this fraction",
    )
    sampler: str = key(
        "ehvi",
        '"ehvi" (expected gain of hypervolume for its cost), Optuna\'s "tpe", "nsga2", "gp", '
        '"random", "brute", or "package.module:function"',
    )
    replicates: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] = key(
        1, "times that each chain is trained, with other weights and batches; accuracy is the mean"
    )
    max_concurrent: Annotated[int, Field(ge=1, le=MOST_CONCURRENT)] = key(
        8,
        "most trials that run at the same time; proposals and pruning see the trials before those",
    )
    pruner: Literal["skyline", "none"] = key("skyline", "skyline stops what cannot reach the front")
    rungs: Annotated[int, Field(ge=1, le=MOST_RUNGS)] = key(
        8, "times that a model is evaluated and saved"
    )
    gain_quantile: Share = key(
        1.0, "quantile of past accuracy gains, used as the optimistic bound; 1 is the largest"
    )
    noise_margin: Annotated[float, Field(ge=0, le=1e6)] = key(
        0.5,
        "standard deviations of noise added to the bound; noise is taken between replicates, or "
        "along the curves of single ones",
    )
    n_startup_trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = key(
        6, "finished students that are needed before any is pruned"
    )
    audit_fraction: Share = key(
        0.1,
        "fraction of pruned students that are trained to their end all the same, to audit the rule",
    )
