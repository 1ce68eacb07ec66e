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
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.confirmation.fresh import Block
from tasearch.data import load_data
from tasearch.errors import ModelError, StudyError
from tasearch.exports.export import FILES
from tasearch.models import Models
from tasearch.profiling.counts import forward_flops, parameters
from tasearch.runs.events import EpochDone, Event, HopEnded, Notice
from tasearch.runs.store import replicate
from tasearch.runs.verdicts import LookPlan
from tasearch.search.prepare import prepare
from tasearch.train.fast.autotuning import choose_modes
from tasearch.train.fast.cuda_graphs import Graphs
from tasearch.train.tasks import train_hop
from tests.helpers.runs import proposed
from tests.helpers.studies import tiny
from tests.helpers.training import trainer

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
                return self.net(x if x.amax() > 0 else -x)
        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """,
}
QUICK = ("dropout", "no copies")  # kinds whose runs are not slow tests
EVERY_KIND = [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
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


def weights(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("hops/*.safetensors")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_search_and_export_support_model_of_any_kind(tmp_path: Path, kind: str) -> None:
    """Check, probes, a run with soft targets, an export, and back again."""
    training = {"precision": "auto"}
    study = study_of(tmp_path, kind, training=training, latency={"backend": "torch"})
    said: list[Event] = []
    run = tasearch.run(study, runs_dir=tmp_path / "runs", on_event=said.append)
    assert {trial.state for trial in run.trials} == {"complete"}
    assert {trial.chain for trial in proposed(run)} == {(8, 4), (8, 6, 4)}
    assert all(measured.flops > 0 for measured in run.manifest.measured.values())
    best = tasearch.export(run, tmp_path / "out")
    net = tasearch.load(tmp_path / "out", trust=True)
    data = load_data(study)
    with torch.no_grad():
        logits = net(torch.tensor(data.validation.x))
    right = float((logits.argmax(1).numpy() == data.validation.y).mean())
    assert right == pytest.approx(best.accuracy, abs=0.005)
    found = {file.name for file in (tmp_path / "out").iterdir()}
    assert found == {*FILES} - ({"student.onnx"} if kind in UNEXPORTABLE else set())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["output object", "output mapping", "branches"])
def test_confirmation_keeps_a_teacher_of_any_kind(tmp_path: Path, kind: str) -> None:
    """The teacher of fresh seeds, loaded as a checkpoint, is the run's own."""
    study = study_of(tmp_path, kind, latency={"backend": "torch"})
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    prepared = prepare(study, RunOptions(runs_dir=tmp_path / "runs"))
    plan = LookPlan(alpha=0.05, margin=0.01)
    block = Block(prepared=prepared, number=0, pairs=2, plan=plan, pool=None)
    saved = run.directory.store().load("hops", run.trials[0].hops[0].key)
    assert saved is not None
    own, fixed = prepared.models.build(8), block.models.build(8)
    own.load_state_dict(replicate(saved[0], 0))
    x = torch.tensor(prepared.data.validation.x[:8]).float()
    with torch.no_grad():
        assert torch.equal(own.eval()(x), fixed.eval()(x))
    prepared.close()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_model_of_any_kind_resumes_from_a_rung_bit_for_bit(tmp_path: Path, kind: str) -> None:
    study = study_of(tmp_path, kind)
    teacher = Models.for_study(study, load_data(study)).teacher()
    student = replace(teacher, width=4, recipe=study.recipes("student").one_per_loss()[0])
    lineage = [*Chain(models=(teacher, student)).hops()]
    for name in ("straight", "broken"):
        for hop in lineage:
            for _ in range(3):
                own = trainer(tmp_path / name, study, mode="fp32")
                if own.finished(hop):
                    break
                messages = train_hop(own, hop)
                for message in messages:
                    if name == "broken" and isinstance(message, EpochDone):
                        break
                    assert not isinstance(message, HopEnded) or message.outcome == "complete"
                messages.close()  # type: ignore[attr-defined]
    assert len(weights(tmp_path / "straight")) == 2
    assert weights(tmp_path / "straight") == weights(tmp_path / "broken")


