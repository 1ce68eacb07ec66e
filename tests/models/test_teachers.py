"""Teachers that are loaded, or taken as a factory returns them: read, and never trained."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from threadpoolctl import threadpool_limits
from torch import nn

import tasearch
from tasearch.chains.hop import Hop
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, parse_study
from tasearch.data import load_data
from tasearch.errors import ModelError, StudyError, TrainingError
from tasearch.exports.export import FILES
from tasearch.models import Models
from tasearch.models.numerics import cpu_threads
from tasearch.runs.events import HopEnded, HopStarted
from tasearch.search.prepare import prepare
from tasearch.train.tasks import train_hop
from tasearch.train.trainer import Trainer
from tests.helpers.studies import tiny

OWN = """
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

digits = load_digits()
made = []

def trained(*, in_shape, num_classes):
    made.append(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    fit = LogisticRegression(max_iter=3000).fit(digits.data, digits.target)
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor(fit.coef_))
        net[1].bias.copy_(torch.tensor(fit.intercept_))
    return net

class Forest(nn.Module):
    def __init__(self):
        super().__init__()
        self.forest = RandomForestClassifier(20, random_state=0).fit(digits.data, digits.target)
    def forward(self, x):
        share = self.forest.predict_proba(x.flatten(1).numpy())
        return torch.tensor(np.log(share + 1e-3), dtype=torch.float32)

def forest(*, in_shape, num_classes):
    return Forest()

class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = {x.astype("f4").tobytes(): int(y) for x, y in zip(digits.data, digits.target)}
    def forward(self, x):
        found = [self.known[row.tobytes()] for row in x.flatten(1).numpy()]
        return 5.0 * torch.eye(10)[found]

def table(*, in_shape, num_classes):
    return Table()

class Odd(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what
    def forward(self, x):
        y = torch.zeros(len(x), 10)
        if self.what == "nan":
            y[-1, 3] = float("nan")
        elif self.what == "raises":
            raise LookupError("no such sample")
        elif self.what == "tuple":
            return y, y
        elif self.what == "softmax":
            y = y.softmax(1)
        return y

def nan(*, in_shape, num_classes):
    return Odd("nan")
def raises(*, in_shape, num_classes):
    return Odd("raises")
def pair(*, in_shape, num_classes):
    return Odd("tuple")
def softmax(*, in_shape, num_classes):
    return Odd("softmax")

def counting(*, in_shape, num_classes):
    from threadpoolctl import threadpool_info
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    counts = [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]
    tiny = float(torch.tensor(5e-324, dtype=torch.float64) * 1)
    with torch.no_grad():
        net[1].bias[:2] = torch.tensor([float(sum(counts)) / len(counts), float(tiny > 0)])
    return net

def moody(*, in_shape, num_classes):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    with torch.no_grad():
        net[1].bias += torch.tensor(np.random.default_rng().normal(size=10))
    return net
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "teachers.py").write_text(OWN)
    return tmp_path


def study_of(root: Path, name: str, **more: Any) -> Study:
    teacher = {"width": 64, "factory": f"teachers:{name}", "epochs": 0, **more.pop("teacher", {})}
    content: dict[str, Any] = {
        "teacher": teacher,
        "assistants": {"max": 1, "widths": [12], "epochs": 1},
        "student": {"widths": [4], "epochs": 1},
        "search": {"trials": 2, "rungs": 1},
        **more,
    }
    return tiny(**content).model_copy(update={"root": str(root)})


LOADED = pytest.mark.parametrize(
    ("name", "words", "least"),
    [
        ("trained", "teacher trained, 650 parameters: loaded, frozen, raw samples", 0.97),
        ("forest", "teacher forest, 0 parameters: loaded, frozen, raw samples", 0.97),
        ("table", "teacher table, 0 parameters: loaded, frozen, raw samples", 1.0),
    ],
)


@LOADED
def test_factorys_model_keeps_its_predictions(
    root: Path, name: str, words: str, least: float
) -> None:
    study = study_of(root, name)
    data = load_data(study)
    models = Models.for_study(study, data)
    assert models.describe_teacher() == words
    part = data.validation
    predicted = models.build(64)((torch.tensor(part.x) - models.mean) / models.std).argmax(1)
    assert float((predicted.numpy() == part.y).mean()) >= least


@pytest.mark.slow
@LOADED
def test_run_takes_a_factorys_model_unchanged(
    root: Path, name: str, words: str, least: float
) -> None:
    """On raw samples, to the last bit; an export trains its student again from the same."""
    study = study_of(root, name)
    said: list[Any] = []
    run = tasearch.run(study, runs_dir=root / "runs", on_event=said.append)
    (teacher,) = (e for e in said if isinstance(e, HopEnded) and e.teacher)
    assert teacher.accuracy >= least
    assert {e.epochs for e in said if isinstance(e, HopStarted)} == {0, 1}
    assert {trial.state for trial in run.trials} == {"complete"}
    lines: list[str] = []
    with closing(prepare(study, RunOptions(runs_dir=root / "runs"), say=lines.append)) as prepared:
        assert lines == [words] == [prepared.teacher]
    tasearch.export(run, root / "out")
    assert {file.name for file in (root / "out").iterdir()} == {*FILES}
    again = tasearch.run(load_study(root / "out" / "chain.toml"), runs_dir=root / "again")
    hops = {p.name: p.read_bytes() for p in (run.path / "hops").iterdir()}
    for file in (again.path / "hops").iterdir():
        assert hops[file.name] == file.read_bytes()


