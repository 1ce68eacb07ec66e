"""Trainers for tests, and the hops that they train."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.errors import OutOfMemoryError, TrainingError
from tasearch.models import Models
from tasearch.runs.events import EpochDone, HopEnded
from tasearch.runs.store import Store
from tasearch.train.tasks import train_hop
from tasearch.train.trainer import Trainer
from tests.helpers.studies import tiny

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    ),
]


def trainer(
    folder: Path, study: Study | None = None, device: str = "cpu", mode: str = ""
) -> Trainer:
    study = study or tiny()
    data = load_data(study)
    return Trainer(
        study=study,
        models=Models.for_study(study, data),
        data=data,
        store=Store(folder),
        device=torch.device(device),
        modes=dict.fromkeys(study.widths, Mode.parse(mode or study.training.precision)),
    )


def hops(study: Study, *widths: int) -> list[Hop]:
    recipe = study.recipes("assistants").one_per_loss()[0]
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    student = ModelSpec(width=widths[-1], recipe=study.recipes("student").one_per_loss()[0])
    assistants = [ModelSpec(width=w, recipe=recipe) for w in widths[:-1]]
    return list(Chain(models=(teacher, *assistants, student)).hops())


def steps(own: Trainer, hop: Hop) -> Iterator[EpochDone]:
    """The epochs of a hop; its failure is raised."""
    for message in train_hop(own, hop):
        if isinstance(message, EpochDone):
            yield message
        elif isinstance(message, HopEnded) and message.reason:
            kind = OutOfMemoryError if message.outcome == "out of memory" else TrainingError
            raise kind(message.reason)


def train_in_parts(
    folder: Path, study: Study, lineage: list[Hop], epochs: int, mode: str = ""
) -> None:
    """Train hops with a new trainer after every few epochs, as after so many interruptions."""
    for hop in lineage:
        for _ in range(20):
            own = trainer(folder, study, mode=mode)
            if own.finished(hop):
                break
            done = steps(own, hop)
            for _ in itertools.islice(done, epochs):
                pass
            done.close()


def train_all(own: Trainer, lineage: list[Hop]) -> None:
    for hop in lineage:
        for _ in steps(own, hop):
            pass


def image_study(folder: Path, views: str, *, unlabelled: int = 0, **sections: Any) -> Study:
    """A study of 16x16 images in two colours, made from digits; some may have no labels."""
    digits = load_digits()
    images = digits.images[: 360 + unlabelled]
    x = np.kron(images, np.ones((2, 2)))[:, None].repeat(2, 1).astype(np.uint8)
    arrays = {"x_unlabelled": x[360:]} if unlabelled else {}
    np.savez(folder / "images.npz", x_train=x[:360], y_train=digits.target[:360], **arrays)
    training = {"augment": views, **sections.pop("training", {})}
    study = tiny(
        data={"source": "npz", "path": "images.npz", "layout": "chw"},
        model={"family": "cnn"},
        training=training,
        **sections,
    )
    return study.model_copy(update={"root": str(folder)})


def files(folder: Path) -> dict[str, bytes]:
    found = folder.rglob("*.safetensors")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-4) -> bool:
    return all(
        torch.allclose(t.double(), b[name].double(), rtol=tolerance, atol=tolerance)
        for name, t in a.items()
    )


def family(folder: Path, code: str, **sections: Any) -> Study:
    """A study whose models run `code` at every training step, with `self.width` at hand."""
    (folder / "own.py").write_text(
        "import os, sys, torch\n"
        "from torch import nn\n"
        "def full(*args):\n"
        "    raise OSError(28, 'No space left on device')\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width, classes):\n"
        "        super().__init__()\n"
        "        self.width = width\n"
        "        self.one, self.two = nn.Linear(64, width), nn.Linear(width, classes)\n"
        "    def forward(self, x):\n"
        "        if self.training and len(x) > 2:\n"
        f"            {code}\n"
        "        return self.two(torch.relu(self.one(x.flatten(1))))\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return Net(width, num_classes)\n"
    )
    study = tiny(model={"family": "own:build"}, **sections)
    return study.model_copy(update={"root": str(folder)})
