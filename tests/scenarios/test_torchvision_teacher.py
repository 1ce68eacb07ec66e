"""A ResNet18 of torchvision, trained by its user's own script, as the teacher of small students."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tasearch
from tasearch.config.study_file import load_study, parse_study
from tests.helpers.alone import logits_alone
from tests.helpers.packages import package

STUDIES = Path(__file__).parents[2] / "studies"
HOME = STUDIES / "torchvision-teacher"


def test_study_is_one() -> None:
    study = load_study(HOME / "study.toml")
    assert study.teacher.label == "resnet18"
    assert study.teacher.loaded


@pytest.mark.packages
@pytest.mark.slow
def test_checkpoint_of_lightning_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package("torchvision")
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    images, file = tmp_path / "images", tmp_path / "teacher.ckpt"
    for script in (
        [STUDIES / "own-images" / "make_images.py", images],
        [HOME / "make_teacher.py", images, file, "2"],
    ):
        subprocess.run([sys.executable, *map(str, script)], check=True, env=os.environ)
    content = load_study(HOME / "study.toml").model_dump()
    content["data"] |= {"path": "images", "size": (24, 24)}  # the teacher gets them larger
    content["teacher"] |= {"size": (64, 64)}
    content["assistants"] |= {"epochs": 1, "widths": [8]}
    content["student"] |= {"epochs": 1, "widths": [4], "loss": ["kd"]}
    study = parse_study(content).model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    assert [t.label for t in run.trials if not t.free] == ["resnet18 → 4", "resnet18 → 8 → 4"]
    assert run.front.members[0].label.startswith("resnet18 → ")
    (compared,) = run.confirm(max_params=run.best(trial=0).params).comparisons
    assert compared.verdict.pairs >= 8 and compared.verdict.low is not None
    run.export(tmp_path / "winner", trial=0)
    x = np.random.default_rng(0).integers(256, size=(2, 3, 24, 24)).astype(np.float32)
    found = tasearch.load(tmp_path / "winner").predict(x)
    assert found.probabilities.shape == (2, 4)
    logits = torch.from_numpy(logits_alone(tmp_path / "winner", x, tmp_path))
    torch.testing.assert_close(logits.softmax(dim=1), found.probabilities, atol=1e-3, rtol=0)
