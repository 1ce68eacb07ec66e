"""The types of values in a study file: known names, bounds, and rules for single values."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from tasearch.chains.mode import Mode
from tasearch.chains.recipe import HIDDEN, NO_HIDDEN, PROGRESSIVE
from tasearch.chains.sizes import Size, plain
from tasearch.pareto.metric import METRICS, TOP_K

SCALABLE = "resnet"  # the family whose channels have a multiplier

# The built-in names that each key may have, besides "package.module:function". Copies of the
# registries of the same names, whose import is slow: it needs torch or Optuna.
AUGMENTATIONS = ("none", "flip", "crop4+flip")
FAMILIES = ("cnn", "mlp", "mobile", "plain", "resnet", "transformer", "vit")
INHERITING = ("transformer",)  # families whose models may start from their teacher's weights
LADDERS = {  # the widths of families that can only be built at some widths
    "plain": (2, 4, 6, 8, 10),
    "resnet": (8, 14, 20, 26, 32, 44, 56, 110),
}
IMAGES = ("parquet", "imagefolder")  # sources of encoded images
TABLES = ("parquet", "csv")  # sources of tables; parquet files have images, or are tables
TEXTS = ("text",)  # sources of texts, which become token ids
FOLDERS = (*IMAGES, "csv", *TEXTS)  # sources whose path may be a folder
FILES = ("npz", *FOLDERS)  # sources with a path
HUBS = ("torchvision", "hf", "openml")  # whose sets may be sources, by their names
LOSSES = ("ce", "kd", "kd-std", "dist", "dkd")
SAMPLERS = ("ehvi", "tpe", "nsga2", "gp", "random", "brute")
SOURCES = ("digits", *FILES)
PACKAGES = {  # whose models may be teachers, by their names; and what is imported
    "torchvision": "torchvision",
    "timm": "timm",
    "hf": "transformers",
}

# Bounds far beyond any use that hashing, NumPy, torch and file systems can still handle.
MOST_CLASS_WEIGHT = 1e6
MOST_COUNT = 2**63 - 1
MOST_EPOCHS = 1_000_000
MOST_HOURS = 1e6
MOST_RATE = 1e30
MOST_REPLICATES = 1_000
MOST_SIDE = 65_535  # pixels of an image's side
MOST_TOKENS = 65_536  # of a text
MOST_RUNGS = 10_000
MOST_SEED = 2**32 - 1
MOST_STACKED = 1_024
MOST_CONCURRENT = 10_000
MOST_THREADS = 256
MOST_TRIALS = 1_000_000
MOST_VALUES = 256  # in a list
MOST_VIEWS = 10_000
MOST_WIDTH = 2**31 - 1
LONGEST_NAME = 200  # file systems take 255 bytes
_NAME = re.compile(r"[A-Za-z0-9._-]*")
LONGEST_TEXT = 4_096

RESERVED = {"con", "prn", "aux", "nul"} | {f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10)}


def as_options(value: Any) -> Any:
    """One value or a list of them, as a tuple."""
    return as_list(value) if isinstance(value, list | tuple) else (value,)


def as_list(value: Any) -> Any:
    """A list as a tuple, unless it is too long."""
    if isinstance(value, list | tuple) and len(value) > MOST_VALUES:
        rule = "should have at most {most} values, has {number}"
        raise PydanticCustomError("long", rule, {"most": MOST_VALUES, "number": len(value)})
    return tuple(value) if isinstance(value, list) else value


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list, and one that has a value twice."""
    if not values:
        raise PydanticCustomError("empty", "needs at least one value")
    return different(values)


def different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a list that has a value twice."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("distinct", "should have no value twice")
    return values