@pytest.mark.slow
def test_run_times_model_without_onnx_in_torch(tmp_path: Path) -> None:
    study = study_of(tmp_path, "branches", latency={"backend": "onnx"}, search={"trials": 1})
    said: list[Event] = []
    run = tasearch.run(study, runs_dir=tmp_path / "runs", on_event=said.append)
    messages = [event.message for event in said if isinstance(event, Notice)]
    first, *others = [
        message for message in messages if "latencies are" in message or "timed" in message
    ]
    assert first.startswith(
        "all latencies are torch's, not ONNX Runtime's: "
        "width 6: the model cannot be exported to ONNX: "
    )
    assert [other.partition(" raised ")[0] for other in others] == [
        f"width {width}: timed with its batch norms as they are, for tracing the model"
        for width in (8, 6, 4)
    ]
    assert run.manifest.device.startswith("torch ")


def notices_of(study: Study, widths: tuple[int, ...], **options: Any) -> list[str]:
    """What the probes of modes say."""
    models, said = Models.for_study(study, load_data(study)), list[str]()
    choose_modes(
        options.get("precision", "auto"),
        options.get("stack", "auto"),
        models.build,
        widths,
        recipe=study.recipes("student").one_per_loss()[0],
        in_shape=models.in_shape,
        device=torch.device("cpu"),
        threads=1,
        replicates=1,
        warn=said.append,
    )
    return said


NET = """
    class Net(nn.Module):
        def __init__(self, width, classes):
            super().__init__()
            self.net = plain(width, classes)
        def forward(self, x):
            y = self.net(x)
            CODE
            return y
    def build(width, *, in_shape, num_classes):
        return Net(width, num_classes)
"""


def test_model_without_bf16_trains_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "if torch.is_autocast_enabled('cpu'): raise RuntimeError('no bfloat16 here\\nat all')"
    monkeypatch.setitem(KINDS, "no bf16", NET.replace("CODE", code))
    study = study_of(tmp_path, "no bf16")
    assert notices_of(study, (6, 4), stack="never") == [
        "widths 6 and 4: trained in fp32, for bf16 raised RuntimeError: no bfloat16 here"
    ]
    with pytest.raises(StudyError) as error:
        notices_of(study, (6, 4), precision="bf16")
    assert str(error.value) == (
        'training.precision: should be "fp32" or "auto" for the model of width 6, found "bf16": '
        "a step raised RuntimeError: no bfloat16 here"
    )


def test_probe_reports_a_stacked_model_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasearch.train.fast.autotuning.SMALL_MS", 1e9)
    study = study_of(tmp_path, "no copies")
    assert notices_of(study, (4,), precision="fp32") == [
        "width 4: trained one by one, for a stacked model raised TypeError: cannot be copied"
    ]
    for kind in ("dropout", "hooks", "shared buffers", "tied weights", "lstm", "weight norm"):
        assert notices_of(study_of(tmp_path, kind), (4,), precision="fp32") == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no copies", "copying the model raised TypeError: cannot be copied"),
        ("hooks", "the model has hooks"),
    ],
)
def test_model_that_cannot_be_copied_trains_without_graphs(
    tmp_path: Path, kind: str, reason: str
) -> None:
    study = study_of(tmp_path, kind)
    teacher = Hop(lineage=(Models.for_study(study, load_data(study)).teacher(),))
    ends, said = [], list[str]()
    for name in ("loop", "graphs"):
        own = trainer(tmp_path / name, study, mode="fp32")
        if name == "graphs":
            own.graphs = Graphs(torch.device("cpu"), said.append)
        for message in train_hop(own, teacher):
            assert not isinstance(message, HopEnded) or message.outcome == "complete"
        ends.append(weights(tmp_path / name))
    assert ends[0] == ends[1]
    assert said == [f"steps are launched one operation at a time, several times slower: {reason}"]


def test_flops_of_lstm_and_attention_equal_their_products(tmp_path: Path) -> None:
    models = {
        kind: Models.for_study(study, load_data(study))
        for kind in ("lstm", "transformer")
        for study in [study_of(tmp_path, kind)]
    }
    lstm = 8 * 2 * (8 + 4) * 4 * 4 + 2 * 4 * 10  # 8 steps, 4 gates of 8 inputs and 4 states
    assert forward_flops(models["lstm"].build(4), (1, 8, 8)) == lstm
    attention = 2 * 8 * 8 * (24 + 8) + 2 * 2 * 8 * 8 * 8  # projections; scores and their use
    dense = 2 * 8 * 8 * 8 * 2 + 2 * 8 * 10
    assert forward_flops(models["transformer"].build(4), (1, 8, 8)) == attention + dense


