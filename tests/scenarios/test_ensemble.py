"""A teacher of several models: learned from, exported, and given from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tests.helpers.studies import tiny

CODE = """
import torch
from torch import nn

def make(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, num_classes))

def fixed(*, in_shape, num_classes):
    torch.manual_seed(1)
    return make(in_shape=in_shape, num_classes=num_classes)
"""
MEMBERS = [
    {"factory": "pair:make", "checkpoint": "one.safetensors", "inputs": "standardized"},
    {"factory": "pair:fixed", "name": "second"},
]


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10)).eval()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "pair.py").write_text(CODE)
    save_file(net(0).state_dict(), tmp_path / "one.safetensors")
    made = tiny(teacher={"width": 64, "members": MEMBERS})
    return made.model_copy(update={"root": str(tmp_path)})


@pytest.mark.slow
def test_student_of_an_ensemble(study: Study, tmp_path: Path) -> None:
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=3)
    assert run.best().label.startswith("ensemble → ")
    tasearch.export(run, tmp_path / "winner", trust=True)
    again = load_study(tmp_path / "winner" / "chain.toml")
    assert len(again.teacher.members) == 2
    assert tasearch.load(tmp_path / "winner", trust=True).predict(np.zeros((2, 1, 8, 8))).labels
    (tmp_path / "pair.py").write_text(CODE.replace("manual_seed(1)", "manual_seed(2)"))
    with pytest.raises(tasearch.TasearchError):
        tasearch.run(study, runs_dir=tmp_path / "runs", trials=4)


@pytest.mark.slow
def test_models_from_python_become_members(tmp_path: Path) -> None:
    y = np.arange(120) % 10
    x = np.random.default_rng(0).normal(size=(120, 1, 8, 8)).astype(np.float32)
    run = tasearch.search(
        x,
        y,
        build="mlp",
        teacher=[net(0), net(1)],
        widths=[8, 4],
        epochs=1,
        trials=2,
        study={"latency": {"backend": "torch"}, "training": {"precision": "fp32"}},
        runs_dir=tmp_path,
        progress=False,
    )
    assert len(run.manifest.study.teacher.members) == 2
    assert run.best().label.startswith("ensemble → ")
