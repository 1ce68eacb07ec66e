"""Steps in memory that never moves, as CUDA graphs need it, against the steps of the plain loop.

On CPU they are launched one by one, or recorded by an emulation; on CUDA they are recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tasearch.chains.hop import Hop
from tasearch.models import Models
from tasearch.models.numerics import cpu_threads
from tasearch.train.batches import TrainingJob
from tasearch.train.fast import cuda_graphs as recording
from tasearch.train.fast.cuda_graphs import Graphs, Steps
from tasearch.train.fast.stacked_batches import StackedPlan
from tasearch.train.fast.stacked_loop import train_models
from tasearch.train.losses import LOSSES
from tasearch.train.state import State, pack
from tasearch.train.trainer import Trainer
from tests.helpers.emulated import EmulatedGraph
from tests.helpers.studies import tiny
from tests.helpers.training import DEVICES, close, hops, image_study, train_all, trainer

SECTIONS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "sgd": {"training": {"optimizer": "sgd", "clip": 0.5, "ema": 0.9}},
    "one-cycle": {"training": {"schedule": "one-cycle"}},
    "one-cycle sgd": {
        "training": {"schedule": "one-cycle", "optimizer": "sgd", "weight_decay": 0.01}
    },
    "dense": {"student": {"guidance": "dense", "teacher_dropout": 0.5, "loss": "dkd"}},
    "flip": {"training": {"augment": "flip"}},
    "mixup": {"training": {"augment": "flip", "mixup": 0.4, "views": 3}},
    "unlabelled": {"unlabelled": 90},
    "online": {"unlabelled": 90, "training": {"mixup": 0.4, "teacher": "online"}},
    "progressive": {"student": {"guidance": "dense", "teacher_epoch": "progressive"}},
}
KINDS = [
    kind if kind == "dense" else pytest.param(kind, marks=pytest.mark.slow) for kind in SECTIONS
]


def graphs_of(own: Trainer, said: list[str]) -> Graphs:
    emulated = recording.recorded is EmulatedGraph
    return Graphs(torch.device("cuda") if emulated else own.device, said.append)


def begun(own: Trainer, hop: Hop, **recipe: Any) -> tuple[list[State], list[TrainingJob]]:
    *before, model = hop.lineage
    assert model.recipe is not None
    model = replace(model, recipe=replace(model.recipe, **recipe))
    found = own.begin(Hop(lineage=(*before, model)))
    assert found is not None
    return found


def trained(
    learning: tuple[Sequence[State], Sequence[TrainingJob]],
    slots: int | None,
    graphs: Graphs | None,
) -> list[dict[str, Tensor]]:
    states, jobs = learning
    with cpu_threads(1):
        for _ in train_models(states, jobs, slots=slots, graphs=graphs):
            pass
    return [pack(state) for state in states]


def equal(a: list[dict[str, Tensor]], b: list[dict[str, Tensor]]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(torch.equal(one[name], other[name]) for one, other in pairs for name in one)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train by torch's own operations, as on CUDA."""
    monkeypatch.setattr("tasearch.train.fast.norms._fits", lambda *args, **options: False)


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.slow), "emulated", DEVICES[1]])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device on which steps are launched one by one, recorded by an emulation, or recorded.

    The emulation sees only torch's own operations.
    """
    if request.param != "emulated":
        return str(request.param)
    monkeypatch.setattr("tasearch.train.fast.cuda_graphs.recorded", EmulatedGraph)
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: EmulatedGraph.capturing)
    without_kernels(monkeypatch)
    return "cpu"


@pytest.mark.slow
@pytest.mark.parametrize("slots", [None, 3], ids=["in turn", "stacked"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("in_double")
def test_recorded_steps_end_as_the_plain_loop(
    tmp_path: Path, kind: str, slots: int | None, device: str
) -> None:
    study = image_study(tmp_path, "none", search={"replicates": 3}, **SECTIONS[kind])
    own = trainer(tmp_path / "store", study, device)
    *before, student = hops(study, 8, 6, 4)
    train_all(own, before)
    said: list[str] = []
    found = trained(begun(own, student), slots, graphs_of(own, said))
    expected = trained(begun(own, student), slots, None)
    assert len(found) == 3
    assert not torch.equal(found[0]["net.0.weight"], found[1]["net.0.weight"])
    for ours, theirs in zip(found, expected, strict=True):
        assert close(ours, theirs, 1e-9)
    assert not said


class SyncDetector(TorchDispatchMode):
    """Notes what a host can only do after waiting for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = func.overloadpacket.__name__
        masks = args[1] if name.startswith("index") and isinstance(args[1], list) else []
        if name in SYNCING or any(t is not None and t.dtype == torch.bool for t in masks):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


