"""A search from Python is the search of a study file with the same data and code."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tasearch
from tasearch.config.study_file import load_study
from tasearch.errors import TasearchError
from tasearch.runs.events import Event, TrialDone
from tests.helpers.commands import command
from tests.helpers.notebook import Notebook
from tests.helpers.runs import facts
from tests.helpers.studies import tiny

rng = np.random.default_rng(0)
Y = np.arange(120) % 3
X = (rng.normal(size=(120, 6)) + 2 * np.eye(3, 6)[Y]).astype(np.float32)
SECTIONS: dict[str, Any] = {"training": {"precision": "fp32"}, "latency": {"backend": "torch"}}
BUILTIN: dict[str, Any] = {
    "build": "mlp",
    "widths": [12, 8, 4, 2],
    "epochs": 2,
    "trials": 4,
    "study": SECTIONS,
    "progress": False,
}
NETS = """
from torch import nn
DEPTH = 1
class Net(nn.Module):
    def __init__(self, width, features, classes):
        super().__init__()
        layers = [nn.Linear(width, width) for _ in range(DEPTH)]
        self.layers = nn.Sequential(nn.Linear(features, width), *layers, nn.ReLU())
        self.last = nn.Linear(width, classes)
    def forward(self, x):
        return self.last(self.layers(x))
def build(width, *, in_shape, num_classes):
    return Net(width, in_shape[0], num_classes)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, in which the program runs; its modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in {*sys.modules} - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def refused(**arguments: Any) -> str:
    with pytest.raises(TasearchError) as error:
        tasearch.search(**({"x": X, "y": Y} | BUILTIN | arguments))
    return str(error.value)


@pytest.mark.slow
def test_search_is_the_run_of_a_study_file(place: Path) -> None:
    run = tasearch.search(X, Y, **BUILTIN)
    np.savez("mine.npz", x_train=X, y_train=Y)
    study = tiny(
        name="file",
        data={"source": "npz", "path": str(place / "mine.npz")},
        teacher={"width": 12, "epochs": 2},
        assistants={"max": 3, "widths": [8, 4], "epochs": 2},
        student={"widths": [8, 4, 2], "epochs": 2},
        search={"trials": 4, "rungs": 8, "n_startup_trials": 6},
    )
    same = tasearch.run(study, runs_dir="runs", latency_from=run.path)
    assert [vars(t) for t in run.trials if not t.audit] and facts(run) == facts(same)
    assert run.manifest.inputs == same.manifest.inputs
    assert not (same.path / "inputs").exists()


@pytest.mark.slow
def test_classes_are_called_by_their_names(place: Path) -> None:
    names = np.array(["red", "white", "blue"])[Y]
    run = tasearch.search(X, names, **BUILTIN)
    run.export("winner")
    found = tasearch.load("winner").predict(X)
    assert {*found.labels} <= {"red", "white", "blue"}
    numbered = tasearch.load("winner").class_names
    assert found.labels == tuple(numbered[place] for place in found.classes.tolist())
    assert tasearch.load("winner").class_names == ("blue", "red", "white")
    others = np.array(["rot", "weiss", "blau"])[Y]
    assert "data" in refused(y=others)


def test_same_call_continues_and_more_trials_extend(place: Path) -> None:
    own: dict[str, Any] = BUILTIN | {"trials": 3}
    run = tasearch.search(X, Y, **own)
    events = run.directory.events()
    again = tasearch.search(X.astype(np.float64), torch.tensor(Y), **own)
    assert facts(again) == facts(run)
    assert len(again.directory.events()) == len(events) + 2  # a search that had nothing to do
    assert load_study(run.path / "inputs/study.toml").search.trials == 3
    more = tasearch.search(X, Y, **BUILTIN)
    assert sum(not t.free for t in more.trials) == 4
    assert load_study(run.path / "inputs/study.toml").search.trials == 4


