"""What could be saved if the hops of one teacher went to the node that has its soft targets?

`benchmarks.ray_engine` calls this. Soft targets are in the folder of the run. A worker that needs
some which it does not hold in memory reads them there, and only the first worker computes them.
What a preference for a node can save at most is the time of this reading: all targets of a hop, in
a process that has none of them yet. As files that were just written are still in memory, the time
that their bytes would take at 100 MB/s is told as well.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import common
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, load_data
from tasearch.models import Models
from tasearch.models.numerics import flush_denormals_everywhere
from tasearch.runs.store import Store
from tasearch.train.soft_targets import Targets
from tasearch.train.tasks import train_hop
from tasearch.train.trainer import Trainer

NETWORK = 100e6  # bytes in a second, of a shared folder
DIGITS = {
    "teacher": {"width": 64, "epochs": 2},
    "assistants": {"max": 0},
    "student": {"widths": [4, 2], "epochs": 10},
}
IMAGES = {  # the smallest students, whose epochs take the least time
    "model": {"family": "plain"},
    "teacher": {"width": 6, "epochs": 1},
    "assistants": {"max": 0},
    "student": {"widths": [4, 2], "epochs": 4},
    "training": {"augment": "crop4+flip", "optimizer": "sgd", "batch_size": 128},
}


@dataclass
class Reads:
    """What a process did for its soft targets."""

    computed: int = 0
    loaded: int = 0
    seconds: float = 0.0  # of loading
    size: int = 0  # bytes that were loaded


@contextmanager
def watched() -> Iterator[Reads]:
    """Counts what is done for soft targets as long as the context is open."""
    reads, load, compute = Reads(), Targets._load, Targets._compute

    def loading(self: Targets, name: str) -> list[Tensor] | None:
        start = time.perf_counter()
        found = load(self, name)
        if found is not None:
            reads.loaded += 1
            reads.seconds += time.perf_counter() - start
            reads.size += sum(part.numel() * part.element_size() for part in found)
        return found

    def computing(self: Targets, *arguments: Any) -> list[Tensor]:
        reads.computed += 1
        return compute(self, *arguments)

    Targets._load, Targets._compute = loading, computing  # type: ignore[method-assign, assignment]
    try:
        yield reads
    finally:
        Targets._load, Targets._compute = load, compute  # type: ignore[method-assign]


def affinity(images: int) -> dict[str, Any]:
    """The cost of soft targets that another worker has computed: of digits, and of CIFAR-10.

    Args:
        images: Number of images of CIFAR-10.
    """
    flush_denormals_everywhere()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        what = common.write_images(common.CIFAR, images, folder / "images.npz")
        data = {"source": "npz", "path": "images.npz"}
        return {
            "digits": _costs(folder / "digits", parse_study(DIGITS)),
            "images": {
                "data": what,
                "number": images,
                **_costs(
                    folder / "store",
                    parse_study({**IMAGES, "data": data}).model_copy(update={"root": root}),
                ),
            },
        }


def _costs(folder: Path, study: Study) -> dict[str, Any]:
    """The second of two students, in a process that holds no targets, learns from the same ones."""
    data = load_data(study)
    recipe = study.recipes("student").one_per_loss()[0]
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    students = [ModelSpec(width=width, recipe=recipe) for width in study.student.widths]
    one, two = (Chain(models=(teacher, student)) for student in students)
    _train(folder, study, data, next(iter(one.hops())))
    with watched() as first:
        _train(folder, study, data, one.hop())
    with watched() as second:
        seconds = _train(folder, study, data, two.hop())
    return {
        "computed": first.computed + second.computed,
        "loaded_by_the_second_worker": second.loaded,
        "hop_s": seconds,
        "loading_share": second.seconds / seconds,
        "bytes": second.size,
        "share_at_100_MB/s": second.size / NETWORK / seconds,
    }


def _train(folder: Path, study: Study, data: Dataset, hop: Hop) -> float:
    """Seconds of a hop that is trained by a new trainer."""
    own = Trainer(
        study=study,
        models=Models.for_study(study, data),
        data=data,
        store=Store(folder),
        device=torch.device("cpu"),
        modes=dict.fromkeys(study.widths, Mode.parse("fp32")),
    )
    start = time.perf_counter()
    for _ in train_hop(own, hop):
        pass
    return time.perf_counter() - start
