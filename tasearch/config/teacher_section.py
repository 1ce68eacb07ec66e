"""The section `[teacher]` of a study file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializationInfo,
    WithJsonSchema,
)

from tasearch.config.section_base import Section, key
from tasearch.config.values import (
    MOST_EPOCHS,
    MOST_SIDE,
    PACKAGES,
    ImageSize,
    PathText,
    Rate,
    Width,
    as_list,
    as_options,
)
from tasearch.errors import quoted

OWN = 'should be "package.module:function"'
NAMED = " or ".join(f'"{package}:..."' for package in PACKAGES)
LOADED = (
    "goes with a loaded teacher, which has teacher.checkpoint, teacher.pretrained = true, or "
    "teacher.factory with teacher.epochs = 0"
)

MOST_OF_NAME = 40
GENERAL = ("make", "build")  # functions that say nothing of their model: their modules may

TeacherName = Annotated[
    str,  # of letters and digits that need no care in HTML and in a terminal, and no arrow
    Field(pattern=r"^[\w.+/()-]([\w .+/()-]*[\w.+/()-])?$", max_length=MOST_OF_NAME),
]
Numbers = Annotated[
    tuple[float, ...], BeforeValidator(as_options), Field(min_length=1, max_length=MOST_SIDE)
]
PositiveNumbers = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...],
    BeforeValidator(as_options),
    Field(min_length=1, max_length=MOST_SIDE),
]


OWN_KEYS = ("name", "factory", "checkpoint", "pretrained", "inputs", "size", "mean", "std")
LOADED_KEYS = OWN_KEYS[1:]  # which say what is loaded


def _dumped(members: tuple[TeacherSection, ...], info: SerializationInfo) -> list[dict[str, Any]]:
    """The members as a study file has them, without keys that are left out."""
    mode = "json" if info.mode == "json" else "python"
    return [member.model_dump(mode=mode, exclude_defaults=True) for member in members]


Members = Annotated[
    tuple["TeacherSection", ...],
    BeforeValidator(as_list),
    PlainSerializer(_dumped),
    WithJsonSchema({"const": "list of: table"}),
]


class TeacherSection(Section):
    """The teacher, which every chain begins with: trained here once, or loaded."""

    name: TeacherName | None = key(
        None,
        "what it is called in chains, such as `resnet18 → 16 → 8`; by default the name of its "
        "factory, or its width",
    )
    width: Width = key(
        64,
        "its width; with a factory, a number that stands for the teacher in chains, above all "
        "other widths",
    )
    factory: str | None = key(
        None,
        'for a teacher that is not of the family: "package.module:make", called as '
        "make(*, in_shape, num_classes) -> Module, or a model of an installed package by its name, "
        'such as "torchvision:resnet18" or "timm:resnet18", or "hf:FOLDER" for an encoder of texts '
        "of transformers, by the folder of its config.json",
    )
    checkpoint: PathText | None = key(
        None,
        "file of its weights: .safetensors, or a torch file that loads with weights_only=True; "
        "prefixes of names that wrappers add are taken off",
    )
    pretrained: bool = key(
        False,
        f"for {NAMED}: take the package's own weights, or those of the folder, which must be for "
        "the classes of the data",
    )
    inputs: Literal["raw", "standardized"] = key(
        "raw",
        'samples that a loaded teacher expects: "raw" as in the data, or "standardized" '
        "per channel",
    )
    size: ImageSize | None = key(
        None,
        "height and width, or one number for both, to which images are resized for a loaded "
        "teacher: bilinear, antialiased; with pretrained, by default what the package states",
    )
    mean: Numbers | None = key(
        None,
        "for a loaded teacher of raw samples: what is subtracted from each channel or feature, "
        "after uint8 samples are divided by 255; with pretrained, by default what the package "
        "states",
    )
    std: PositiveNumbers | None = key(
        None, "what samples are divided by after that; goes with mean"
    )
    members: Members = key(
        (),
        "several loaded models as one teacher, whose logits are averaged: each is a table with "
        "its factory and, as it needs them, checkpoint, pretrained, inputs, size, mean, std and "
        "name",
    )
    outputs: Literal["logits", "probabilities"] | None = key(
        None,
        "for a teacher of which there are only outputs: what the arrays teacher_train and "
        "teacher_val of the data hold for x_train and x_val, (samples, classes); of probabilities "
        "the logarithm is taken, of at least 0.000001",
    )
    epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = key(
        40,
        "epochs of its training; 0 takes it from the factory as it is; not used with a checkpoint",
    )
    learning_rate: Rate = key(0.01, "peak learning rate of its training; not used if it is loaded")

    @property
    def label(self) -> str:
        """What it is called in chains; empty for its width."""
        if self.name is not None or self.factory is None:
            unnamed = "ensemble" if self.members else "teacher" if self.outputs else ""
            return self.name or unnamed
        module, _, function = self.factory.partition(":")
        found = module.rpartition(".")[2] if function in GENERAL else function
        found = found.rstrip("/").rpartition("/")[2] if self.package == "hf" else found
        return found[:MOST_OF_NAME]

    @property
    def brought(self) -> bool:
        """Whether it is not of the family."""
        return self.factory is not None or self.outputs is not None or bool(self.members)

    @property
    def loaded(self) -> bool:
        """Whether it is taken as it is, from a file, a package or a factory, and never trained."""
        given = self.checkpoint is not None or self.outputs is not None or bool(self.members)
        return given or self.pretrained or self.epochs == 0

    @property
    def models(self) -> tuple[TeacherSection, ...]:
        """The sections of its models: of each member, or its own."""
        same = {"width": self.width, "epochs": 0}
        return tuple(member.model_copy(update=same) for member in self.members) or (self,)

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the keys of each of its models are in the study file."""
        return tuple(f"teacher.members[{i}]" for i in range(len(self.members))) or ("teacher",)

    @property
    def package(self) -> str | None:
        """The package whose model it is by its name; None for any other teacher."""
        package, colon, _ = (self.factory or "").partition(":")
        return package if colon and package in PACKAGES else None

    @property
    def own_factory(self) -> str | None:
        """The factory, if it is a function of the user's."""
        return None if self.package else self.factory

    @property
    def own_factories(self) -> list[str]:
        """The factories of its models that are functions of the user's."""
        return [one.own_factory for one in self.models if one.own_factory is not None]

    @property
    def named_factories(self) -> dict[str, list[str]]:
        """By key, the functions of the user's that make its models; empty names for others."""
        pairs = zip(self.paths, self.models, strict=True)
        return {f"{path}.factory": [one.own_factory or ""] for path, one in pairs}

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Violations of rules that involve several keys of the section: path and rule of each."""
        if self.own_factory is not None and ":" not in self.own_factory:
            yield "teacher.factory", f"{OWN}, found {quoted(self.factory)}"
        if self.members:
            yield from self._member_conflicts()
            return
        if self.outputs is not None:
            yield from self._outputs_conflicts()
            return
        if self.epochs == 0 and self.checkpoint is None and not self.pretrained:
            rule = "should be at least 1 without teacher.factory or teacher.checkpoint, found 0"
            if self.package is not None:
                rule = (
                    f"should be at least 1 with {quoted(self.factory)}, whose weights are random "
                    f"without teacher.checkpoint or teacher.pretrained = true, found 0"
                )
            if self.own_factory is None:
                yield "teacher.epochs", rule
        if self.pretrained:
            yield from self._pretrained_conflicts()
        yield from self._input_conflicts()

    def _member_conflicts(self) -> Iterator[tuple[str, str]]:
        fields = type(self).model_fields
        for name in (*LOADED_KEYS, "outputs"):
            if getattr(self, name) != fields[name].default:
                rule = "goes without teacher.members, each of which has its own"
                yield f"teacher.{name}", f"{rule}, found {quoted(getattr(self, name))}"
        if len(self.members) < 2:
            yield "teacher.members", "should be at least 2 models, found 1"
        for path, member, loaded in zip(self.paths, self.members, self.models, strict=True):
            for name in fields:
                if name not in OWN_KEYS and getattr(member, name) != fields[name].default:
                    yield (
                        f"{path}.{name}",
                        f"is no key of a member, which has {', '.join(OWN_KEYS)}",
                    )
            if member.factory is None:
                yield f"{path}.factory", "is required"
            elif member.package and member.checkpoint is None and not member.pretrained:
                rule = "is required, or pretrained = true, with a model whose weights are random"
                yield f"{path}.checkpoint", f"{rule}, found {quoted(member.factory)}"
            else:
                for where, rule in loaded.conflicts():
                    yield path + where.removeprefix("teacher"), rule

    def _pretrained_conflicts(self) -> Iterator[tuple[str, str]]:
        if self.package is None:
            yield "teacher.pretrained", f"goes with factory = {NAMED}, found {quoted(self.factory)}"
        if self.checkpoint is not None:
            yield "teacher.pretrained", "goes without teacher.checkpoint, which has other weights"
        if self.inputs != "raw":
            rule = 'should be "raw" with teacher.pretrained = true: the package states mean and std'
            yield "teacher.inputs", f"{rule}, found {quoted(self.inputs)}"

    def _outputs_conflicts(self) -> Iterator[tuple[str, str]]:
        for name in LOADED_KEYS:
            if getattr(self, name) != type(self).model_fields[name].default:
                rule = "goes without teacher.outputs, of which there is no model"
                yield f"teacher.{name}", f"{rule}, found {quoted(getattr(self, name))}"

    def _input_conflicts(self) -> Iterator[tuple[str, str]]:
        given = {"size": self.size, "mean": self.mean, "std": self.std}
        for name, value in given.items():
            if value is not None and not self.loaded:
                yield f"teacher.{name}", LOADED
        if (self.mean is None) != (self.std is None):
            absent, there = ("mean", "std") if self.mean is None else ("std", "mean")
            yield f"teacher.{absent}", f"is required with teacher.{there}"
        elif self.mean is not None and self.std is not None:
            if len(self.mean) != len(self.std):
                found = f"{len(self.std)} and {len(self.mean)}"
                yield "teacher.std", f"should have as many numbers as teacher.mean, found {found}"
            if self.inputs != "raw":
                yield "teacher.mean", 'goes with inputs = "raw", found "standardized"'