def test_forward_flops_estimates_uncountable_flops_with_a_notice() -> None:
    class Moody(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()):
                raise ValueError("not while I am counted")
            return super().forward(x)

    said: list[str] = []
    net = Moody(4, 2)
    assert forward_flops(net, (4,), said.append) == 2 * parameters(net) == 20
    assert said == [
        "FLOPs are taken as twice the parameters, for counting them raised "
        "ValueError: not while I am counted"
    ]


REFUSED = {
    "tuple": ("return y, y", "gave tuple; return the logits alone, or an object with them as "),
    "probabilities": (
        "return y.softmax(1)",
        "should give logits, gave probabilities: for all of {n} samples its outputs lie in 0 .. 1 "
        "and sum to 1; return what goes into the softmax",
    ),
    "error": ("raise ValueError('no')", "failed on a batch of shape {shape}: ValueError: no"),
    "shape": ("return y[:, :3]", "should give logits of shape {out}, gave {cut}"),
    "infinite": ("return y / 0", "gave logits that are not finite for random samples"),
    "whole": ("return y.long()", "should give floating-point logits, gave torch.int64"),
}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_check_refuses_a_model_wrong_in_one_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, training: bool
) -> None:
    code, words = REFUSED[fault]
    source = NET.replace("CODE", f"if self.training is {training}: {code}")
    monkeypatch.setitem(KINDS, f"{fault} {training}", source)
    study = study_of(tmp_path, f"{fault} {training}")
    with pytest.raises(ModelError) as error:
        Models.for_study(study, load_data(study)).check(study.widths)
    count = 2 if training else 1
    words = words.format(
        n=4 if training else 10, shape=(count, 1, 8, 8), out=(count, 10), cut=(count, 3)
    )
    mode = "" if training else " in eval mode"
    assert str(error.value).startswith(f"the model of width 8{mode} ")
    assert words in str(error.value)


def test_check_refuses_a_model_that_needs_more_than_one_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "squeezed", NET.replace("CODE", "if len(x) == 1: return y[0]"))
    study = study_of(tmp_path, "squeezed")
    with pytest.raises(ModelError) as error:
        Models.for_study(study, load_data(study)).check(study.widths)
    assert str(error.value) == (
        "the model of width 8 in eval mode should give logits of shape (1, 10), gave (10,)"
    )


def test_check_accepts_a_log_softmax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "log softmax", NET.replace("CODE", "y = y.log_softmax(1)"))
    study = study_of(tmp_path, "log softmax")
    Models.for_study(study, load_data(study)).check(study.widths)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            "self.register_buffer('s', torch.eye(3).to_sparse())",
            "the model of width 8 has 's' in its state dict, torch.float32 in torch.sparse_coo, "
            "which cannot be saved: ",
        ),
        (
            "self.__class__.get_extra_state = lambda self: {'a': 1}",
            "the model of width 8 should have tensors alone in its state dict, has '_extra_state' "
            "of type dict",
        ),
    ],
)
def test_check_refuses_a_state_that_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, message: str
) -> None:
    kind = "state " + "".join(filter(str.isalpha, state))[-20:]
    source = NET.replace("CODE", "").replace("(width, classes)\n", f"(width, classes); {state}\n")
    monkeypatch.setitem(KINDS, kind, source)
    study = study_of(tmp_path, kind)
    with pytest.raises(ModelError) as error:
        Models.for_study(study, load_data(study)).check(study.widths)
    assert str(error.value).startswith(message)


