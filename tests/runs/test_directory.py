"""Run directories: where they may be, and files that are missing or belong to another run."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch import RunError, StoreError
from tasearch.config.study_file import render
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import HopStarted
from tasearch.runs.manifest import MeasurementsFile, manifest_of
from tasearch.runs.seals import HashChain, seal_json, unseal_json
from tests.helpers.commands import command
from tests.helpers.damage import EDITED, resumed
from tests.helpers.runs import facts
from tests.helpers.studies import tiny

FILES = ("run.json", "measurements.json", "journal.log", "events.jsonl", "lock", "hops")


def test_run_that_is_prepared_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path / "new")
    with run.claimed():
        for name, options in (("new", ["--runs-dir", tmp_path]), (run.path, [])):
            for words in (["best"], ["status"], ["front"], ["report"]):
                code, shown, said = command(capsys, *words, name, *options)
                assert (code, shown) == (2, "")
                assert said == (
                    f"error: {run.path}: the run is still preparing, and there is nothing to read "
                    f"yet; try again when it trains\n"
                )
    assert "no such run" in command(capsys, "best", run.path)[2]


def test_folder_that_is_not_held_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for files in (("lock",), ("lock", "notes.txt")):
        for name in files:
            (tmp_path / name).write_text("a text")
        assert "no such run" in command(capsys, "best", tmp_path)[2]
    assert (tmp_path / "lock").read_text() == "a text"


def test_run_refuses_files_of_another_run(copy: Path, finished: tasearch.Run, rerun: Any) -> None:
    other = rerun(tiny(seed=1), trials=2).path
    for name in ("measurements.json", "journal.log"):
        shutil.copy(other / name, copy / name)
    with pytest.raises(RunError) as error:
        _ = tasearch.Run.open(copy).trials
    assert str(error.value).startswith(f"{copy / 'journal.log'}: ")
    shutil.copy(finished.path / "journal.log", copy / "journal.log")
    shutil.copy(other / "run.json", copy / "run.json")
    for call in (
        lambda: tasearch.Run.open(copy).trials,
        lambda: tasearch.run(tiny(seed=1), runs_dir=copy.parent),
    ):
        with pytest.raises(RunError) as error:
            call()
        assert str(error.value) == (
            f"{copy / 'journal.log'}: is the journal of another run than run.json's, or of an "
            f"older version of tasearch; put the right one back, or remove it: `tasearch run` on "
            f"the same study then tries the same chains again, from the hops that are stored"
        )


def test_run_refuses_measurements_of_another_run(copy: Path) -> None:
    file = copy / "measurements.json"
    content = unseal_json("measurements", file.read_bytes())
    content["measurements"][0]["latency_ms"] *= 2
    del content["seal"]
    file.write_bytes(seal_json("measurements", content))
    with pytest.raises(RunError) as error:
        RunDirectory(copy).read()
    assert str(error.value).startswith(
        f"{copy / 'run.json'}: and measurements.json are of different runs; "
    )


def test_search_writes_a_missing_run_json_of_its_study(copy: Path, finished: tasearch.Run) -> None:
    file = copy / "run.json"
    file.unlink()
    with pytest.raises(RunError) as error:
        tasearch.Run.open(copy)
    assert str(error.value) == f"{file}: is missing; `tasearch run` on the same study writes it"
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(student={"epochs": 5}), runs_dir=copy.parent)
    assert str(error.value) == (
        f"{file}: is missing, and journal.log is not of this study with these data, models and "
        f"measurements; put the file back, give the study another name, or use another "
        f"--runs-dir (in Python runs_dir)"
    )
    assert not file.exists()
    run, events = resumed(copy)
    assert facts(run) == facts(finished)
    assert run.manifest == finished.manifest
    assert not any(isinstance(event, HopStarted) for event in events)


def test_run_moves_together_with_its_study(tmp_path: Path, finished: tasearch.Run) -> None:
    project, moved = tmp_path / "project", tmp_path / "elsewhere" / "moved"
    run = RunDirectory(project / "runs" / "tiny")
    run.path.mkdir(parents=True)
    (project / "own.py").write_text("")
    study = finished.manifest.study.model_copy(update={"root": str(project)})
    run.write(replace(finished.manifest, study=study))
    shutil.copytree(project, moved)
    shutil.rmtree(project)
    assert RunDirectory(moved / "runs" / "tiny").read().study.root == str(moved)


@pytest.mark.slow
def test_run_with_user_code_moves_together_with_its_study(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "own.py").write_text(
        "from torch import nn\n"
        "def net(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),\n"
        "                         nn.Linear(width, num_classes))\n"
        "def data():\n"
        "    from sklearn.datasets import load_digits\n"
        "    found = load_digits()\n"
        "    return {'x_train': found.images[:600], 'y_train': found.target[:600]}\n"
    )
    study = tiny(data={"source": "own:data"}, model={"family": "own:net"})
    study = study.model_copy(update={"root": str(project)})
    run = tasearch.run(study, trials=2, runs_dir=project / "runs")
    before = facts(run)
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(project, moved)
    shutil.rmtree(project)
    there = tasearch.Run.open(moved / "runs" / "tiny")
    assert there.manifest.study.root == str(moved)
    assert facts(there) == before
    best = tasearch.export(there, tmp_path / "winner", trust=True)
    assert asdict(best) == asdict(there.best())
    alone = Path(shutil.copytree(there.path, tmp_path / "alone" / "tiny"))
    shutil.move(moved, project)
    assert tasearch.Run.open(alone).manifest.study.root == str(project)


@pytest.mark.parametrize("kind", ["folder", "file", "nothing"])
def test_search_refuses_a_place_that_is_no_run(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "tiny"
    if kind == "folder":
        (place / "hops").mkdir(parents=True)
        (place / "thesis.tex").write_text("mine")
        message = "is no run, and holds 'thesis.tex'"
    elif kind == "file":
        place.write_text("mine")
        message = "is no folder"
    else:
        place.symlink_to(tmp_path / "gone")
        message = "is a link to nothing"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(), runs_dir=tmp_path)
    other = "; give the study another name, or use another --runs-dir (in Python runs_dir)"
    assert str(error.value) == (
        f"{place}: {message}{other}" if kind == "folder" else f"runs_dir: {place}: {message}"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_run_directory_may_be_a_link(tmp_path: Path, finished: tasearch.Run) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tiny").symlink_to(tmp_path / "disk")
    run = tasearch.run(tiny(), trials=2, runs_dir=tmp_path / "runs", latency_from=finished.path)
    assert (tmp_path / "disk" / "run.json").is_file()
    assert facts(run) == facts(finished)[:2]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
@pytest.mark.parametrize("name", FILES)
def test_commands_refuse_folders_and_pipes_in_place_of_files(
    copy: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    file = copy / name
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    if kind == "folder" and name != "hops":
        file.mkdir()
    else:
        os.mkfifo(file)
    study = copy.parent / "tiny.toml"
    study.write_text(render(tiny()))
    for arguments in (["best", copy, "--json"], ["status", copy], ["run", study]):
        options = ["--runs-dir", copy.parent, "--workers", "1"][: 4 if "run" in arguments else 2]
        code, out, err = command(capsys, *arguments, *options)
        assert code in (0, 2), (arguments, err)
        assert err.count("error: ") == (code == 2)
        assert code == 0 or name in err
        assert "Traceback" not in out + err


@pytest.mark.parametrize("name", ["run.json", "measurements.json"])
def test_search_checks_the_run_that_lends_its_latencies(
    copy: Path, name: str, tmp_path: Path
) -> None:
    file = copy / name
    file.write_bytes(
        file.read_bytes().replace(b'"fp32"', b'"bf16"').replace(b'"seed": 0', b'"seed": 1')
    )
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(), trials=1, runs_dir=tmp_path / "new", latency_from=copy)
    assert str(error.value).startswith(f"{file}: {EDITED}; ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "at", [1, 5, 13, *(pytest.param(at, marks=pytest.mark.slow) for at in (2, 3, 8, 21))]
)
def test_full_disk_at_any_write_is_one_message(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Writes are those of whole files, of the journal and of the event log."""
    count, fsync, seal = 0, os.fsync, HashChain.seal

    def tick() -> None:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def syncing(handle: int) -> None:
        tick()
        fsync(handle)

    def sealing(chain: HashChain, content: Any) -> bytes:
        line = seal(chain, content)
        tick()
        return line

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", syncing)
        patch.setattr(HashChain, "seal", sealing)
        with pytest.raises(StoreError) as error:
            tasearch.run(tiny(), trials=2, runs_dir=tmp_path, latency_from=finished.path)
    assert str(error.value).endswith(
        ": no room left on the disk; what is finished is kept, make room and run the same command "
        "again"
    )
    run = tasearch.run(tiny(), trials=2, runs_dir=tmp_path, latency_from=finished.path)
    assert facts(run) == facts(finished)[:2]
    assert not run.directory.history().damage


def test_run_json_keeps_names_of_classes(finished: tasearch.Run) -> None:
    """Numbers are left out, so that the file of a run without names stays as it was."""
    plain = finished.manifest
    named = replace(plain, names=tuple("abcdefghij"), identity="")
    for manifest in (plain, named):
        blob, lent = manifest.run_json(finished.path), manifest.measurements_json()
        assert (b"class_names" in blob) == bool(manifest.names)
        read = manifest_of(blob, MeasurementsFile.from_json(lent), finished.path)
        assert (read.names, read.class_names) == (manifest.names, manifest.class_names)
    assert plain.class_names == tuple("0123456789")
    assert named.identity == plain.identity  # names are in the digest of the data
