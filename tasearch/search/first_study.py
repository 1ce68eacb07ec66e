"""A first study for somebody's data and teacher: the few keys that matter, with values that fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.config.values import IMAGES, PACKAGES
from tasearch.data import Dataset, Progress, load_data
from tasearch.data.decoding import SizesDiffer, Unreadable
from tasearch.data.recognized import recognize, teacher_outputs
from tasearch.errors import ModelError, StudyError, shown
from tasearch.models import Models
from tasearch.models.first_ladder import Ladder, family_for, find_family, make_ladder
from tasearch.models.loaded import size
from tasearch.models.weights import read_weights
from tasearch.search import first_texts
from tasearch.search.constants import constant_notices
from tasearch.search.few_samples import validation_notices
from tasearch.search.first_given import Given
from tasearch.search.first_inputs import best_inputs, look_at, say_teacher
from tasearch.search.majority import majority_notices

SIDE = 64  # pixels of the side of images above which training on a CPU takes long
STEP = 8  # of a side that is chosen here
EPOCHS, FEWEST = 40, 10
TRIALS = 40
RATES = (0.01, 0.03)

Say = Callable[[str], None]


@dataclass(kw_only=True)
class FirstStudy:
    """A study in the making.

    Args:
        given: What it is made from.
        content: Its content, as of a study file.
    """

    given: Given
    content: dict[str, dict[str, Any]] = field(default_factory=dict)

    def study(self) -> Study:
        """The study so far, whose root is the folder of its file."""
        study = parse_study({"name": self.given.name, **self.content}, "tasearch init")
        return study.model_copy(update={"root": str(self.given.folder.resolve())})

    def study_with(self, teacher: dict[str, Any]) -> Study:
        """The study so far with another section of the teacher."""
        return replace(self, content={**self.content, "teacher": teacher}).study()

    def keys(self) -> list[str]:
        """The keys that the file should show, such as `data.source`."""
        return ["name", *(f"{name}.{key}" for name, keys in self.content.items() for key in keys)]


def first_study(given: Given, say: Say, progress: Progress | None = None) -> FirstStudy:
    """Look at data and a teacher, and choose the keys of a study for them.

    Args:
        given: What there is.
        say: Called with each line about what was found.
        progress: Called with (done, total) while images are decoded.

    Raises:
        TasearchError: The data or the teacher cannot be used.
    """
    made = FirstStudy(given=given)
    data = _look_at_data(made, say, progress)
    _look_at_teacher(made, data, say)
    section, texts = made.content, data.tokens is not None
    bounds = () if texts else (EPOCHS, FEWEST)
    epochs = first_texts.epochs_of(len(data.train), *bounds)
    if "teacher" in section and not made.study().teacher.loaded:
        rate = {"learning_rate": first_texts.TEACHER_RATE} if texts else {}
        section["teacher"] |= {"epochs": epochs, **rate}
    rates = [*(first_texts.RATES if texts else RATES)]
    section["assistants"] |= {"epochs": epochs}
    if texts:
        section["assistants"]["learning_rate"] = rates[-1]
        section["training"] = dict(first_texts.TRAINING)
    losses = ["kd", "dist", "ce"] if data.num_classes > 2 else ["kd", "ce"]
    section["student"] |= {"loss": losses, "learning_rate": rates, "epochs": epochs}
    if len(data.in_shape) == 3 and not made.study().teacher.outputs:
        section["training"] = {"augment": "none"}
    if notices := majority_notices(made.study(), data):
        section["objective"] = {"metric": "balanced-accuracy"}
        section["training"] = {**section.get("training", {}), "class_weights": "balanced"}
        say(
            f"notice: {notices[0].partition(';')[0]}; so objective.metric is balanced-accuracy, "
            f"and training.class_weights balanced"
        )
    section["search"] = {"trials": TRIALS}
    section["confirm"] = {"after_run": True}
    return made


def _look_at_data(made: FirstStudy, say: Say, progress: Progress | None) -> Dataset:
    """Fill the sections of the data and of a teacher that is in them, and load them."""
    given, notices = made.given, list[str]()
    section = recognize(given.data, given.label)
    if not given.data.is_absolute():
        section["path"] = os.path.relpath(given.data, given.folder)
    made.content["data"] = section
    if section["source"] == "text":
        section |= first_texts.tokenizer_of(given.teacher, given.folder)
    if section["source"] == "npz" and (outputs := teacher_outputs(given.data)) is not None:
        made.content["teacher"] = {"outputs": outputs}
    data = _loaded(made, section, progress, notices)
    sides = data.in_shape[1:]
    if len(sides) == 2 and section["source"] in IMAGES and max(sides) > SIDE:
        section["size"] = [_side({sides})] * 2
        data = _loaded(made, section, progress, notices)
    if data.tokens is not None and (length := first_texts.enough_length(data)) < data.in_shape[0]:
        section["length"] = length
        data = _loaded(made, section, progress, notices)
    for line in _data_lines(section, data):
        say(line)
    for notice in (*notices, *validation_notices(data), *constant_notices(data)):
        say(f"notice: {notice}")
    return data


def _loaded(
    made: FirstStudy, section: dict[str, Any], progress: Progress | None, notices: list[str]
) -> Dataset:
    """Load the data; images are resized, or left out, where they cannot be loaded otherwise."""
    while True:
        notices.clear()
        try:
            return load_data(made.study(), progress, notices.append)
        except Unreadable:
            section["unreadable"] = "skip"
        except SizesDiffer as error:
            section["size"] = [_side(error.sizes)] * 2


def _side(sizes: Any) -> int:
    """The side to which images are resized: the shortest that there is, at most SIDE."""
    shortest = min((min(pair) for pair in sizes), default=SIDE)
    return max(min(shortest, SIDE) // STEP * STEP, STEP)


def _data_lines(section: dict[str, Any], data: Dataset) -> Iterator[str]:
    counts = np.bincount(data.train.y)
    shape = "x".join(map(str, data.in_shape)) + " tokens at most" * (data.tokens is not None)
    yield (
        f"data: {section['source']}, {len(data.train):,} training and {len(data.validation):,} "
        f"validation samples of {shape}, {data.num_classes} classes, "
        f"{counts.max() / counts.sum():.1%} in the largest"
    )
    if section["source"] == "text":
        held = [section["text"]] if isinstance(section["text"], str) else section["text"]
        yield f"texts: column{'s' * (len(held) > 1)} {' and '.join(map(repr, held))} alone"
    if section["source"] in ("csv", "text") or "label" in section:
        yield f"labels: column {section.get('label', 'label')!r}; --label names another one"
    if "size" in section:
        yield f"images are resized to {section['size'][0]} pixels a side; change data.size at will"


def _look_at_teacher(made: FirstStudy, data: Dataset, say: Say) -> None:
    """Fill the sections of the models: a ladder below the teacher."""
    given, shape, classes = made.given, data.in_shape, data.num_classes
    family, width, params = family_for(shape, texts=data.tokens is not None), None, None
    teacher = made.content.get("teacher", {})
    if "outputs" in teacher and (given.teacher is not None or given.checkpoint is not None):
        raise StudyError(f"--teacher: the outputs of one are in {shown(given.data)} already")
    if given.checkpoint is not None:
        teacher["checkpoint"] = _relative(given.checkpoint, given.folder)
    if given.teacher is not None:
        teacher["factory"] = given.teacher
        if given.checkpoint is None:
            packaged = given.teacher.partition(":")[0] in PACKAGES
            teacher |= {"pretrained": True} if packaged else {"epochs": 0}
    elif given.checkpoint is not None:
        family, width = _family_of(given.checkpoint, data)
    texts, brought = data.tokens is not None, given.teacher is not None
    sizes = {"sizes": [dict(one) for one in first_texts.SIZES]} if texts else {}
    made.content |= {"model": {"family": family, **sizes}}
    if texts:
        ladder = first_texts.text_ladder(data, params=sys.maxsize if brought else None)
    else:
        ladder = make_ladder(family, shape, classes, width=width)
    _fill(made, teacher, ladder)
    if given.teacher is not None or given.checkpoint is not None:
        keys, models = best_inputs(lambda keys: made.study_with(teacher | keys), data, say)
        teacher |= keys
        params = size(models.build(made.study().teacher.width))
    elif "outputs" in teacher:
        say_teacher(models := Models.for_study(made.study(), data), look_at(models, data), say)
    if brought and texts:
        _fill(made, teacher, first_texts.text_ladder(data, params=params))
    elif brought:
        _fill(made, teacher, make_ladder(family, shape, classes, params=params))
    if not teacher.keys() - {"width"}:
        say(f"teacher: {family} {ladder.teacher}, trained by the run")


def _fill(made: FirstStudy, teacher: dict[str, Any], ladder: Ladder) -> None:
    teacher["width"] = ladder.teacher
    made.content |= {
        "teacher": teacher,
        "assistants": {"max": 2, "widths": [*ladder.assistants]},
        "student": {"widths": [*ladder.students]},
        "budget": {"max_params": ladder.max_params},
    }


def _family_of(checkpoint: Path, data: Dataset) -> tuple[str, int]:
    """The built-in family of a file of weights, and its width."""
    where = f"--teacher: {shown(checkpoint)}"
    try:
        found = find_family(read_weights(checkpoint).tensors, data.in_shape, data.num_classes)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    if found is None:
        raise ModelError(
            f"{where}: holds weights of no built-in family for these data; name the model that "
            f"they are of, and give the file as --checkpoint: --teacher timm:NAME, "
            f"torchvision:NAME, or package.module:make"
        )
    return found


def _relative(path: Path, folder: Path) -> str:
    return str(path) if path.is_absolute() else os.path.relpath(path, folder)
