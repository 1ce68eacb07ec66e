"""A study: every key of its file, its type, its default and what it means, once."""

from __future__ import annotations

import itertools
import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from pydantic_core import PydanticCustomError

from tasearch.chain import LABELS_ONLY, Recipe
from tasearch.front import Budget
from tasearch.mode import Mode
from tasearch.space import SEARCHED, Recipes

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
        "raw", "what a teacher with a checkpoint takes: samples as they are, or standardized ones"
    )
    epochs: Epochs = key(40, "of its training, if it has no checkpoint")
    learning_rate: Positive = key(0.01, "of its training, if it has no checkpoint")


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

    max_params: Annotated[int, Field(ge=1)] | None = key(None, "trainable numbers")
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
        8, "trials in flight at once; a proposal or a stop sees the trials before those"
    )
    pruner: Literal["skyline", "none"] = key("skyline", "skyline stops what cannot reach the front")
    rungs: Annotated[int, Field(ge=1)] = key(8, "times that a pupil is evaluated and saved")
    quantile: Share = key(1.0, "of the gains of finished students: how late a bloomer to hope for")
    margin: Annotated[float, Field(ge=0)] = key(
        0.5, "added against noise, in its standard deviations between replicates, or along a curve"
    )
    evidence: Annotated[int, Field(ge=1)] = key(6, "finished students before any is stopped")
    audit: Share = key(0.1, "share of students to stop that run on, to measure the rule")


class Study(Section):
    """A study: everything that decides what is tried and how it is trained."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = key(
        "study", "the run lands in runs/<name>"
    )
    seed: Annotated[int, Field(ge=0)] = key(0, "of initial weights, order of batches and proposals")
    root: str = key(".", "where paths and your modules are looked for, seen from this file")
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    teacher: TeacherSection = TeacherSection()
    assistants: AssistantsSection = AssistantsSection()
    student: StudentSection = StudentSection()
    training: TrainingSection = TrainingSection()
    budget: BudgetSection = BudgetSection()
    latency: LatencySection = LatencySection()
    search: SearchSection = SearchSection()

    def conflicts(self) -> list[tuple[str, str]]:
        """Breaches of rules that span several keys: path and rule of each."""
        found = []
        for section, widths in (
            ("assistants", self.assistants.widths),
            ("student", self.student.widths),
        ):
            unused = section == "assistants" and not self.assistants.max
            if not unused and widths and widths[0] >= self.teacher.width:
                rule = f"should be below the teacher's width {self.teacher.width}"
                found.append((f"{section}.widths[0]", f"{rule}, found {widths[0]}"))
        low, high, rungs = self.assistants.min, self.assistants.max, len(self.assistants.widths)
        if low > high:
            found.append(
                ("assistants.min", f"should not exceed assistants.max {high}, found {low}")
            )
        if low > rungs:
            rule = f"should not exceed the number of assistants.widths {rungs}"
            found.append(("assistants.min", f"{rule}, found {low}"))
        for section, losses, limit in (
            ("assistants", self.assistants.loss, 1),
            ("student", self.student.loss, 0),
        ):
            if low > limit and LABELS_ONLY in losses:
                rule = (
                    f"{LABELS_ONLY!r} learns from no assistant, so assistants.min cannot be {low}"
                )
                found.append((f"{section}.loss", rule))
        for width in self.training.modes:
            if width not in map(str, self.widths):
                found.append((f"training.modes.{width}", "is no width of this study"))
        if self.model.multiplier != 1 and self.model.family != SCALABLE:
            rule = f'goes with family = "{SCALABLE}", found {self.model.family!r}'
            found.append(("model.multiplier", rule))
        source, path = self.data.source, self.data.path
        if source in FILES and path is None:
            found.append(("data.path", f"is required with source = {json.dumps(source)}"))
        if source not in FILES and path is not None:
            rule = f'goes with source = "npz" or "parquet", found {json.dumps(source)}'
            found.append(("data.path", rule))
        for name in ("image", "label"):
            if source != "parquet" and getattr(self.data, name) != DataSection().model_dump()[name]:
                rule = f'goes with source = "parquet", found {json.dumps(source)}'
                found.append((f"data.{name}", rule))
        return found

    @property
    def widths(self) -> tuple[int, ...]:
        """The ladder: every width of the study, strictly decreasing, the teacher's first."""
        rest = {*self.student.widths}
        if self.assistants.max:
            rest |= {*self.assistants.widths}
        return (self.teacher.width, *sorted(rest, reverse=True))

    def limits(self) -> Budget:
        return Budget(**self.budget.model_dump())

    def recipes(self, role: Literal["assistants", "student"]) -> Recipes:
        section: Distilled = getattr(self, role)
        options = {name: getattr(section, name) for name in SEARCHED}
        first = {name: values[0] for name, values in options.items()}
        own = {"epochs": section.epochs, "drop": section.drop}
        return Recipes(base=self._recipe(**own, **first), options=options)

    def teacher_recipe(self) -> Recipe | None:
        """None where the teacher is loaded."""
        if self.teacher.checkpoint is not None:
            return None
        return self._recipe(
            loss=LABELS_ONLY,
            temperature=1.0,
            alpha=0.0,
            edges="serial",
            drop=0.0,
            epochs=self.teacher.epochs,
            learning_rate=self.teacher.learning_rate,
        )

    def _recipe(self, **own: Any) -> Recipe:
        shared = self.training
        return Recipe(
            batch_size=shared.batch_size,
            optimizer=shared.optimizer,
            momentum=shared.momentum,
            schedule=shared.schedule,
            warmup=shared.warmup,
            weight_decay=shared.weight_decay,
            clip=shared.clip,
            ema=shared.ema,
            **own,
        )

    def identity(self) -> dict[str, Any]:
        """What makes two study files the same study: all but its length, place and room."""
        length = {"trials", "max_hours", "max_cost", "patience"}
        unlike: Any = {"root": True, "search": length, "training": {"targets_gb"}}
        values = self.model_dump(mode="json", exclude=unlike)
        flat: dict[str, Any] = {}
        for section, value in values.items():
            if isinstance(value, dict):
                flat |= {f"{section}.{name}": inner for name, inner in value.items()}
            else:
                flat[section] = value
        return flat
