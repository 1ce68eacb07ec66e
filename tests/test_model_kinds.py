"""Models of every kind, from the check to a finished run, an export and back.

A probe that a model breaks falls back and says so; the model itself trains all the same.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tasearch
from tasearch.chain import Chain
from tasearch.data import load_data
from tasearch.models import Models
from tasearch.search.events import Event
from tasearch.shipping import FILES
from tasearch.store import Store
from tasearch.study import Study
from tasearch.train import Trainer, train_hop
from tasearch.train.messages import HopEnded, HopEpoch
from tests.conftest import proposed, tiny

HEAD = """
import torch
from torch import nn
from torch.nn.utils import parametrizations as P

class Rows(nn.Module):  # images as sequences of rows
    def forward(self, x):
        return x.flatten(1, 2)

class Last(nn.Module):
    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent
    def forward(self, x):
        return self.recurrent(x)[0][:, -1]

def plain(width, classes, *between):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), *between, nn.Linear(width, classes))
"""
KINDS = {
    "lstm": """
        def build(width, *, in_shape, num_classes):
            lstm = nn.LSTM(8, width, batch_first=True)
            return nn.Sequential(Rows(), Last(lstm), nn.Linear(width, num_classes))
    """,
    "gru": """
        def build(width, *, in_shape, num_classes):
            gru = nn.GRU(8, width, num_layers=2, dropout=0.1, batch_first=True)
            return nn.Sequential(Rows(), Last(gru), nn.Linear(width, num_classes))
    """,
    "transformer": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                layer = nn.TransformerEncoderLayer(8, 2, 2 * width, batch_first=True)
                self.encoder = nn.TransformerEncoder(layer, 1)
                self.place = nn.Parameter(torch.zeros(1, 8, 8))
                self.head = nn.Linear(8, classes)
            def forward(self, x):
                return self.head(self.encoder(x.flatten(1, 2) + self.place).mean(1))
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "weight norm": """
        def build(width, *, in_shape, num_classes):
            net = plain(width, num_classes)
            P.weight_norm(net[1])
            return net
    """,
    "spectral norm": """
        def build(width, *, in_shape, num_classes):
            net = plain(width, num_classes)
            P.spectral_norm(net[1])
            return net
    """,
    "orthogonal": """
        def build(width, *, in_shape, num_classes):
            net = plain(width, num_classes)
            P.orthogonal(net[-1])
            return net
    """,
    "hooks": """
        def build(width, *, in_shape, num_classes):
            net = plain(width, num_classes)
            net[1].register_forward_hook(lambda module, x, y: y * (1 + net[-1].bias.mean()))
            net[2].register_forward_pre_hook(lambda module, x: (x[0] - 0.1,))
            net[-1].register_full_backward_hook(lambda module, dx, dy: None)
            return net
    """,
    "tied weights": """
        def build(width, *, in_shape, num_classes):
            a, b = nn.Linear(width, width), nn.Linear(width, width)
            b.weight = a.weight
            return plain(width, num_classes, a, nn.Tanh(), b)
    """,
    "shared buffers": """
        def build(width, *, in_shape, num_classes):
            a, b = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
            b.running_mean, b.running_var = a.running_mean, a.running_var
            return plain(width, num_classes, a, nn.ReLU(), b)
    """,
    "dropout": """
        def build(width, *, in_shape, num_classes):
            return plain(width, num_classes, nn.Dropout(0.3))
    """,
    "group norm": """
        def build(width, *, in_shape, num_classes):
            return nn.Sequential(
                nn.Conv2d(1, 2 * width, 3), nn.GroupNorm(2, 2 * width), nn.ReLU(),
                nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * width, num_classes))
    """,
    "integer buffers": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.net = plain(width, classes)
                self.register_buffer("order", torch.arange(63, -1, -1))
                self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
            def forward(self, x):
                if self.training:
                    self.seen += len(x)
                return self.net(x.flatten(1)[:, self.order])
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "several heads": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU())
                self.heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(3))
            def forward(self, x):
                x = self.body(x)
                return torch.stack([head(x) for head in self.heads]).mean(0)
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "output object": """
        from dataclasses import dataclass
        @dataclass
        class Output:
            logits: torch.Tensor
            hidden: torch.Tensor
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.net = plain(width, classes)
            def forward(self, x):
                return Output(logits=self.net(x), hidden=x)
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "output mapping": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.net = plain(width, classes)
            def forward(self, x):
                return {"loss": None, "logits": self.net(x)}
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "no copies": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.net = plain(width, classes)
            def __deepcopy__(self, memo):
                raise TypeError("cannot be copied")
            def forward(self, x):
                return self.net(x)
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "volumes": """
        def build(width, *, in_shape, num_classes):
            return nn.Sequential(
                nn.Unflatten(1, (1, 1)), nn.Conv3d(1, width, 3, padding=1), nn.ReLU(),
                nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(8 * width, num_classes))
    """,
    "kept tensor": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.net, self.scale = plain(width, classes), None
            def forward(self, x):
                if not self.training and self.scale is None:
                    self.scale = x.new_full((1, 64), 0.5) + 0.5  # first made in eval mode
                return self.net(x.flatten(1) * (1 if self.scale is None else self.scale))
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
    "branches": """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.norm, self.net = nn.BatchNorm2d(1), plain(width, classes)
            def forward(self, x):
                x = self.norm(x)
                return self.net(x if x.sum() > 0 else -x)
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
}
UNEXPORTABLE = {"branches", "hooks", "orthogonal", "volumes"}  # by torch
SECTIONS: dict[str, Any] = {
    "teacher": {"width": 8, "epochs": 1},
    "assistants": {"max": 1, "widths": [6], "epochs": 1},
    "student": {"widths": [4], "epochs": 2},
    "search": {"trials": 2, "rungs": 2},
}


def study_of(folder: Path, kind: str, **sections: Any) -> Study:
    name = "kind_" + kind.replace(" ", "_")
    source = HEAD + textwrap.dedent(KINDS[kind])
    (folder / f"{name}.py").write_text(source)
    content = {**SECTIONS, "model": {"family": f"{name}:build"}, **sections}
    return tiny(**content).model_copy(update={"root": str(folder)})


def trainer_of(study: Study, folder: Path, mode: str = "fp32") -> Trainer:
    data = load_data(study)
    return Trainer(
        study=study,
        models=Models.of(study, data),
        data=data,
        store=Store(folder),
        device=torch.device("cpu"),
        modes=dict.fromkeys(study.widths, mode),
    )


def weights(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("hops/*.safetensors")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_any_kind_goes_all_the_way(tmp_path: Path, kind: str) -> None:
    """Check, probes, a run with soft targets, an export, and back again."""
    training = {"precision": "auto"}
    study = study_of(tmp_path, kind, training=training, latency={"backend": "torch"})
    said: list[Event] = []
    run = tasearch.run(study, runs_dir=tmp_path / "runs", on_event=said.append)
    assert {trial.state for trial in run.trials} == {"complete"}
    assert {trial.chain for trial in proposed(run)} == {(8, 4), (8, 6, 4)}
    assert all(measured.flops > 0 for measured in run.snapshot.measured.values())
    best = tasearch.export(run, tmp_path / "out")
    net = tasearch.load(tmp_path / "out")
    data = load_data(study)
    with torch.no_grad():
        logits = net(torch.tensor(data.validation.x))
    right = float((logits.argmax(1).numpy() == data.validation.y).mean())
    assert right == pytest.approx(best.accuracy, abs=0.005)
    found = {file.name for file in (tmp_path / "out").iterdir()}
    assert found == {*FILES} - ({"student.onnx"} if kind in UNEXPORTABLE else set())


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_from_a_rung_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    study = study_of(tmp_path, kind)
    teacher = Models.of(study, load_data(study)).teacher()
    student = replace(teacher, width=4, recipe=study.recipes("student").firsts()[0])
    lineage = [*Chain(pupils=(teacher, student)).hops()]
    for name in ("straight", "broken"):
        for hop in lineage:
            for _ in range(3):
                own = trainer_of(study, tmp_path / name)
                if own.finished(hop):
                    break
                messages = train_hop(own, hop)
                for message in messages:
                    if name == "broken" and isinstance(message, HopEpoch):
                        break
                    assert not isinstance(message, HopEnded) or message.outcome == "end"
                messages.close()  # type: ignore[attr-defined]
    assert len(weights(tmp_path / "straight")) == 2
    assert weights(tmp_path / "straight") == weights(tmp_path / "broken")