WRAPPED = (
    "teacher trained, 650 parameters: loaded, frozen, raw samples; "
    "the file's state_dict, names without 'module.'"
)


def wrapped(root: Path) -> Study:
    """A study whose teacher was saved by a training on several GPUs."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    named = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": named, "epoch": 3}, root / "t.pt")
    return study_of(root, "trained", teacher={"checkpoint": "t.pt"})


def test_line_tells_what_was_done_to_the_checkpoint(root: Path) -> None:
    study = wrapped(root)
    assert Models.for_study(study, load_data(study)).describe_teacher() == WRAPPED


@pytest.mark.slow
def test_run_keeps_what_was_done_to_the_checkpoint(root: Path) -> None:
    run = tasearch.run(wrapped(root), runs_dir=root / "runs")
    (begun,) = (event for event in run.directory.events() if event["event"] == "search")
    assert begun["teacher"].startswith(f"{WRAPPED}; right in ")


@pytest.mark.slow
def test_export_compares_the_student_with_a_loaded_teacher(root: Path) -> None:
    """The teacher knows every digit, so that agreement with it is accuracy."""
    run = tasearch.run(study_of(root, "table"), runs_dir=root / "runs")
    found = measured(run, root / "out")
    assert found["agreement_with_teacher"] == found["accuracy"] > 0
    opened = tasearch.Run.open(run.path)
    unknown = {**found, "agreement_with_teacher": None}
    assert measured(opened, root / "out") == unknown  # its factory is not trusted
    assert measured(opened, root / "out", trust=True) == found
    text = (root / "teachers.py").read_text()
    for code in ("torch.eye(10).flip(0)[found]", "{}[found]"):  # another teacher, and an error
        (root / "teachers.py").write_text(text.replace("torch.eye(10)[found]", code))
        assert measured(opened, root / "out", trust=True) == unknown


def measured(run: tasearch.Run, out: Path, **options: Any) -> dict[str, Any]:
    """The quality on the test part in an export."""
    tasearch.export(run, out, **options)
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())["test"]
    return found


@pytest.mark.slow
def test_run_times_teacher_without_onnx_in_torch(root: Path) -> None:
    study = study_of(root, "table", latency={"backend": "onnx"})
    with closing(prepare(study, RunOptions(runs_dir=root / "runs"))) as prepared:
        (notice,) = (line for line in prepared.notices if "latency is" in line)
    assert notice.startswith(
        "the teacher's latency is torch's, not ONNX Runtime's: "
        "width 64: the model cannot be exported to ONNX: "
    )
    assert prepared.manifest.device.startswith("ONNX Runtime ")
    assert prepared.manifest.measured[64].params == 0


@pytest.mark.slow
def test_run_builds_a_loaded_teacher_once(root: Path) -> None:
    study = study_of(root, "trained")
    tasearch.run(study, runs_dir=root / "runs")
    import teachers  # type: ignore[import-not-found]

    assert len(teachers.made) == 1


def test_description_tells_that_a_factorys_model_is_trained(root: Path) -> None:
    study = study_of(root, "trained", teacher={"epochs": 2}, assistants={"max": 0})
    models = Models.for_study(study, load_data(study))
    words = "teacher trained, 650 parameters: trained here, 2 epochs, standardized samples"
    assert models.describe_teacher() == words
    plain = tiny(model={"family": "cnn"}, teacher={"width": 64, "epochs": 1})
    words = "teacher cnn 64, 76 k parameters: trained here, 1 epoch, standardized samples"
    assert Models.for_study(plain, load_data(plain)).describe_teacher() == words


WRONG = {
    "nan": "should give finite logits of at most 65,504 in size, gave nan, and such for 6 of 359 "
    "validation samples",
    "raises": "failed on a batch of shape (64, 1, 8, 8): LookupError: no such sample",
    "pair": "should give logits of shape (64, 10), gave tuple; "
    "return the logits alone, or an object with them as .logits",
    "softmax": "should give logits, gave probabilities: for all of 359 samples its outputs lie in "
    "0 .. 1 and sum to 1; return what goes into the softmax",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_run_refuses_a_loaded_teacher_without_finite_logits(root: Path, name: str) -> None:
    with pytest.raises(ModelError) as error:
        tasearch.run(study_of(root, name), runs_dir=root / "runs")
    assert str(error.value) == f"teacher.factory: 'teachers:{name}': the teacher {WRONG[name]}"
    assert not (root / "runs").exists()


def test_run_refuses_a_checkpoint_without_finite_logits(root: Path) -> None:
    study = study_of(root, "trained", teacher={"checkpoint": "t.safetensors"})
    net = nn.Linear(64, 10)
    state = {"1.weight": torch.full_like(net.weight, 3e38), "1.bias": net.bias.detach()}
    save_file(state, root / "t.safetensors")
    with pytest.raises(ModelError) as error:
        tasearch.run(study, runs_dir=root / "runs")
    assert str(error.value) == (
        f"teacher.checkpoint: {root / 't.safetensors'}: the teacher should give finite logits of "
        "at most 65,504 in size, gave inf, and such for 359 of 359 validation samples"
    )


def test_build_refuses_a_checkpoint_that_has_changed(root: Path) -> None:
    study = study_of(root, "trained", teacher={"checkpoint": "t.safetensors"})
    file, net = root / "t.safetensors", nn.Linear(64, 10)
    save_file({"1.weight": net.weight.detach(), "1.bias": net.bias.detach()}, file)
    models = Models.for_study(study, load_data(study))
    models.teacher()
    save_file({"1.weight": net.weight.detach(), "1.bias": 2 * net.bias.detach()}, file)
    with pytest.raises(ModelError) as error:
        models.build(64)
    assert str(error.value) == (
        f"teacher.checkpoint: {file}: changed since it was first read; start again"
    )


@pytest.mark.slow
def test_teacher_without_finite_logits_ends_the_search(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "check_teacher", lambda *args: None)
    with pytest.raises(TrainingError) as error:
        tasearch.run(study_of(root, "nan"), runs_dir=root / "runs")
    assert str(error.value) == "hop nan: the model's outputs are not finite"


def test_origin_of_a_teacher_holds_the_digest_of_its_weights(root: Path) -> None:
    study = study_of(root, "trained")
    data = load_data(study)
    first = Models.for_study(study, data)
    assert Models.for_study(study, data).teacher() == first.teacher()
    net = first._loaded.net
    digest = first.teacher().origin
    assert digest is not None and digest.endswith("+raw")
    moody = study_of(root, "moody")
    origins = {Models.for_study(moody, data).teacher().origin for _ in range(3)}
    assert len(origins) == 3
    assert not any(p.requires_grad for p in net.parameters()) and not net.training


def test_factory_is_identified_by_the_source_beside_its_study(tmp_path: Path) -> None:
    """Another study of this process may have a module of the same name."""
    origins = []
    for folder, more in (("a", ""), ("b", "\nMORE = 1\n"), ("b", "\nMORE = 1\n")):
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        (root / "teachers.py").write_text(OWN + more)
        study = study_of(root, "table")
        origins.append(Models.for_study(study, load_data(study)).teacher().origin)
    assert origins[0] != origins[1] == origins[2]


@pytest.mark.parametrize(("threads", "flush"), [(1, False), (1, True), (2, False)])
def test_factory_makes_the_same_weights_with_any_settings_of_the_process(
    root: Path, threads: int, flush: bool
) -> None:
    """A fit of scikit-learn's has other last bits with several threads."""
    study = study_of(root, "counting")
    with cpu_threads(threads, flush_denormals=flush), threadpool_limits(threads):
        net = Models.for_study(study, load_data(study))._loaded.net
        denormal = torch.tensor(5e-324, dtype=torch.float64) * 1
        assert torch.get_num_threads() == threads and (float(denormal) == 0) == flush
    assert net.net[1].bias[:2].tolist() == [1, 1]  # type: ignore[union-attr, index]


