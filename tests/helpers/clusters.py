"""Four clusters of samples, which a small model learns within seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tasearch.chains.recipe import Recipe
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.batches import TrainingJob
from tasearch.train.losses import LOSSES
from tasearch.train.state import State
from tests.helpers.studies import tiny

SAMPLES, FEATURES, CLASSES = 200, 8, 4


def recipe(**changes: Any) -> Recipe:
    own = tiny(student={"epochs": 12}).recipes("student").one_per_loss()[0]
    return replace(own, **{"loss": "ce", **changes})


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def problem(seed: int, **changes: Any) -> tuple[State, TrainingJob]:
    """A model, and four clusters that it learns to tell apart."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    centers = 2 * torch.randn(CLASSES, FEATURES, generator=generator)
    x = centers[y] + torch.randn(SAMPLES, FEATURES, generator=generator)
    own = recipe(**changes)
    views = AugmentedData(
        x, torch.zeros(FEATURES), torch.ones(FEATURES), AUGMENTATIONS["none"], seed=0
    )
    targets = None
    if own.distilled:
        logits = torch.stack([5.0 * nn.functional.one_hot(y, CLASSES), x @ centers.T]).half()
        targets = logits if own.guidance == "dense" else logits[:1]
    job = TrainingJob(
        views=views,
        y=y,
        targets=None if targets is None else lambda epoch: targets,
        validation=(x[:50], y[:50]),
        loss=LOSSES[own.loss],
        rungs=3,
        bf16=False,
        width=16,
        seed_parts=(0, seed, 16),
    )
    return State(model(seed), own), job
