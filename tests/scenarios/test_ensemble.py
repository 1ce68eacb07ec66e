"""A teacher of several models: read, loaded, told, learned from, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, parse_study, render
from tasearch.data import load_data
from tasearch.errors import ModelError, StudyError
from tasearch.models import Models
from tasearch.models.ensemble import Ensemble, mean_logits
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


def test_logits_are_averaged(study: Study) -> None:
    data = load_data(study)
    models = Models.for_study(study, data)
    raw = torch.tensor(data.validation.x[:7]).float()
    standardized = (raw - models.mean) / models.std
    wanted = mean_logits([net(0)(standardized), net(1)(raw)])
    found = models.build(64)
    assert torch.allclose(found(standardized), wanted, atol=1e-4)
    assert models.describe_teacher().startswith(
        "teacher ensemble, 30 k parameters: the mean logits of"
    )


def test_mean_of_logits_is_the_geometric_mean_of_distributions() -> None:
    logits = [torch.randn(5, 4, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    for temperature in (1.0, 4.0):
        each = torch.stack([(one / temperature).softmax(dim=1) for one in logits])
        geometric = each.log().mean(dim=0).exp()
        wanted = geometric / geometric.sum(dim=1, keepdim=True)
        found = (mean_logits(logits) / temperature).softmax(dim=1)
        assert torch.allclose(found, wanted, atol=1e-6)


def test_members_are_in_the_identity_and_in_the_file(study: Study, tmp_path: Path) -> None:
    assert load_written(study, tmp_path).teacher.members == study.teacher.members
    other = tiny(teacher={"width": 64, "members": MEMBERS[::-1]})
    assert other.identity() != study.identity()
    assert "teacher.members" not in tiny().identity()


def load_written(study: Study, folder: Path) -> Study:
    (folder / "again.toml").write_text(render(study))
    return load_study(folder / "again.toml")


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"members": MEMBERS[:1]}, "teacher.members: should be at least 2 models, found 1"),
        ({"members": MEMBERS, "checkpoint": "a.pt"}, "teacher.checkpoint: goes without"),
        ({"members": MEMBERS, "outputs": "logits"}, "teacher.outputs: goes without"),
        ({"members": [*MEMBERS, {"name": "x"}]}, "teacher.members[2].factory: is required"),
        (
            {"members": [*MEMBERS, {"factory": "timm:resnet18"}]},
            "teacher.members[2].checkpoint: is required, or pretrained = true",
        ),
        (
            {"members": [*MEMBERS, {"factory": "pair:make", "width": 3}]},
            "teacher.members[2].width: is no key of a member",
        ),
        (
            {"members": [*MEMBERS, {"factory": "pair:make", "mean": 0.5}]},
            "teacher.members[2].std: is required with teacher.mean",
        ),
    ],
)
def test_wrong_members_are_refused(teacher: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"teacher": {"width": 64, **teacher}})
    assert message in str(error.value)


def test_member_that_does_not_load_is_named(study: Study, tmp_path: Path) -> None:
    save_file({"other": torch.zeros(2)}, tmp_path / "one.safetensors")
    models = Models.for_study(study, load_data(study))
    with pytest.raises(ModelError, match=r"^teacher\.members\[0\]\.checkpoint: "):
        models.build(64)


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


def test_ensemble_has_the_parameters_of_all() -> None:
    both = Ensemble([net(0), net(1)])
    assert sum(p.numel() for p in both.parameters()) == 2 * sum(
        p.numel() for p in net(0).parameters()
    )