def _one_or_two(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > 2:
        rule = "should be one column, or two for pairs, has {number}"
        raise PydanticCustomError("columns", rule, {"number": len(values)})
    return values


def _falling(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(a <= b for a, b in itertools.pairwise(values)):
        raise PydanticCustomError("falling", "should be strictly decreasing")
    return values


def _width(value: Any, number: ValidatorFunctionWrapHandler) -> int:
    if isinstance(value, Size):
        return value
    if isinstance(value, str):
        raise PydanticCustomError("width", "should be an integer, or a name in model.sizes")
    found: int = number(value)
    return found


def _mode(text: str) -> str:
    try:
        mode = Mode.parse(text)
    except ValueError as error:
        rule = str(error).rpartition(", found")[0]
        raise PydanticCustomError("mode", "{rule}", {"rule": rule}) from None
    if mode.slots is not None and mode.slots > MOST_STACKED:
        rule = "should train at most {most} as one wide model"
        raise PydanticCustomError("slots", rule, {"most": MOST_STACKED})
    return str(mode)


def _teacher_epoch(value: Any) -> float | str:
    if value == PROGRESSIVE:
        return PROGRESSIVE
    if type(value) not in (int, float) or not 0 < value <= 1:
        rule = 'should be a number above 0, 1 or less, or "{word}"'
        raise PydanticCustomError("teacher_epoch", rule, {"word": PROGRESSIVE})
    return float(value)


def _hidden(text: str) -> str:
    """Names of hidden layers, brought into their order."""
    parts = text.split("+")
    if text != NO_HIDDEN and not (len({*parts}) == len(parts) and {*parts} <= {*HIDDEN}):
        known = ", ".join(f'"{name}"' for name in (NO_HIDDEN, *HIDDEN))
        rule = f'should be {known}, or some of them joined, such as "{HIDDEN[0]}+{HIDDEN[1]}"'
        raise PydanticCustomError("hidden", "{rule}", {"rule": rule})
    return text if text == NO_HIDDEN else "+".join(name for name in HIDDEN if name in parts)


def _metric(name: str) -> str:
    if ":" not in name and name not in METRICS and not TOP_K.fullmatch(name):
        known = ", ".join(f'"{known}"' for known in METRICS)
        rule = f'should be {known}, "top-5" or of another number, or "package.module:function"'
        raise PydanticCustomError("metric", "{rule}", {"rule": rule})
    return name


def _class_weights(value: Any) -> str | tuple[float, ...]:
    if isinstance(value, str) and value in ("none", "balanced"):
        return value
    listed = isinstance(value, list | tuple) and len(value) >= 2
    if not listed or not all(type(w) in (int, float) and 0 < w <= MOST_CLASS_WEIGHT for w in value):
        rule = 'should be "none", "balanced", or a list of a number above 0 for each class'
        raise PydanticCustomError("class_weights", rule)
    return tuple(map(float, value))


def _image_size(value: Any) -> tuple[int, int]:
    """A size as (height, width); one number is both."""
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(type(s) is int and 1 <= s <= MOST_SIDE for s in sides):
        rule = "should be an integer of 1 to {most}, or [height, width]"
        raise PydanticCustomError("image_size", rule, {"most": f"{MOST_SIDE:,}"})
    return sides[0], sides[1]


def _path(text: str) -> str:
    if not text:
        raise PydanticCustomError("no_path", "should be a path")
    if "\0" in text:
        raise PydanticCustomError("nul", "should have no NUL")
    return text


def name_from(stem: str) -> str:
    """The name of a study, made from the name of its file without the suffix.

    Example:
        >>> name_from("my study (2)")
        'my-study--2'
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    name = name.strip("._-")[:LONGEST_NAME].rstrip(".")
    reserved = name.partition(".")[0].lower() in RESERVED
    return f"study-{name}"[:LONGEST_NAME] if reserved else name or "study"


def fit_for_a_folder(name: str) -> str:
    """Refuse a study's name that cannot be the name of a folder, on Windows, too."""
    if not _NAME.fullmatch(name):
        rule = "should have letters of A to Z, digits, '.', '_' and '-' alone"
        raise PydanticCustomError("name", rule)
    if not name[:1].isalnum():
        raise PydanticCustomError("first", "should begin with a letter or a digit")
    if name.endswith("."):
        raise PydanticCustomError("dot", "should not end with a dot, for it names a folder")
    if name.partition(".")[0].lower() in RESERVED:
        raise PydanticCustomError("reserved", "should be none that Windows reserves for devices")
    return name


Width = Annotated[
    Annotated[int, Field(ge=1, le=MOST_WIDTH)],
    WrapValidator(_width),
    PlainSerializer(plain),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "name of a size"}]}),
]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]
ImageSize = Annotated[
    tuple[int, int],
    BeforeValidator(_image_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "[height, width]"}]}),
]
Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
ModeText = Annotated[str, AfterValidator(_mode)]
PathText = Annotated[str, AfterValidator(_path)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=MOST_RATE)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Widths = Annotated[tuple[Width, ...], BeforeValidator(as_list), AfterValidator(_falling)]
Losses = Annotated[tuple[str, ...], BeforeValidator(as_options), AfterValidator(distinct)]
Temperatures = Annotated[
    tuple[Annotated[float, Field(ge=0.01, le=1000)], ...],
    BeforeValidator(as_options),
    AfterValidator(distinct),
]
MetricName = Annotated[str, AfterValidator(_metric)]
ClassWeights = Annotated[
    Any,  # str | tuple[float, ...]
    PlainValidator(_class_weights),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["none", "balanced"]},
                {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
            ]
        }
    ),
]
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)], ...],
    BeforeValidator(as_options),
    AfterValidator(different),
]
Texts = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)], ...],
    BeforeValidator(as_options),
    AfterValidator(distinct),
    AfterValidator(_one_or_two),
]
Guidance = Annotated[
    tuple[Literal["serial", "dense"], ...], BeforeValidator(as_options), AfterValidator(distinct)
]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(as_options), AfterValidator(distinct)]
Fractions = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...],
    BeforeValidator(as_options),
    AfterValidator(distinct),
]
_TEACHER_EPOCH = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"enum": [PROGRESSIVE]}]
}
TeacherEpochs = Annotated[
    tuple[
        Annotated[float | str, PlainValidator(_teacher_epoch), WithJsonSchema(_TEACHER_EPOCH)], ...
    ],
    BeforeValidator(as_options),
    AfterValidator(distinct),
]
Starts = Annotated[
    tuple[Literal["random", "teacher"], ...], BeforeValidator(as_options), AfterValidator(distinct)
]
Hidden = Annotated[
    tuple[Annotated[str, AfterValidator(_hidden)], ...],
    BeforeValidator(as_options),
    AfterValidator(distinct),
]
