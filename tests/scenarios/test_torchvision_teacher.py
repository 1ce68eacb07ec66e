"""A ResNet18 of torchvision, trained by its user's own script, as the teacher of small students."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tasearch
from tasearch.config.study_file import load_study, parse_study
from tests.helpers.packages import package

STUDIES = Path(__file__).parents[2] / "studies"
HOME = STUDIES / "torchvision-teacher"


def test_study_is_one() -> None:
    study = load_study(HOME / "study.toml")
    assert study.teacher.label == "resnet18"
    assert study.teacher.loaded


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
    for section in ("assistants", "student"):
        content[section]["epochs"] = 1
    study = parse_study(content).model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    assert run.best().label.startswith("resnet18 → ")
    tasearch.export(run, tmp_path / "winner")
    found = tasearch.load(tmp_path / "winner").predict(np.zeros((2, 3, 24, 24)))
    assert found.probabilities.shape == (2, 4)