def test_stopped_search_goes_on_as_if_it_had_not_been(place: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, TrialDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tasearch.search(X, Y, **BUILTIN, on_event=stop)
    assert repr(tasearch.Run.open("search")).startswith("<Run 'search': stopped, 1 trial, ")
    run = tasearch.search(X, Y, **BUILTIN)
    whole = tasearch.search(X, Y, **BUILTIN, runs_dir="whole", latency_from=run.path)
    assert facts(run) == facts(whole)


@pytest.mark.slow
def test_command_line_continues_and_exports(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasearch.search(X, Y, **(BUILTIN | {"trials": 3}))
    assert command(capsys, "run", "runs/search/inputs/study.toml", "--trials", 5)[0] == 0
    run = tasearch.Run.open("search")
    assert sum(not t.free for t in run.trials) == 5
    assert command(capsys, "export", "search", "--out", "winner")[0] == 0
    assert tasearch.load("winner")(torch.tensor(X[:2])).shape == (2, 3)


@pytest.mark.slow
def test_functions_of_a_notebook_are_kept_with_the_run(place: Path) -> None:
    notebook = Notebook()
    names = notebook.run(NETS)
    own: dict[str, Any] = BUILTIN | {"build": names.build, "trials": 2}
    run = tasearch.search(X, Y, **own)
    best = run.best()
    x = torch.tensor(X[:5])
    logits = best.model(x)
    assert type(best.model.net).__name__ == "Net"
    assert (run.path / "inputs/own_build.py").read_text().count("DEPTH = 1") == 1

    notebook.run("# a comment, and the same again\n" + NETS)
    assert facts(tasearch.search(X, Y, **(own | {"build": notebook.names["build"]}))) == facts(run)

    notebook.run("DEPTH = 2")
    another = "give the search another name, or use another runs_dir"
    assert refused(**own) == f"{run.path}: was made with another build; {another}"
    assert refused(**(own | {"x": X + 1})).startswith(f"{run.path}: was made with ")

    shutil.move("runs", "elsewhere")
    moved = tasearch.Run.open("elsewhere/search", trust=True)
    torch.testing.assert_close(moved.best().model(x), logits, rtol=0, atol=0)


@pytest.mark.slow
def test_trained_teacher_is_frozen_as_it_is(place: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, 3)).eval()
    own: dict[str, Any] = BUILTIN | {"teacher": net, "widths": [8, 4], "trials": 2}
    run = tasearch.search(X, Y, **own)
    assert run.manifest.study.teacher.width == 16
    assert run.best().label.startswith("Sequential → ")
    assert run.manifest.measured[16].params == sum(p.numel() for p in net.parameters())
    assert run.manifest.study.teacher.loaded and run.manifest.study.teacher.inputs == "raw"
    assert facts(tasearch.search(X, Y, **own)) == facts(run)
    net[0].bias.data += 1
    assert refused(**own) == (
        f"{run.path}: was made with another teacher; give the search another name, or use another "
        f"runs_dir"
    )
    assert net.training is False and all(p.requires_grad for p in net.parameters())


@pytest.mark.slow
def test_modules_of_the_user_are_copied_and_stay_imported(place: Path) -> None:
    Path("mynets.py").write_text("from myparts import DEPTH\n" + NETS.replace("DEPTH = 1\n", ""))
    Path("myparts.py").write_text("DEPTH = 1\n")
    mynets = importlib.import_module("mynets")
    own: dict[str, Any] = BUILTIN | {"build": mynets.build, "trials": 2}
    run = tasearch.search(X, Y, **own)
    assert sys.modules["mynets"] is mynets
    assert run.manifest.study.model.family == "mynets:build"
    assert {f.name for f in (run.path / "inputs").iterdir()} == (
        {"data.npz", "study.toml", "mynets.py", "myparts.py"}
    )
    assert facts(tasearch.search(X, Y, **(own | {"build": "mynets:build"}))) == facts(run)
    assert type(run.best().model.net) is not mynets.Net and sys.modules["mynets"] is mynets
    Path("myparts.py").write_text("DEPTH = 2\n")
    assert refused(**own) == (
        f"{run.path}: was made with another myparts.py; give the search another name, or use "
        f"another runs_dir"
    )


@pytest.mark.slow
def test_functions_may_be_in_sections(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASEARCH_CACHE", str(place / "cache"))
    notebook = Notebook()
    names = notebook.run(
        "import numpy as np\nimport torch.nn.functional as F\nfrom optuna.samplers import "
        "RandomSampler\n"
        "def data():\n    y = np.arange(60) % 3\n"
        "    return {'x_train': np.eye(3)[y], 'y_train': y}\n"
        "def soft(logits, labels, targets, terms):\n"
        "    return F.mse_loss(logits, targets)\n"
        "sampler = lambda seed: RandomSampler(seed=seed)\n"
        "def shaken(x):\n    return x + np.random.rand()\n"
    )
    run = tasearch.search(
        **BUILTIN
        | {
            "loss": ["kd", names.soft],
            "trials": 3,
            "study": SECTIONS
            | {"data": {"source": names.data}, "search": {"sampler": names.sampler}}
            | {"training": SECTIONS["training"] | {"augment": names.shaken, "views": 2}},
        }
    )
    study = run.manifest.study
    assert study.student.loss == study.assistants.loss == ("kd", "own_soft:soft")
    assert (study.data.source, study.search.sampler) == ("own_data:data", "own_sampler:sampler")
    assert study.training.augment == "own_shaken:shaken"
    assert sum(t.state == "complete" for t in run.trials) >= 3


@pytest.mark.slow
def test_workers_change_nothing_and_a_run_is_confirmed(place: Path) -> None:
    own: dict[str, Any] = BUILTIN | {"build": Notebook().run(NETS).build, "trials": 6}
    run = tasearch.search(X, Y, **own)
    assert not run.confirmations
    other = tasearch.search(X, Y, **own, runs_dir="others", workers=2, latency_from=run.path)
    assert facts(other) == facts(run)
    found = run.confirm(front=True)
    assert found.finished and run.confirmations == [found]


def test_run_of_a_file_is_not_continued(place: Path) -> None:
    study = tiny(name="search", search={"trials": 1}, student={"widths": [2]})
    run = tasearch.run(study, runs_dir="runs")
    before = run.path.joinpath("run.json").read_bytes()
    assert refused() == (
        f"{run.path.absolute()}: was made from a study file, not by a search; give the search "
        f"another name, or use another runs_dir"
    )
    assert not (run.path / "inputs").exists()
    assert run.path.joinpath("run.json").read_bytes() == before


def test_inputs_of_a_search_that_never_began_are_replaced(place: Path) -> None:
    folder = place / "runs/search/inputs"
    folder.mkdir(parents=True)
    (folder / "data.npz").write_bytes(b"half")
    (folder / "own_old.py").write_bytes(b"")
    tasearch.search(X, Y, **(BUILTIN | {"trials": 1}))
    assert {f.name for f in folder.iterdir()} == {"data.npz", "study.toml"}


@pytest.mark.slow
def test_failed_search_leaves_nothing(place: Path) -> None:
    def build(width: int, *, in_shape: Any, num_classes: int) -> nn.Module:
        raise ValueError(f"no width {width}")

    assert refused(build=build) == (
        "model.family: 'own_build:build' at width 12 raised ValueError: no width 12"
    )
    assert [*place.iterdir()] == []


@pytest.mark.slow
def test_failed_change_leaves_the_inputs_as_they_were(place: Path) -> None:
    run = tasearch.search(X, Y, **BUILTIN)
    files = {f: f.read_bytes() for f in (run.path / "inputs").iterdir()}

    def soft(logits: Any, labels: Any, targets: Any, terms: Any) -> Any:
        return logits

    message = refused(loss=["kd", soft])
    assert message == (
        "loss 'own_soft:soft' should give a scalar tensor with a gradient, gave shape (2, 3)"
    )
    assert "teacher.epochs was 2, is 3;" in refused(epochs=3)
    assert {f: f.read_bytes() for f in (run.path / "inputs").iterdir()} == files


NET = nn.Linear(6, 3).eval()
MODULE = "put the function into a module, a .py file, and import it from there"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "widths rise": (
        {"widths": [8, 16, 32]},
        "widths: should be widths, strictly decreasing, such as [64, 32, 16], found [8, 16, 32]",
    ),
    "widths twice": (
        {"student_widths": [4, 4]},
        "student_widths: should be widths, strictly decreasing, such as [64, 32, 16], found [4, 4]",
    ),
    "widths a number": (
        {"widths": 8},
        "widths: should be widths, strictly decreasing, such as [64, 32, 16], found 8",
    ),
    "one width": (
        {"widths": [8]},
        "widths: should have the teacher's and one more, found [8]; or bring a teacher",
    ),
    "wide student": (
        {"student_widths": [16]},
        "search: student.widths[0]: should be below the teacher's width 12, found 16",
    ),
    "train mode": (
        {"teacher": nn.Linear(6, 3)},
        "teacher: is in train mode, where it answers otherwise: call .eval() first",
    ),
    "other device": (
        {"teacher": nn.Linear(6, 3, device="meta").eval()},
        "teacher: uses 'weight', which is on the device 'meta'; bring teacher.cpu()",
    ),
    "teacher a number": ({"teacher": 3}, "teacher: should be a function or a name, found 3"),
    "build a model": (
        {"build": NET},
        "build: is a module (Linear); bring the function that makes it: build(width, *, in_shape, "
        "num_classes)",
    ),
    "loss a module": (
        {"loss": nn.CrossEntropyLoss()},
        "loss: is a module (CrossEntropyLoss); bring a function",
    ),
    "lambda of eval": (
        {"build": eval("lambda width, **shapes: None")},
        "build: was typed at a prompt or made by exec, so its source is not known: " + MODULE,
    ),
    "unknown family": (
        {"build": "cn"},
        "search: model.family: unknown name 'cn'; did you mean 'cnn'?",
    ),
    "unknown module": (
        {"build": "no_such_module:build"},
        "build: 'no_such_module:build': importing it raised ModuleNotFoundError: No module named "
        "'no_such_module'",
    ),
    "data twice": (
        {"study": {"data": {"source": "digits"}}},
        "x: is given twice, as data.source of study too; leave one out",
    ),
    "name twice": (
        {"study": {"name": "other"}},
        "name: is given twice, as name of study too; leave one out",
    ),
    "teacher trained again": (
        {"teacher": NET, "study": {"teacher": {"epochs": 3}}},
        "teacher: is given twice, as teacher.epochs of study too; leave one out",
    ),
    "epochs twice": (
        {"epochs": 2, "study": {"student": {"epochs": 3}}},
        "epochs: is given twice, as student.epochs of study too; leave one out",
    ),
    "epochs of a trained teacher twice": (
        {"epochs": 2, "study": {"teacher": {"epochs": 3}}},
        "epochs: is given twice, as teacher.epochs of study too; leave one out",
    ),
    "loss twice": (
        {"loss": "ce", "study": {"assistants": {"loss": "kd"}}},
        "loss: is given twice, as assistants.loss of study too; leave one out",
    ),
    "root": ({"study": {"root": "."}}, "study: root: leave it out: it is a folder of the run"),
    "no sections": ({"study": [1]}, "study: should be a dict of sections, found [1]"),
    "no section": ({"study": {"data": 3}}, "search: data: should be a table, found 3"),
    "unknown key": (
        {"study": {"training": {"batch": 3}}},
        "search: training.batch: unknown key; did you mean 'batch_size'?",
    ),
    "budget": ({"budget": 3}, "budget: should be a dict or a Budget, found 3"),
    "limit": (
        {"budget": {"max_param": 3}},
        "search: budget.max_param: unknown key; did you mean 'max_params'?",
    ),
    "name": ({"name": "a/b"}, "search: name: should have letters of A to Z, "),
    "event": ({"on_event": 3}, "on_event: should be a function, found 3"),
    "workers": ({"workers": 0}, 'workers: should be "auto" or a number from 1 to 1,024, found 0'),
    "generator": (
        {"x": (x for x in X)},
        "x: is a generator, which can be read only once; bring arrays, lists, or a dataset of "
        "torch with __len__ and __getitem__",
    ),
    "no data": (
        {"x": None, "y": None},
        'x: samples are missing; bring them, or name a source: study={"data": {"source": ...}}',
    ),
    "nothing": ({"x": None, "y": None, "validation": (X, Y)}, "validation: goes with x, which is "),
    "shape": ({"x": X[0]}, "search: x_train: samples should be (n, features), (n, height, width)"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_argument_is_refused(arguments: Any, message: str, place: Path) -> None:
    found = refused(**arguments)
    assert found.startswith(message) and (found == message or not message.endswith(("'", "8", "3")))
    assert [*place.iterdir()] == []


def test_function_search_is_not_replaced_by_the_room() -> None:
    room = importlib.import_module("tasearch.search")
    tasearch.search = room  # type: ignore[assignment]  # as the import of the room does
    assert callable(tasearch.search) and tasearch.search.__module__ == "tasearch.api.search"
    assert importlib.import_module("tasearch.search.steps").__package__ == room.__name__
