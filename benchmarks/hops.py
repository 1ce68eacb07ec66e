"""Hops as benchmarks train them: from an untrained teacher to a student, by the real trainer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, load_data
from tasearch.models import FAMILIES, Models
from tasearch.runs.events import EpochDone, HopEnded
from tasearch.runs.store import Store
from tasearch.train.fast.autotuning import study_modes
from tasearch.train.tasks import train_hop
from tasearch.train.trainer import Trainer

TEACHER = "teacher.safetensors"
CPU = torch.device("cpu")

Modes = dict[int, Mode]  # modes of training, by width
Span = tuple[float, float]  # start and end of an epoch, seconds of a monotonic clock


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A teacher and a student, and how the student is trained.

    Args:
        family: Family of both.
        teacher: The teacher's width.
        student: The student's width.
        batch: Samples of each step.
        images: File that `common.write_images` wrote, for training with crops and flips; None for
            scikit-learn's digits.
        replicates: Number of replicates of the student.
    """

    family: str
    teacher: int
    student: int
    batch: int
    images: Path | None
    replicates: int = 1

    @property
    def label(self) -> str:
        """The pair in words."""
        return f"{self.family}{self.teacher} -> {self.family}{self.student}"

    def load(
        self, folder: Path, *, threads: int, epochs: int, precision: str = "auto"
    ) -> tuple[Study, Dataset]:
        """The study of this pair, with its data.

        Args:
            folder: Folder that receives the teacher's weights.
            threads: Number of threads of the training.
            epochs: Number of epochs of the student.
            precision: Precision of the training, as in the study file.
        """
        data = {"source": "digits"}
        if self.images is not None:
            data = {"source": "npz", "path": str(self.images), "layout": "chw"}
        content = {
            "data": data,
            "model": {"family": self.family},
            "teacher": {"width": self.teacher, "checkpoint": TEACHER, "inputs": "standardized"},
            "assistants": {"max": 0},
            "student": {"widths": [self.student], "epochs": epochs},
            "training": {
                "augment": "none" if self.images is None else "crop4+flip",
                "batch_size": self.batch,
                "optimizer": "sgd",
                "threads": threads,
                "precision": precision,
                "stack": "auto" if self.replicates > 1 else "never",  # of one model
            },
            "search": {"rungs": 1, "replicates": self.replicates},
        }
        study = parse_study(content).model_copy(update={"root": str(folder)})
        found = load_data(study)
        save_file(self.fixed_teacher(found).state_dict(), folder / TEACHER)
        return study, found

    def build(self, width: int, data: Dataset) -> nn.Module:
        """A model with weights drawn from seed 0."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            family = FAMILIES[self.family]
            return family(width, in_shape=data.in_shape, num_classes=data.num_classes)

    def fixed_teacher(self, data: Dataset) -> nn.Module:
        """An untrained teacher in eval mode; its batch norms have the statistics of one batch.

        The weights do not matter for speed, as long as the logits are of usual size.
        """
        net = self.build(self.teacher, data)
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        x = (data.train.x[:256] - data.mean) / data.std
        with torch.no_grad():
            net.train()(torch.from_numpy(x.astype(np.float32)))
        for norm in norms:
            norm.momentum = 0.1
        return net.eval()


def chosen_modes(study: Study, data: Dataset) -> Modes:
    """The mode of training that autotuning chooses for the student on this machine."""
    return study_modes(Models.for_study(study, data), study.student.widths, CPU, print)


def make_trainer(study: Study, data: Dataset, folder: Path, modes: Modes) -> Trainer:
    """A trainer like that of a search, with the teacher stored."""
    models = Models.for_study(study, data)
    trainer = Trainer(
        study=study, models=models, data=data, store=Store(folder), device=CPU, modes=modes
    )
    for _ in epoch_spans(trainer, Hop(lineage=(models.teacher(),))):
        pass
    return trainer


def student_hop(trainer: Trainer, temperature: float) -> Hop:
    """The hop from the teacher to the student; each temperature makes a different hop."""
    (width,) = trainer.study.student.widths
    recipe = replace(trainer.study.recipes("student").one_per_loss()[0], temperature=temperature)
    student = ModelSpec(width=width, recipe=recipe)
    return Chain(models=(trainer.models.teacher(), student)).hop()


def epoch_spans(trainer: Trainer, hop: Hop) -> Iterator[Span]:
    """Train a hop, and yield start and end of each epoch.

    The first epoch includes building the model, the last one includes saving it.
    """
    start = time.perf_counter()
    for event in train_hop(trainer, hop):
        if isinstance(event, EpochDone):
            end = time.perf_counter()
            yield start, end
            start = end
        elif isinstance(event, HopEnded):
            assert event.outcome == "complete", event.reason
