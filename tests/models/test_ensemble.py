"""A teacher of several models, whose logits are averaged."""

from __future__ import annotations

import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tasearch
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, parse_study, render
from tasearch.data import load_data
from tasearch.errors import ModelError, StudyError
from tasearch.models import Models
from tasearch.models.ensemble import Ensemble
from tasearch.search.prepare import prepare
from tests.helpers.studies import tiny

NETS = """
from torch import nn

def wide(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, num_classes))

def flat(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""
MEMBERS = [
    {"factory": "nets:wide", "checkpoint": "wide.pt", "mean": 8.0, "std": 4.0},
    {"factory": "nets:flat", "checkpoint": "flat.pt", "inputs": "standardized", "name": "flat one"},
]


def wide() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))


def flat() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    torch.save(wide().state_dict(), tmp_path / "wide.pt")
    torch.save(flat().state_dict(), tmp_path / "flat.pt")
    return tmp_path


def study_of(root: Path, members: list[dict[str, Any]] | None = None, **teacher: Any) -> Study:
    content = {"width": 16, "members": MEMBERS if members is None else members, **teacher}
    study = tiny(
        teacher=content,
        assistants={"max": 0},
        student={"widths": [4], "epochs": 1},
        search={"trials": 1, "rungs": 1},
    )
    return study.model_copy(update={"root": str(root)})


def test_soft_targets_are_the_geometric_mean_at_every_temperature() -> None:
    nets = [wide().double(), flat().double()]
    x = torch.randn(5, 64, dtype=torch.float64)
    for temperature in (1.0, 4.0):
        found = torch.softmax(Ensemble(nets)(x) / temperature, dim=1)
        product = torch.stack([torch.softmax(net(x) / temperature, dim=1) for net in nets]).prod(0)
        mean = product.sqrt()
        torch.testing.assert_close(found, mean / mean.sum(dim=1, keepdim=True))


def test_each_member_gets_its_own_input(root: Path) -> None:
    data = load_data(study_of(root))
    made = Models.for_study(study_of(root), data)
    raw = torch.tensor(data.validation.x[:9]).float()
    standardized = (raw - made.mean) / made.std
    with torch.no_grad():
        expected = (wide()((raw - 8.0) / 4.0) + flat()(standardized)) / 2
    torch.testing.assert_close(made.build(16)(standardized), expected, rtol=1e-4, atol=1e-4)
    assert made.teacher().name == "ensemble"
    assert sum(p.numel() for p in made.build(16).parameters()) == 3_010 + 650


def test_identity_depends_on_each_member(root: Path) -> None:
    data = load_data(study_of(root))
    torch.save(wide().state_dict(), root / "flat2.pt")
    origins = {
        Models.for_study(study_of(root, [MEMBERS[0], second]), data).teacher().origin
        for second in (
            MEMBERS[1],
            {**MEMBERS[1], "inputs": "raw"},
            {**MEMBERS[0], "checkpoint": "flat2.pt", "std": 3.0},
        )
    }
    assert len(origins) == 3


def test_line_tells_the_teacher_and_each_member(root: Path) -> None:
    study = study_of(root)
    data = load_data(study)
    y = data.validation.y
    with closing(prepare(study, RunOptions(runs_dir=root / "runs"))) as prepared:
        line = prepared.teacher
    models = Models.for_study(study, data)
    found = models.check_members(data, torch.device("cpu"))
    assert [*found] == ["wide (1)", "flat one (2)"]
    told = [f"{(logits.argmax(1).numpy() == y).mean():.1%}" for logits in found.values()]
    mean = torch.stack([*found.values()]).mean(0).argmax(1).numpy()
    assert line == (
        "teacher ensemble, 3.66 k parameters: the mean logits of wide loaded, frozen, raw samples, "
        "mean 8, std 4; and flat one loaded, frozen, standardized samples; right in "
        f"{(mean == y).mean():.1%} of the validation part, its members: wide (1) in {told[0]}, "
        f"flat one (2) in {told[1]}"
    )


def test_members_are_written_and_read_again(root: Path) -> None:
    study = study_of(root)
    for again in (
        parse_study(tomllib.loads(render(study))),
        parse_study(study.model_dump()),
        Study.model_validate_json(study.model_dump_json()),
    ):
        assert again == study
    assert study.identity()["teacher.members"][1] == {
        **{"name": "flat one", "factory": "nets:flat", "checkpoint": "flat.pt"},
        "inputs": "standardized",
    }
    assert "teacher.members" not in tiny().identity()
    assert dict(study.own_functions) == {
        "teacher.members[0].factory": "nets:wide",
        "teacher.members[1].factory": "nets:flat",
    }


FLAT = {"factory": "nets:flat"}
MISTAKES: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([FLAT], {}, "teacher.members: should be at least 2 models, found 1"),
    (
        [FLAT, FLAT],
        {"checkpoint": "a.pt"},
        "teacher.checkpoint: goes without teacher.members, each of which has its own, found 'a.pt'",
    ),
    ([FLAT, {"checkpoint": "a.pt"}], {}, "teacher.members[1].factory: is required"),
    (
        [FLAT, {**FLAT, "epochs": 3}],
        {},
        "teacher.members[1].epochs: is no key of a member, which has name, factory, checkpoint, "
        "pretrained, inputs, size, mean, std",
    ),
    (
        [FLAT, {**FLAT, "mean": 1.0}],
        {},
        "teacher.members[1].std: is required with teacher.mean",
    ),
    (
        [{"factory": "timm:resnet18"}, FLAT],
        {},
        "teacher.members[0].checkpoint: is required, or pretrained = true, with a model whose "
        "weights are random, found 'timm:resnet18'",
    ),
    (
        [FLAT, {"factory": "flat"}],
        {},
        "teacher.members[1].factory: should be \"package.module:function\", found 'flat'",
    ),
    (
        [FLAT, {**FLAT, "inputs": "r"}],
        {},
        "teacher.members[1].inputs: should be 'raw' or 'standardized', found \"r\"",
    ),
]


@pytest.mark.parametrize(("members", "teacher", "message"), MISTAKES)
def test_message_names_the_member(
    tmp_path: Path, members: list[dict[str, Any]], teacher: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError) as error:
        study_of(tmp_path, members, **teacher)
    assert str(error.value).splitlines()[0] == f"study: {message}"


def test_fault_of_a_member_is_told_with_its_place(root: Path) -> None:
    torch.save({"1.weight": torch.zeros(10, 64)}, root / "flat.pt")
    models = Models.for_study(study_of(root), load_data(study_of(root)))
    with pytest.raises(ModelError, match=r"^teacher\.members\[1\]\.checkpoint: .*flat\.pt"):
        models.build(16)
    (root / "flat.pt").unlink()
    with pytest.raises(ModelError, match=r"^teacher\.members\[1\]\.checkpoint: .*flat\.pt"):
        tasearch.run(study_of(root), runs_dir=root / "runs")


@pytest.mark.slow
def test_run_learns_from_an_ensemble(root: Path) -> None:
    """From Python, and as its study file is run again by a worker."""
    x, y = np.random.default_rng(0).normal(size=(120, 64)).astype(np.float32), np.arange(120) % 10
    run = tasearch.search(
        x,
        y,
        build="mlp",
        teacher=[wide().eval(), flat().eval()],
        widths=[8, 4],
        epochs=1,
        trials=2,
        study={"training": {"precision": "fp32"}, "latency": {"backend": "torch"}},
        runs_dir=root / "runs",
        progress=False,
    )
    assert [trial.label for trial in run.trials] == ["ensemble → 4", "ensemble → 8"]
    study = load_study(run.path / "inputs" / "study.toml")
    assert [member.factory for member in study.teacher.members] == [
        "own_teacher:make",
        "own_teacher_2:make",
    ]
    run.export(root / "winner")
    again = tasearch.run(study, runs_dir=root / "again", workers=2, latency_from=run.path)
    assert [trial.curve for trial in again.trials] == [trial.curve for trial in run.trials]
