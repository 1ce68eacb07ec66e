"""Sizes with names, from the study to the verdict and the exported student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, parse_study
from tasearch.errors import RunError, StudyError
from tests.helpers.commands import command
from tests.helpers.runs import facts

WIDTHS = {"l": 16, "m": 8, "s": 6, "xs": 4}


def ladder(*names: str, **sections: Any) -> Study:
    """A study of multilayer perceptrons with these sizes."""
    sizes = [{"name": name, "width": WIDTHS[name]} for name in names]
    epochs = {"epochs": 2}
    return parse_study(
        {
            "name": "named",
            "model": {"family": "mlp", "sizes": sizes},
            "teacher": epochs,
            "assistants": epochs,
            "student": epochs,
            "training": {"modes": dict.fromkeys(names, "fp32")},
            "latency": {"backend": "torch"},
            "search": {"trials": 5, "rungs": 2},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    return tasearch.run(ladder("l", "m", "s", "xs"), runs_dir=tmp_path_factory.mktemp("runs"))


def test_chains_are_shown_by_names_and_stored_by_numbers(run: tasearch.Run) -> None:
    assert [trial.label for trial in run.trials][:2] == ["l → xs", "l → s"]
    assert run.trials[0].chain == (4, 1)
    assert run.trials[0].hops[-1].width == 1
    again = tasearch.Run.open(run.path)
    assert [trial.label for trial in again.trials] == [trial.label for trial in run.trials]
    assert [*map(str, again.manifest.measured)] == ["l", "m", "s", "xs"]
    attrs = again.study.trials[0].user_attrs
    assert (attrs["chain"], attrs["sizes"]) == ([4, 1], ["l", "xs"])


def test_commands_tell_names(run: tasearch.Run, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("best", "front", "status"):
        assert command(capsys, name, run.path)[0] == 0
    code, out, _ = command(capsys, "best", run.path, "--json", "--max-params", 400)
    found = json.loads(out)
    assert (code, found["chain"][-1], found["sizes"][-1]) == (0, 1, "xs")
    assert found["label"].endswith("→ xs")
    code, out, _ = command(capsys, "report", run.path)
    page = (run.path / "report.html").read_text("utf-8")
    assert code == 0
    assert "l → m" in page


def test_same_study_continues_and_another_ladder_is_another_study(run: tasearch.Run) -> None:
    assert facts(tasearch.run(ladder("l", "m", "s", "xs"), runs_dir=run.path.parent)) == facts(run)
    with pytest.raises(RunError, match=r"different study: model\.sizes was"):
        tasearch.run(ladder("l", "m", "xs"), runs_dir=run.path.parent)


def test_weights_of_a_size_depend_on_no_other_size(run: tasearch.Run, tmp_path: Path) -> None:
    other = tasearch.run(ladder("l", "xs", search={"trials": 1, "rungs": 2}), runs_dir=tmp_path)
    (trial,), first = other.trials, run.trials[0]
    assert (trial.label, trial.chain, first.chain) == ("l → xs", (2, 1), (4, 1))
    assert [use.key for use in trial.hops] == [use.key for use in first.hops]
    assert trial.curve == first.curve
    with pytest.raises(RunError, match="should measure size m with 698 params, has no measurement"):
        tasearch.run(ladder("m", "xs", name="lent"), runs_dir=tmp_path, latency_from=run.path)


def test_chain_is_queued_by_names(run: tasearch.Run, tmp_path: Path) -> None:
    queued = tasearch.enqueue(run, "l -> m -> s -> xs")
    assert queued.label == "l → m → s → xs"
    for words, message in (
        ("4-1", 'chain: should be sizes joined by "-", such as s-xs, found "4-1"'),
        ("s-m", "chain: sizes should fall strictly, found s → m"),
        ("l", "chain: should end in a student, one of m, s, xs"),
    ):
        with pytest.raises(StudyError) as error:
            tasearch.enqueue(run, words)
        assert str(error.value) == message
    with pytest.raises(RunError, match="queued already"):
        tasearch.enqueue(run, ["m", "s", "xs"])


def test_export_trains_again_from_its_study(run: tasearch.Run, tmp_path: Path) -> None:
    chosen = next(t for t in run.trials if len(t.chain) == 2)
    run.export(tmp_path / "winner", trial=chosen.number)
    study = load_study(tmp_path / "winner" / "chain.toml")
    assert [*map(str, (study.teacher.width, *study.student.widths))] == chosen.label.split(" → ")
    assert {*study.training.modes} == {*chosen.label.split(" → ")}
    again = tasearch.run(study, runs_dir=tmp_path)
    assert again.trials[0].curve == chosen.curve
    loaded = tasearch.load(tmp_path / "winner").predict(np.zeros((2, 1, 8, 8), np.float32))
    assert len(loaded.labels) == 2


@pytest.mark.slow
def test_verdicts_name_sizes(run: tasearch.Run) -> None:
    found = run.confirm(max_params=400)
    assert [*map(str, found.comparisons[0].first.chain)][-1] == "xs"
    assert "xs" in found.comparisons[0].label
    read = tasearch.Run.open(run.path).confirmations[-1]
    assert read.comparisons[0].label == found.comparisons[0].label


def test_names_of_a_family_that_breaks_its_order_are_told(tmp_path: Path) -> None:
    with pytest.raises(tasearch.TasearchError) as error:
        tasearch.run(ladder("s", "m"), runs_dir=tmp_path)
    assert str(error.value) == (
        "model.family: 'mlp': parameters should fall from size to size, found 514 at size s and "
        "698 at m"
    )


def build(*, in_shape: tuple[int, ...], num_classes: int, depth: int, width: int) -> nn.Module:
    """Dense layers, as deep and as wide as its size says."""
    features = int(np.prod(in_shape))
    hidden = [nn.Linear(width, width) for _ in range(depth)]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, width), *hidden, nn.ReLU(), nn.Linear(width, num_classes)
    )


@pytest.mark.slow
def test_search_takes_sizes_with_arguments(tmp_path: Path) -> None:
    y = np.arange(120) % 3
    x = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32) + np.eye(3, 6)[y]
    run = tasearch.search(
        x,
        y,
        build=build,
        widths={
            "l": {"width": 8, "depth": 2},
            "m": {"width": 8, "depth": 1},
            "s": {"width": 4, "depth": 1},
        },
        student_widths=["s"],
        epochs=1,
        trials=2,
        study={
            "training": {"precision": "fp32", "stack": "never"},
            "latency": {"backend": "torch"},
        },
        runs_dir=tmp_path,
        progress=False,
    )
    assert {trial.label for trial in run.trials} == {"l → s", "l → m → s", "l → m"}
    smallest = next(trial.number for trial in run.trials if trial.label == "l → s")
    assert run.best(trial=smallest).model.net[-1].in_features == 4
    assert load_study(run.path / "inputs" / "study.toml").widths == (3, 2, 1)
