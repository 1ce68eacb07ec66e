"""Shared studies: real digits, small models, few epochs; latencies measured once by torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, Split
from tasearch.models import Models
from tasearch.profiling import timing
from tasearch.runs.records import TrialRecord
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.trainer import Trainer

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {"family": "mlp"},
    "teacher": {"width": 16, "epochs": 3},
    "assistants": {"max": 2, "widths": [12, 8, 6], "epochs": 3},
    "student": {"widths": [6, 4, 2], "epochs": 4},
    "training": {"precision": "fp32"},
    "latency": {"backend": "torch"},
    "search": {"trials": 10, "rungs": 4, "n_startup_trials": 3},
}

LADDERS = {  # widths to try each family at
    "cnn": (9, 4, 1),
    "mlp": (9, 4, 1),
    "plain": (10, 8, 6, 4, 2),
    "resnet": (20, 14, 8),
}
IMAGES_ONLY = ("plain", "resnet")


def tiny(**sections: Any) -> Study:
    """The tiny study, with keys of sections, or whole values, replaced."""
    content = {key: dict(v) if isinstance(v, dict) else v for key, v in TINY.items()}
    for name, value in sections.items():
        if isinstance(value, dict):
            content[name] = {**content.get(name, {}), **value}
        else:
            content[name] = value
    return parse_study(content)


@pytest.fixture(scope="session", autouse=True)
def ties_are_called_soon() -> Iterator[None]:
    """Tests run beside each other, so that the order of tiny models may never be settled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "EXTRA_S", 1.0)
        yield


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers compute in float64.

    In float32 a sum in another order, by another processor, differs in its 7th digit, and each step
    of a training makes it some ten times more; no tolerance holds for all processors. In float64
    what is left is float32's rounding where a value is kept so: of rates that are tensors, and of
    logits before the loss.
    """
    build = Models.build

    def views(own: Trainer, data: Dataset, part: Split, name: str) -> AugmentedData:
        x, mean, std = (torch.tensor(a, device=own.device) for a in (part.x, data.mean, data.std))
        return AugmentedData(x.double(), mean.double(), std.double(), AUGMENTATIONS[name], seed=0)

    monkeypatch.setattr(Models, "build", lambda *args: build(*args).double())
    monkeypatch.setattr(Trainer, "_views", views)


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def finished(runs_dir: Path) -> tasearch.Run:
    """A finished run of the tiny study; not to be written to."""
    return tasearch.run(tiny(), runs_dir=runs_dir)


@pytest.fixture
def rerun(finished: tasearch.Run, tmp_path: Path) -> Any:
    """Runs a study in a fresh folder with the finished run's latencies."""

    def run(study: Study, folder: str = "again", **options: Any) -> tasearch.Run:
        return tasearch.run(
            study, runs_dir=tmp_path / folder, latency_from=finished.path, **options
        )

    return run


def proposed(run: tasearch.Run) -> list[TrialRecord]:
    """The trials but those of assistants, which come along for free."""
    return [trial for trial in run.trials if not trial.free]


def contents(run: tasearch.Run) -> dict[str, bytes]:
    """Every file of a run's store, by its path within the run; none of a write that a kill cut off,
    which the next start removes."""
    kinds = ("hops", "checkpoints", "targets")
    files = [p for kind in kinds for p in (run.path / kind).glob("[!.]*")]
    return {str(p.relative_to(run.path)): p.read_bytes() for p in files}


def children() -> list[int]:
    """Processes of this one, whichever of its threads has started them."""
    found: list[int] = []
    for file in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += map(int, file.read_text().split())
    return found