@pytest.mark.slow
def test_hop_of_a_random_factory_fails_with_its_reason(root: Path) -> None:
    study = study_of(root, "moody")
    with closing(prepare(study, RunOptions(runs_dir=root / "runs"))) as prepared:
        other = Models.for_study(study, prepared.data)
        trainer = Trainer(
            study=study,
            models=other,
            data=prepared.data,
            store=prepared.run.store(print),
            device=prepared.device,
            modes=prepared.manifest.modes,
        )
        hop = Hop(lineage=(prepared.models.teacher(),))
        (end,) = (m for m in train_hop(trainer, hop) if isinstance(m, HopEnded))
    assert (end.outcome, end.reason) == (
        "failed",
        "hop moody: teacher.factory: 'teachers:moody' should make the same weights in every "
        "process, made others than when the run began",
    )


def test_study_without_epochs_needs_a_factory_or_a_checkpoint(root: Path) -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"teacher": {"epochs": 0}})
    assert str(error.value) == (
        "study: teacher.epochs: should be at least 1 without teacher.factory or "
        "teacher.checkpoint, found 0"
    )


def test_teacher_gets_whole_raw_samples_bit_for_bit(root: Path) -> None:
    study = study_of(root, "table")
    data = load_data(study)
    models, seen = Models.for_study(study, data), []
    net = models.build(64)
    net.net.register_forward_pre_hook(lambda module, x: seen.append(x[0]))  # type: ignore[union-attr, operator]
    x = torch.tensor(data.validation.x).float()
    net((x - models.mean) / models.std)
    assert np.array_equal(seen[0].numpy(), data.validation.x)