@pytest.mark.slow
def test_model_that_overwrites_its_batch_gives_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training, in evaluation, as a teacher and when it is exported."""
    body = """
        class Net(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.layers = plain(width, classes)
            def forward(self, x):
                STEP
                return self.layers(x)

        def build(width, *, in_shape, num_classes):
            return Net(width, num_classes)
    """
    found = []
    for name, step in (("own", "x.mul_(0.5).clamp_(-1, 1)"), ("new", "x = (x * 0.5).clamp(-1, 1)")):
        (tmp_path / name).mkdir()
        monkeypatch.setitem(KINDS, name, body.replace("STEP", step))
        study = study_of(tmp_path / name, name, search={"rungs": 3, "replicates": 2})
        run = tasearch.run(study, runs_dir=tmp_path / name, trials=3)
        tasearch.export(run, tmp_path / name / "out")
        loaded = tasearch.load(tmp_path / name / "out", trust=True)
        x = torch.linspace(-1, 1, 3 * 64).reshape(3, 1, 8, 8)
        kept = x.clone()
        logits = loaded(x)
        assert torch.equal(x, kept)
        found.append(([(t.chain, t.curve, t.accuracies) for t in run.trials], logits))
    (own, first), (new, second) = found
    assert own == new
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "KEPT = {}\ndef build(width, *, in_shape, num_classes):\n"
            "    return KEPT.setdefault(width, plain(width, num_classes))\n",
            "at width 8 should return a new model each time, returned parameters that it had "
            "returned before",
        ),
        (
            "HEAD = {}\ndef build(width, *, in_shape, num_classes):\n"
            "    head = HEAD.setdefault(width, nn.Linear(width, num_classes))\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), head)\n",
            "at width 8 should return a new model each time, returned parameters that it had "
            "returned before",
        ),
        (
            "class Net(nn.Linear):\n    def parameters(self, recurse=True):\n"
            "        raise RuntimeError('mine')\n"
            "def build(width, *, in_shape, num_classes): return Net(64, num_classes)\n",
            "its parameters() raised RuntimeError: mine",
        ),
    ],
)
def test_check_refuses_models_that_share_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    monkeypatch.setitem(KINDS, "odd", code)
    study = study_of(tmp_path, "odd")
    with pytest.raises(ModelError) as error:
        Models.for_study(study, load_data(study)).check(study.widths)
    assert words in str(error.value)


def test_check_accepts_a_shared_frozen_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "BASE = nn.Linear(64, 32).requires_grad_(False)\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), BASE, plain_head(width, num_classes))\n"
        "def plain_head(width, classes):\n"
        "    return nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, classes))\n"
    )
    monkeypatch.setitem(KINDS, "frozen", code)
    study = study_of(tmp_path, "frozen")
    models = Models.for_study(study, load_data(study))
    models.check(study.widths)


STATES = {  # what a constructor's last line, and forward, do to a state dict
    "a hook that drops": (
        "self._register_state_dict_hook("
        "lambda own, state, *_: {name: t for name, t in state.items() if name != 'net.3.bias'})",
        "",
        ": its state dict lacks 'net.3.bias'",
    ),
    "a growing buffer": (
        "self.register_buffer('seen', torch.zeros(1))",
        "self.seen = torch.cat([self.seen, x.new_zeros(1)])",
        ": another of its kind does not take its state: RuntimeError: size mismatch for seen",
    ),
    "no dict": (
        "self.state_dict = lambda *a, **k: 3",
        "",
        ": its state_dict() gave int, no mapping",
    ),
    "no state": (
        "self.state_dict = lambda *a, **k: 1 / 0",
        "",
        ": its state_dict() raised ZeroDivisionError: division by zero",
    ),
    "a kept secret": (
        "self.kept = torch.randn(())",
        "y = y * self.kept",
        ": another of its kind answers otherwise with the same state; keep what decides its "
        "outputs in parameters and buffers",
    ),
    "a refusal": (
        "self.load_state_dict = lambda *a, **k: 1 / 0",
        "",
        ": another of its kind does not take its state: ZeroDivisionError: division by zero",
    ),
}


@pytest.mark.parametrize("kind", STATES)
def test_check_refuses_a_state_that_does_not_carry_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    begins, calls, words = STATES[kind]
    source = NET.replace("CODE", calls).replace(
        "(width, classes)\n", f"(width, classes); {begins}\n"
    )
    monkeypatch.setitem(KINDS, kind, source)
    study = study_of(tmp_path, kind)
    with pytest.raises(ModelError) as error:
        Models.for_study(study, load_data(study)).check(study.widths)
    assert str(error.value).startswith(f"the model of width 8{words}")
