"""A run has one code: what its files said when it began, and whoever imported them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.errors import ExportError, RunError, StudyError
from tasearch.runs.events import HopEnded
from tasearch.search.prepare import prepare
from tests.helpers.runs import events_of
from tests.helpers.studies import tiny

FAMILY = """
from torch import nn

SLOPE = 0.1

def build(width, *, in_shape, num_classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.LeakyReLU(SLOPE), nn.Linear(width, num_classes))
"""


def own(folder: Path, text: str = FAMILY, **sections: Any) -> Study:
    """The tiny study with a family of the user's, written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.py").write_text(text)
    study = tiny(model={"family": "own:build"}, **sections)
    return study.model_copy(update={"root": str(folder)})


def changed(file: Path) -> str:
    return (
        f"{file} changed while the run was going: nothing was trained with the new code; put the "
        f"file back and run the same command again, or give the study another name"
    )


@pytest.mark.slow
def test_run_freezes_module_imported_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The normal order of a notebook; the command line then exports and continues such a run."""
    study = own(tmp_path / "place")
    old = Path(study.root).stat().st_mtime - 10**6
    os.utime(tmp_path / "place/own.py", (old, old))
    monkeypatch.syspath_prepend(study.root)
    sys.modules.pop("own", None)
    importlib.import_module("own")
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    code = f"import sys; sys.argv[1:] = {['export', str(run.path), '--out', 'w', '--trust']!r}\n"
    code += "from tasearch.cli.commands import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    (tmp_path / "place/own.py").write_text(FAMILY.replace("0.1", "0.2"))
    with pytest.raises(
        RunError, match="was made by a different study: the family or its code has changed"
    ):
        tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    (tmp_path / "place/own.py").write_text("# only a comment\n" + FAMILY)
    again = tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    assert len(again.trials) == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_run_refuses_edit_in_mid_run_and_fails_no_trial(tmp_path: Path, workers: int) -> None:
    study = own(tmp_path)
    whole = tasearch.run(study, runs_dir=tmp_path / "whole", trials=4)
    steps = events_of(
        study,
        runs_dir=tmp_path / "cut",
        trials=4,
        workers=workers,
        latency_from=whole.path,
    )

    def edited() -> None:
        for event in steps:
            if isinstance(event, HopEnded) and event.outcome == "complete":
                (tmp_path / "own.py").write_text(FAMILY.replace("0.1", "0.2"))

    with pytest.raises(RunError) as error:
        edited()
    assert str(error.value) == changed(tmp_path / "own.py")
    run = tasearch.Run.open(tmp_path / "cut/tiny")
    assert {trial.state for trial in run.trials} <= {"complete", "running"}
    (tmp_path / "own.py").write_text(FAMILY)
    tasearch.run(study, runs_dir=tmp_path / "cut", trials=4, workers=workers)
    again = tasearch.Run.open(tmp_path / "cut/tiny")
    assert again.trials == whole.trials


@pytest.mark.slow
def test_late_worker_refuses_edited_code(tmp_path: Path) -> None:
    study = own(tmp_path)
    prepared = prepare(study, RunOptions(runs_dir=tmp_path / "runs", workers=2))
    assert prepared.pool is not None
    try:
        (tmp_path / "own.py").write_text(FAMILY.replace("0.1", "0.2"))
        prepared.pool.set_up(
            study,
            prepared.data,
            prepared.run.store(),
            prepared.manifest.modes,
            lambda hop: (),
            prepared.code,
        )
        with pytest.raises(RunError) as error:
            [message for _ in range(9) for message in prepared.pool.events()]
        assert str(error.value) == changed(tmp_path / "own.py")
    finally:
        prepared.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at import", "in training"])
@pytest.mark.parametrize("workers", [1, 2])
def test_change_of_folder_moves_no_run(
    tmp_path: Path, when: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, home = tmp_path / "away", tmp_path / "home"
    away.mkdir()
    home.mkdir()
    text = "import os\n" + FAMILY
    if when == "at import":
        text += f"os.chdir({str(away)!r})\n"
    else:
        text = text.replace("    return", f"    os.chdir({str(away)!r})\n    return")
    study = own(tmp_path / "place", text)
    monkeypatch.chdir(home)
    run = tasearch.run(study, trials=2, workers=workers)
    monkeypatch.chdir(home)
    assert run.path == home / "runs/tiny"
    assert {t.state for t in tasearch.Run.open("runs/tiny").trials} == {"complete"}
    tasearch.export("runs/tiny", "winner", trust=True)
    monkeypatch.chdir(home)
    assert tasearch.load("winner", trust=True) is not None
    assert sorted(p.name for p in home.iterdir()) == ["runs", "winner"]
    assert [*away.iterdir()] == []


@pytest.mark.slow
def test_user_code_needs_trust_to_run(tmp_path: Path) -> None:
    study = own(tmp_path / "place")
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    tasearch.export(run, tmp_path / "out")  # of a run that was made here just now
    sys.modules.pop("own")
    foreign = tasearch.Run.open(run.path)
    words = (
        "runs user code: model.family = 'own:build' is "
        f"{tmp_path / 'place' / 'own.py'}; read it, and pass trust=True (--trust) if you trust it"
    )
    with pytest.raises(ExportError) as error:
        tasearch.export(foreign, tmp_path / "other")
    assert str(error.value) == f"{run.path}: exporting it {words}"
    assert not (tmp_path / "other").exists()
    with pytest.raises(ExportError) as error:
        tasearch.load(tmp_path / "out")
    assert str(error.value) == f"{tmp_path / 'out'}: loading it {words}"
    assert "own" not in sys.modules
    card = (tmp_path / "out/README.md").read_text()
    assert 'tasearch.load(".", trust=True)  # runs own.py (own:build), which is not in here' in card
    tasearch.export(foreign, tmp_path / "other", trust=True)
    assert (tmp_path / "other/metrics.json").exists()
    assert tasearch.load(tmp_path / "out", trust=True) is not None


@pytest.mark.slow
def test_user_data_need_trust_for_export_and_none_for_load(tmp_path: Path, rerun: Any) -> None:
    (tmp_path / "mine.py").write_text(
        "from sklearn.datasets import load_digits\n"
        "def data():\n"
        "    digits = load_digits()\n"
        "    return {'x_train': digits.images, 'y_train': digits.target}\n"
    )
    study = tiny(data={"source": "mine:data"}).model_copy(update={"root": str(tmp_path)})
    run = rerun(study, trials=1)
    tasearch.export(run, tmp_path / "out")
    with pytest.raises(ExportError, match=r"data\.source = 'mine:data' is .*mine\.py; read it"):
        tasearch.export(run.path, tmp_path / "other")
    assert tasearch.load(tmp_path / "out") is not None
    assert 'tasearch.load(".")\n' in (tmp_path / "out/README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)"])
def test_load_and_export_report_code_that_ends_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    study = own(tmp_path / "place")
    deed = f"    import os, sys\n    if os.environ.get('END'): {end}\n    return nn"
    text = FAMILY.replace("    return nn", deed)
    (tmp_path / "place/own.py").write_text(text)
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    tasearch.export(run, tmp_path / "out")
    monkeypatch.setenv("END", "1")
    with pytest.raises(StudyError) as error:
        tasearch.load(tmp_path / "out", trust=True)
    assert str(error.value) == f"code that the export names called {end}"
