"""The tutorial of a folder of images: its study, its pictures and its code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import tasearch
from tasearch.config.study_file import load_study, parse_study
from tasearch.data import load_data, load_test

ROOT = Path(__file__).parents[2]
HOME = ROOT / "studies" / "own-images"
TUTORIAL = (ROOT / "docs" / "tutorials" / "own-images.md").read_text("utf-8")
CLASSES = ("circle", "square", "star", "triangle")


def test_tutorial_shows_the_study() -> None:
    """In short: every key that it shows is the study's, but for those that it leaves out."""
    (block,) = re.findall(r"```toml\n(.*?)```", TUTORIAL, re.DOTALL)
    shown, study = tomllib.loads(block), load_study(HOME / "study.toml")
    parse_study(shown)
    whole = tomllib.loads((HOME / "study.toml").read_text("utf-8"))
    for name, section in shown.items():
        if isinstance(section, dict):
            assert section.items() <= whole[name].items()
    assert shown["name"] == study.name == HOME.name


@pytest.mark.slow
def test_tutorial_leads_from_pictures_to_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    script = [sys.executable, HOME / "make_images.py", tmp_path / "images"]
    subprocess.run(script, check=True)
    shutil.copy(HOME / "study.toml", tmp_path)
    study = load_study(tmp_path / "study.toml")
    data, test = load_data(study), load_test(study)
    assert data.class_names == CLASSES
    assert data.in_shape == (3, 24, 24)
    assert (len(data.train), len(data.validation), len(test)) == (600, 160, 140)
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    tasearch.export(run, tmp_path / "winner")
    metrics = json.loads((tmp_path / "winner" / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.4  # of four classes
    student = tasearch.load(tmp_path / "winner")
    labels = np.array(CLASSES)[test.y]
    found = np.array(student.predict(test.x).labels)
    assert (found == labels).mean() == pytest.approx(metrics["test_accuracy"])
    (code,) = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
    for place, name in ((0, "circle/000.jpg"), (36, "square/001.png"), (139, "triangle/034.jpg")):
        own = code.replace("new.jpg", f"images/test/{name}")
        done = subprocess.run(
            [sys.executable, "-c", own], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        label, probability, *_ = done.stdout.split()
        assert label == found[place]
        with torch.inference_mode():
            logits = student(torch.tensor(test.x[place : place + 1]).float())
        assert float(probability) == pytest.approx(logits.softmax(1).max().item())
