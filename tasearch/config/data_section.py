"""The section `[data]` of a study file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from tasearch.config.section_base import Section, key
from tasearch.config.values import (
    FILES,
    HUBS,
    IMAGES,
    MOST_COUNT,
    MOST_TOKENS,
    MOST_WIDTH,
    SOURCES,
    TABLES,
    TEXTS,
    ImageSize,
    Names,
    PathText,
    Seed,
    Texts,
)
from tasearch.errors import short

MISSING = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
HUB_NAMES = {  # what follows the colon
    "torchvision": re.compile(r"\w+"),
    "hf": re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(:\w[\w.-]*)?"),
    "openml": re.compile(r"\w[\w.-]*(:\d+)?"),
}
GOES_WITH = {  # sources that have a key, for keys that not all sources have
    "image": ("parquet",),
    "label": (*TABLES, *TEXTS),
    "drop": TABLES,
    "categories": TABLES,
    "missing": TABLES,
    "size": IMAGES,
    "channels": IMAGES,
    "unreadable": IMAGES,
    "unlabelled": ("parquet", "imagefolder", "csv"),
    "text": TEXTS,
    "length": TEXTS,
    "tokenizer": TEXTS,
    "vocabulary": TEXTS,
}
HUB_PREFIX = "hf:"  # of a tokenizer or a model of the Hugging Face Hub
HUB_MODEL = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
SMALLEST_VOCABULARY = 261  # all bytes, and five special tokens
TRAINED_VOCABULARY = 8_000


class DataSection(Section):
    """The data set: scikit-learn's digits, files, or a function of yours."""

    source: str = key(
        "digits",
        '"digits", "npz", "parquet", "imagefolder", "csv", "text", or "package.module:function"; '
        "or a set "
        'that is downloaded once: "torchvision:NAME", "hf:NAME", "hf:NAME:CONFIG", "openml:NAME", '
        '"openml:NAME:VERSION" or "openml:ID"',
    )
    path: PathText | None = key(
        None,
        "for npz: the .npz file; for parquet, csv and text: the file, or a folder of train*, "
        "validation* and test* files; for imagefolder: the folder of train, validation and test, "
        "or of one folder for each class; for sets that are downloaded: the folder where they are "
        "kept, by default one in the user's cache",
    )
    image: str | None = key(
        None, "for parquet: the column of images; needed only if several columns hold images"
    )
    label: str = key("label", "for parquet, csv and text: the column of labels")
    text: Texts = key(
        ("text",), "for text: the column of texts; or two columns, whose texts are a pair"
    )
    length: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = key(
        128,
        "for text: most tokens of a text or pair, with those that the tokenizer adds; longer ones "
        "are cut",
    )
    tokenizer: PathText | None = key(
        None,
        'for text: a file tokenizer.json, or "hf:NAME" of the Hugging Face Hub; by default one '
        "is trained on the texts of the training part",
    )
    vocabulary: Annotated[int, Field(ge=SMALLEST_VOCABULARY, le=MOST_WIDTH)] = key(
        TRAINED_VOCABULARY, "for text: most ids of a tokenizer that is trained here"
    )
    drop: Names = key((), "for tables: columns that are no features, such as identifiers")
    categories: Names = key((), "for tables: columns of integers that are categories")
    missing: Names = key(MISSING, "for tables: texts that mean a missing value, besides none")
    size: ImageSize | None = key(
        None,
        "height and width of all encoded images: each is resized until it just covers them, then "
        "cropped about its centre; needed only if images have several sizes",
    )
    channels: Literal["auto", "rgb", "grey"] = key(
        "auto",
        'channels of encoded images; "auto": one if all training images are grey, else three',
    )
    unreadable: Literal["error", "skip"] = key(
        "error", "encoded images that cannot be decoded: refused, or left out with a notice"
    )
    unlabelled: PathText | None = key(
        None,
        "samples without labels, for distillation: for imagefolder, a folder of images; for "
        "parquet and csv, a file or a folder of files, with the same columns but for the label",
    )
    background: Literal["black", "white"] = key(
        "black", "colour behind transparent pixels of encoded images"
    )
    limit: Annotated[int, Field(ge=2, le=MOST_COUNT)] | None = key(
        None,
        "most training samples: a stratified subset of the training set, drawn after the split",
    )
    layout: Literal["auto", "chw", "hwc"] = key(
        "auto",
        'order of the axes of images that are arrays; "auto" takes the axis of size 1, 3 or 4 as '
        "the channels",
    )
    export_layout: Literal["given", "chw", "hwc"] = key(
        "given",
        'order of the axes of images that an exported student takes; "given": that of the arrays, '
        '"chw" for encoded images',
    )
    standardize: bool = key(
        True,
        "whether models take samples less their mean, divided by their deviation, of each channel "
        "or feature of the training part; if not, they take them as they are, and integers of "
        "shape (samples, length) stay integers, such as token ids; those of texts always do",
    )
    pad: Annotated[int, Field(ge=0, le=MOST_WIDTH)] = key(
        0,
        "for token ids of arrays: the id behind the end of a text, which a mask of the ids leaves "
        "out",
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = key(
        0.2,
        "fraction held out as the validation set, unless the data come with one; the "
        "search uses it",
    )
    test: Annotated[float, Field(gt=0, lt=1)] = key(
        0.2,
        "fraction held out as the test set, unless the data come with one; the search "
        "never uses it",
    )
    split_seed: Seed = key(
        0, "seed of the stratified split and of limit; `seed` does not change them"
    )

    @property
    def hub(self) -> str | None:
        """What has the set that the source names; None for other sources."""
        prefix, colon, _ = self.source.partition(":")
        return prefix if colon and prefix in HUBS else None

    @property
    def standardized(self) -> bool:
        """Whether models take standardized samples."""
        return self.standardize and self.source not in TEXTS

    @property
    def own_source(self) -> str | None:
        """The source, if it is a function of the user's."""
        return self.source if ":" in self.source and self.hub is None else None

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Violations of rules that involve several keys: the path and the rule of each."""
        if ":" not in self.source and self.source not in SOURCES:
            return  # which keys go with an unknown source is not known
        found = f"found {short(json.dumps(self.source))}"
        if self.source in FILES and self.path is None:
            yield "data.path", f"is required with source = {short(json.dumps(self.source))}"
        if self.hub and not HUB_NAMES[self.hub].fullmatch(self.source.partition(":")[2]):
            more = {"hf": ' or "hf:NAME:CONFIG"', "openml": ' or "openml:NAME:VERSION"'}
            yield "data.source", f'should be "{self.hub}:NAME"{more.get(self.hub, "")}, {found}'
        if self.source not in FILES and self.path is not None and not self.hub:
            yield "data.path", f"goes with {_sources(FILES)}, {found}"
        if self.source == "digits" and self.validation + self.test >= 1:
            sum_of = f"{self.validation:g} and {self.test:g}"
            yield "data.validation", f"and data.test should sum to less than 1, found {sum_of}"
        name = self.tokenizer or ""
        of_hub = name.startswith(HUB_PREFIX)
        if of_hub and not HUB_MODEL.fullmatch(name.removeprefix(HUB_PREFIX)):
            rule = 'should be "hf:NAME", such as "hf:distilbert-base-uncased", or a path'
            yield "data.tokenizer", f"{rule}, found {short(json.dumps(name))}"
        if self.tokenizer is not None and self.vocabulary != TRAINED_VOCABULARY:
            rule = "goes without data.tokenizer, which has a vocabulary of its own"
            yield "data.vocabulary", f"{rule}, found {self.vocabulary}"
        if self.pad and self.source in TEXTS:
            yield "data.pad", f"goes without texts, whose tokenizer has one, found {self.pad}"
        elif self.pad and self.standardize:
            yield "data.pad", f"goes with standardize = false, found {self.pad}"
        default: Any = DataSection()
        kind = "parquet" if self.hub else self.source
        for name, sources in GOES_WITH.items():
            if kind not in sources and getattr(self, name) != getattr(default, name):
                yield f"data.{name}", f"goes with {_sources(sources)}, {found}"


def _sources(names: tuple[str, ...]) -> str:
    """Sources in words, such as `source = "npz" or "parquet"`."""
    *first, last = map(json.dumps, names)
    return "source = " + (f"{', '.join(first)} or {last}" if first else last)
