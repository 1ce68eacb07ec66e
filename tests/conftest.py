"""Shared studies: real digits, small models, few epochs; latencies measured once by torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

import tasearch
from tasearch.config.study import Study
from tasearch.data import Dataset, Split
from tasearch.models import Models
from tasearch.profiling import timing
from tasearch.train import samples
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tests.helpers.studies import tiny
from tests.operators import sitecustomize

# As sitecustomize.py says: here it is imported by this process, and from its folder by all others
FOLDERS = [str(Path(sitecustomize.__file__).parent), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, FOLDERS))

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session", autouse=True)
def ties_are_called_soon() -> Iterator[None]:
    """Tests run beside each other, so that the order of tiny models may never be settled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "EXTRA_S", 1.0)
        yield


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trainers compute in float64, their losses and learning rates too.

    In float32 a sum in another order, by another processor, differs in its 7th digit, and each step
    of a training makes it some ten times more. A ReLU whose input is as near to 0 is on in one
    training and off in the other, which is seen in the 4th digit; no tolerance holds for all
    processors.
    """
    build = Models.build

    def views(
        data: Dataset, part: Split, name: str, device: torch.device, **options: Any
    ) -> AugmentedData:
        x, mean, std = (torch.tensor(a, device=device) for a in (part.x, data.mean, data.std))
        return AugmentedData(x.double(), mean.double(), std.double(), AUGMENTATIONS[name], seed=0)

    monkeypatch.setattr(Models, "build", lambda *args: build(*args).double())
    monkeypatch.setattr(samples, "part_views", views)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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
