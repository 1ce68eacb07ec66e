"""What the parts of `benchmarks.cuda` have in common: one network's trainer, and its models."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from benchmarks import common
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.models import FAMILIES, Models
from tasearch.runs.store import Store
from tasearch.train.state import State
from tasearch.train.trainer import Trainer

BATCH = 128
# Widths of a teacher and a student, as a study needs them. Networks of any width are then built.
STUDY_WIDTHS = {"plain": (10, 2), "resnet": (56, 8)}
AGREEMENT_STEPS = 20  # of the comparison with CPU
AGREEMENT_VALIDATION = 2_000  # validation samples of the accuracies that are compared


@dataclass(frozen=True, kw_only=True)
class CudaBench:
    """Where the parts run.

    Args:
        device: Device of the trainings.
        images: File that `common.write_images` wrote.
        epochs: Number of epochs that are timed, of each network.
        args: Arguments of the command line.
    """

    device: torch.device
    images: Path
    epochs: int
    args: argparse.Namespace

    def trainer(
        self,
        net: str,
        folder: Path,
        *,
        epochs: int,
        replicates: int = 1,
        mode: str = "bf16",
        device: torch.device | None = None,
    ) -> Trainer:
        """A trainer of one network.

        Args:
            net: Family and width, such as "plain2".
            folder: Folder for the trainer's files.
            epochs: Number of epochs of each model.
            replicates: Number of models.
            mode: How they are trained, such as "bf16 x8".
            device: Device of the models; None for that of the benchmark.
        """
        family, width = family_and_width(net)
        teacher, student = STUDY_WIDTHS[family]
        content = {
            "data": {"source": "npz", "path": str(self.images), "layout": "chw"},
            "model": {"family": family},
            "training": {"augment": "crop4+flip", "batch_size": BATCH, "optimizer": "sgd"},
            "search": {"rungs": 1, "replicates": replicates},
            "teacher": {"width": teacher},
            "assistants": {"max": 0},
            "student": {"widths": [student], "epochs": epochs},
        }
        study = parse_study(content)
        data = load_data(study)
        return Trainer(
            study=study,
            models=Models.for_study(study, data),
            data=data,
            store=Store(folder, print),
            device=device or self.device,
            modes={width: Mode.parse(mode)},
        )


def family_and_width(net: str) -> tuple[str, int]:
    """Family and width of a network with a name such as "plain2"."""
    family = net.rstrip("0123456789")
    return family, int(net.removeprefix(family))


def train_new(trainer: Trainer, states: list[State], *, distilled: bool = True) -> Iterator[None]:
    """Train new models of the trainer's width; one value for each epoch.

    Args:
        trainer: Trainer of one network.
        states: Receives the models, before their first epoch.
        distilled: Whether they learn from soft targets, which are noise, the same in all epochs.
            Otherwise they learn from the labels alone.
    """
    (width,) = trainer.modes
    recipe = trainer.study.recipes("student").one_per_loss()[0]
    hop = Hop(lineage=(ModelSpec(width=width, recipe=recipe),))
    prepared = trainer.begin(hop)
    assert prepared is not None
    models, jobs = prepared
    if distilled:
        shape = 1, len(trainer.y), trainer.models.num_classes
        generator = torch.Generator().manual_seed(0)
        noise = (3 * torch.randn(shape, generator=generator)).half().to(trainer.device)
        jobs = [replace(job, targets=lambda epoch: noise) for job in jobs]
    else:
        for state in models:
            state.recipe = replace(recipe, loss="ce")
        jobs = [replace(job, loss=trainer.losses["ce"]) for job in jobs]
    states += models
    for _ in trainer.train(hop, models, jobs):
        yield


def build(trainer: Trainer, net: str) -> nn.Module:
    """An untrained network in eval mode, on the trainer's device, with weights of seed 0."""
    family, width = family_and_width(net)
    shape, classes = trainer.models.in_shape, trainer.models.num_classes
    torch.manual_seed(0)
    made = FAMILIES[family](width, in_shape=shape, num_classes=classes)
    return made.to(trainer.device).eval()


def image_counts(part: str, args: argparse.Namespace) -> tuple[int, int]:
    """Number of training images and of validation images that a part needs."""
    if part == "agreement":
        return AGREEMENT_STEPS * BATCH, AGREEMENT_VALIDATION
    return args.images, common.VALIDATION