SYNCING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "unique"}


def syncs_of_steps(own: Trainer, hop: Hop, slots: int | None) -> list[str]:
    """What two steps of an epoch ask the device for."""
    states, jobs = begun(own, hop)
    count, stacked = slots or 1, slots is not None
    states, jobs = states[:count], jobs[:count]
    job = StackedPlan([state.recipe for state in states], jobs, 0, stacked=stacked, recorded=True)
    steps = Steps(states, jobs[0], job, stacked=stacked)
    with cpu_threads(1):
        steps.epoch(states, job, 0)
        steps._prepare(states[0].recipe, job, 1)
        with SyncDetector() as asked:
            steps._launch(2)
    return asked.found


@pytest.mark.slow
@pytest.mark.parametrize("slots", [None, 3], ids=["in turn", "stacked"])
@pytest.mark.parametrize("kind", KINDS)
def test_step_does_not_wait_for_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, slots: int | None
) -> None:
    without_kernels(monkeypatch)
    study = image_study(tmp_path, "crop4+flip", search={"replicates": 3}, **SECTIONS[kind])
    own = trainer(tmp_path / "store", study)
    *before, student = hops(study, 8, 6, 4)
    train_all(own, before)
    assert not syncs_of_steps(own, student, slots)


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_losses_do_not_wait_for_the_device(tmp_path: Path, loss: str) -> None:
    study = image_study(tmp_path, "none", search={"replicates": 3}, student={"loss": loss})
    own = trainer(tmp_path / "store", study)
    *before, student = hops(study, 4)
    train_all(own, before)
    assert not syncs_of_steps(own, student, 3)


def test_sync_detector_finds_host_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny(model={"family": "cnn"})
    own = trainer(tmp_path, study)
    (teacher,) = hops(study, 4)[:1]
    build = Models.build

    def asking(*args: Any) -> torch.nn.Module:
        net = build(*args)
        net.register_forward_hook(lambda net, x, y: y * float(y.isfinite().all()) + y[y > 9].sum())
        return net

    monkeypatch.setattr(Models, "build", asking)
    assert {*syncs_of_steps(own, teacher, None)} == {"_local_scalar_dense", "index", "index_put"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training", "slots"),
    [
        ({}, 2),
        ({}, None),
        ({"optimizer": "sgd", "ema": 0.9}, 2),
        ({"optimizer": "sgd", "ema": 0.9}, None),
    ],
    ids=["adamw, stacked", "adamw", "sgd, stacked", "sgd"],
)
def test_recorded_steps_serve_other_models_teachers_and_recipes(
    tmp_path: Path, training: dict[str, Any], slots: int | None, device: str
) -> None:
    """Nothing is left of earlier models; also where a model has done some epochs already."""
    study = tiny(
        model={"family": "cnn"},
        training={"precision": "fp32", **training},
        student={"widths": [4], "temperature": [2.0, 8.0], "loss": ["kd", "dist"]},
        search={"replicates": 2},
    )
    own = trainer(tmp_path, study, device)
    wide, narrow, direct = hops(study, 8, 4), hops(study, 6, 4), hops(study, 4)
    train_all(own, [*wide[:-1], narrow[1]])
    said: list[str] = []
    shared = graphs_of(own, said)
    trained(begun(own, wide[-1], temperature=2.0), slots, shared)
    other = {"temperature": 8.0, "alpha": 0.3, "learning_rate": 0.02, "epochs": 3}
    cases = [(narrow[-1], other), (direct[-1], {}), (wide[-1], {"loss": "dist"})]
    for hop, recipe in cases:
        again = trained(begun(own, hop, **recipe), slots, shared)
        assert equal(again, trained(begun(own, hop, **recipe), slots, graphs_of(own, said)))
    assert len(shared._kinds) == 2  # of two losses
    begun_before = begun(own, narrow[-1], **other)
    with cpu_threads(1):
        next(train_models(*begun_before, slots=slots, graphs=shared))
    shared.hand_back()
    trained(begun(own, wide[-1], temperature=2.0), slots, shared)
    assert equal(
        trained(begun_before, slots, shared),
        trained(begun(own, narrow[-1], **other), slots, graphs_of(own, said)),
    )
    assert not said


