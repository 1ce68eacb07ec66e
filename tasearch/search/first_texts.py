"""A first study of texts: their length in tokens, and transformers of four layers down to one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasearch.config.data_section import HUB_PREFIX
from tasearch.data import Dataset
from tasearch.data.teacher_tokenizer import FILE
from tasearch.data.text_parts import MULTIPLE
from tasearch.errors import ModelError
from tasearch.models.families import FAMILIES
from tasearch.models.first_ladder import Ladder, rounded_up
from tasearch.models.loaded import size

SIZES: tuple[dict[str, Any], ...] = (
    {"name": "l", "layers": 4, "width": 128, "heads": 4, "feed_forward": 512},
    {"name": "m", "layers": 2, "width": 96, "heads": 3, "feed_forward": 192},
    {"name": "s", "layers": 2, "width": 48, "heads": 2, "feed_forward": 96},
    {"name": "xs", "layers": 1, "width": 16, "heads": 1, "feed_forward": 32},
)
BROUGHT = 1_000  # stands for a teacher that is not of these sizes
SAMPLES = 5_000  # more samples have fewer epochs
EPOCHS, FEWEST = 12, 3  # of texts, which need fewer than other data
TEACHER_RATE, RATES = 0.001, (0.001, 0.003)
TRAINING = {"batch_size": 32, "warmup": 0.1}


def tokenizer_of(teacher: str | None, folder: Path) -> dict[str, str]:
    """The key of the tokenizer that lies in the folder of a teacher, if there is one.

    Args:
        teacher: Name of the teacher's factory; None to train one.
        folder: Folder of the study file, which paths are relative to.
    """
    if teacher is None or not teacher.startswith(HUB_PREFIX):
        return {}
    file = Path(teacher.removeprefix(HUB_PREFIX)) / FILE
    return {"tokenizer": str(file)} if (folder / file).is_file() else {}


def enough_length(data: Dataset) -> int:
    """Tokens for the longest text, rounded up as batches are.

    Args:
        data: Texts as token ids.
    """
    assert data.tokens is not None
    parts = (data.train.x, data.validation.x)
    most = max(int((x != data.tokens.pad).any(axis=0).nonzero()[0].max()) + 1 for x in parts)
    return min(-(-most // MULTIPLE) * MULTIPLE, data.tokens.length)


def text_ladder(data: Dataset, *, params: int | None) -> Ladder:
    """The sizes below a teacher.

    Args:
        data: Texts as token ids.
        params: Number of parameters of a teacher that is brought; None for one of these sizes.

    Raises:
        ModelError: The teacher is too small for students below it.
    """
    below = {one["name"]: _params(one, data) for one in SIZES[1:]}
    names = [name for name, own in below.items() if params is None or own < params]
    if len(names) < 2:
        raise ModelError(f"a teacher of {params:,} parameters leaves no smaller transformers")
    *assistants, last = names
    students = (*assistants[-1:], last)
    return Ladder(
        teacher=SIZES[0]["name"] if params is None else BROUGHT,
        assistants=tuple(assistants),
        students=students,
        max_params=rounded_up(below[students[0]]),
    )


def epochs_of(samples: int, most: int = EPOCHS, fewest: int = FEWEST) -> int:
    """Epochs of a training: fewer of many samples, for about the same number of steps."""
    return max(min(round(most * SAMPLES / samples), most), fewest)


def _params(one: Mapping[str, Any], data: Dataset) -> int:
    """The number of parameters of a size."""
    arguments = {key: value for key, value in one.items() if key != "name"}
    shape = {"in_shape": data.in_shape, "num_classes": data.num_classes, "tokens": data.tokens}
    return size(FAMILIES["transformer"](**arguments, **shape))
