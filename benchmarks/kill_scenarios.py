"""The studies that `benchmarks.kills` runs and kills."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.small_studies import study_text

USER_MODULE = '''
"""A multilayer perceptron whose process may die while one width is trained."""

import ctypes
import os
from pathlib import Path

import torch
from torch import nn

WIDTH, STEP = 6, 40  # dies in this step of a process, long after any probe and before a rung


class Mortal(nn.Module):
    def __init__(self, width, in_shape, num_classes):
        super().__init__()
        self.width, self.steps = width, 0
        size = int(torch.tensor(in_shape).prod())
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.steps += 1
            if self.width == WIDTH and self.steps == STEP:
                die()
        return self.layers(x)


def die():
    how, marker = os.environ.get("OWN_DEATH"), Path(os.environ.get("OWN_MARKER", "/"))
    if how is None or marker.exists():
        return
    if marker.parent.is_dir():  # else it dies every time
        marker.touch()
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)


def build(width, *, in_shape, num_classes):
    return Mortal(width, in_shape, num_classes)
'''


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A study, and how its user code dies.

    Args:
        name: Name of the study.
        measured: Whether each run measures latencies itself. They differ between runs, so the
            search does not look at them, and they are not compared.
        death: How user code dies: "exit" or "segmentation fault"; None where it does not.
        every_time: Whether it dies every time, and not only the first time.
    """

    name: str
    measured: bool = False
    death: str | None = None
    every_time: bool = False

    def study(self) -> str:
        """The study file."""
        search = {"sampler": "ehvi", "pruner": "skyline"}
        if self.measured:
            search = {"sampler": "random", "pruner": "none"}
        return study_text(
            self.name,
            epochs=12,
            model={"family": "own:build" if self.death else "mlp"},
            training={"precision": "fp32", "stack": "never"},
            search={"trials": 6, "rungs": 4, "n_startup_trials": 2, **search},
        )


PLAIN = Scenario(name="plain")
MEASURED = Scenario(name="measured", measured=True)
EXITS = Scenario(name="exits", death="exit")
EXITS_MEASURED = Scenario(name="mortal", measured=True, death="exit")
DYING = (
    EXITS,
    Scenario(name="faults", death="segmentation fault"),
    Scenario(name="always", death="exit", every_time=True),
)