@pytest.mark.slow
@pytest.mark.usefixtures("in_double")
def test_own_loss_gets_the_terms_of_each_model(tmp_path: Path, device: str) -> None:
    (tmp_path / "own.py").write_text(
        "import torch.nn.functional as F\n"
        "def loss(logits, labels, targets, terms):\n"
        "    hard = F.cross_entropy(logits, labels)\n"
        "    return hard + terms.alpha * F.mse_loss(logits, targets) / terms.temperature\n"
    )
    study = tiny(model={"family": "cnn"}, student={"widths": [4], "loss": "own:loss"})
    own = trainer(tmp_path, study.model_copy(update={"root": str(tmp_path)}), device)
    teacher, student = hops(study, 4)
    train_all(own, [teacher])

    def both() -> tuple[list[State], list[TrainingJob]]:
        parts = [begun(own, student, alpha=alpha) for alpha in (0.1, 0.9)]
        return [s for states, _ in parts for s in states], [x for _, y in parts for x in y]

    found, expected = (trained(both(), 2, graphs) for graphs in (graphs_of(own, []), None))
    assert not close(found[0], found[1], 1e-2)
    for ours, theirs in zip(found, expected, strict=True):
        assert close(ours, theirs, 1e-5)


@pytest.mark.slow
def test_graphs_keep_a_limited_number_of_kinds(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models of a kind that is dropped are brought up to date."""
    monkeypatch.setattr("tasearch.train.fast.cuda_graphs.MAX_KINDS", 1)
    study = tiny(model={"family": "cnn"}, search={"replicates": 2})
    own = trainer(tmp_path, study, device)
    (teacher,) = hops(study, 4)[:1]
    graphs = graphs_of(own, [])
    states, jobs = begun(own, teacher)
    graphs.epoch(states[:1], jobs[:1], 0, stacked=False)
    before = states[0].net.state_dict()["0.weight"].clone()
    graphs.epoch(states, jobs, 0, stacked=True)
    assert len(graphs._kinds) == 1
    assert not torch.equal(states[0].net.state_dict()["0.weight"], before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_graphs_report_model_that_syncs_and_change_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(model={"family": "cnn"})
    own = trainer(tmp_path, study, "cuda")
    (teacher,) = hops(study, 4)[:1]
    expected = trained(begun(own, teacher), None, graphs_of(own, []))
    asking = begun(own, teacher)
    asking[0][0].net.register_forward_hook(lambda net, x, y: y * float(y.isfinite().all()))
    said: list[str] = []
    found = trained(asking, None, graphs_of(own, said))
    assert len(said) == 1
    assert "several times slower" in said[0]
    assert equal(found, expected)


@pytest.mark.slow
def test_short_memory_frees_other_graphs_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(model={"family": "cnn"}, search={"replicates": 2})
    own = trainer(tmp_path, study)
    (teacher,) = hops(study, 4)[:1]
    graphs = graphs_of(own, [])
    states, jobs = begun(own, teacher)
    graphs.epoch(states, jobs, 0, stacked=True)
    made = Steps.__init__
    full = [True]

    def out_of_memory(self: Steps, *args: Any, **options: Any) -> None:
        if full and full.pop():
            raise torch.OutOfMemoryError("CUDA out of memory")
        made(self, *args, **options)

    monkeypatch.setattr(Steps, "__init__", out_of_memory)
    graphs.epoch(states[:1], jobs[:1], 0, stacked=False)
    assert not full
    assert len(graphs._kinds) == 1


def test_blocks_of_steps_give_the_same_batches(tmp_path: Path) -> None:
    study = image_study(tmp_path, "crop4+flip", search={"replicates": 2})
    own = trainer(tmp_path / "store", study)
    states, jobs = begun(own, hops(study, 4)[0])
    recipes = [state.recipe for state in states]
    job = StackedPlan(recipes, jobs, 3, stacked=True, recorded=True)
    found = [*job.batches_at(torch.tensor([1, 2])), *job.batches_at(torch.tensor([0]))]
    for batch, place in zip(found, (1, 2, 0), strict=True):
        expected = [*job.batches()][place]
        assert torch.equal(batch.x, expected.x)
        assert torch.equal(batch.supervision[0][0], expected.supervision[0][0])
