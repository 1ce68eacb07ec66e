"""The study and the arrays that `benchmarks.fuzz` starts from before it changes data files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damaged_run import STUDY
from benchmarks.small_studies import study_text

SAMPLES = 60
DATA = "file"  # name of the data file
USER_MODULE = """
from torch import nn

def make(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 99), nn.ReLU(), nn.Linear(99, num_classes))
"""


def write_study(work: Path, source: str, **teacher: str) -> None:
    """Write a study of one student and no assistants, with the user's module.

    Args:
        work: Folder for both.
        source: Source of the data.
        **teacher: Additional keys of the teacher.
    """
    text = study_text(
        "small",
        data={"source": source, "path": DATA},
        teacher={"width": 64, "epochs": 1, **teacher},
        assistants={"max": 0},
        student={"widths": [2], "epochs": 1},
        search={"trials": 1},
    )
    (work / STUDY).write_text(text)
    (work / "own.py").write_text(USER_MODULE)


def sound_arrays(rng: random.Random) -> dict[str, Any]:
    """Training data without a fault: noise of shape (60, 8, 8) and labels of 10 classes."""
    generator = np.random.default_rng(rng.randrange(2**32))
    x = generator.normal(size=(SAMPLES, 8, 8)).astype(np.float32)
    return {"x_train": x, "y_train": np.arange(SAMPLES) % 10}
