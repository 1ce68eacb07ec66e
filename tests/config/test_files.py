from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

import tasearch
from tasearch.cli.early_checks import check_early
from tasearch.config.files import check_regular, not_regular, open_regular
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, render
from tasearch.errors import DataError, RunError, StudyError
from tests.helpers.studies import tiny


def test_open_regular_follows_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        assert not_regular(tmp_path / name) is None
        check_regular(tmp_path / name)
        with open_regular(tmp_path / name) as stream:
            assert stream.read() == b"content"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_open_regular_names_what_is_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for path, words in (
        ("fifo", "is a FIFO, not a file"),
        ("folder", "is a folder, not a file"),
        ("socket", "is a socket, not a file"),
        ("/dev/zero", "is a device, not a file"),
        ("nul\0", "has a NUL in its name"),
        ("lone surrogate \ud800", "has a name that no file can have"),
    ):
        assert not_regular(Path(path)) == words
        for refuse in (check_regular, open_regular):
            with pytest.raises(OSError) as error:  # noqa: PT011
                refuse(Path(path))
            assert error.value.strerror == words


def test_open_regular_keeps_message_of_system(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path / ("n" * 300), "File name too long"),
    ):
        assert not_regular(path) is None
        for refuse in (check_regular, open_regular):
            with pytest.raises(OSError) as error:  # noqa: PT011
                refuse(path)
            assert error.value.strerror == words


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_open_regular_never_waits_for_fifo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    # When it was checked, it was still a file.
    monkeypatch.setattr("tasearch.config.files.check_regular", lambda path: None)
    with pytest.raises(OSError, match="is a FIFO, not a file"):
        open_regular(tmp_path / "fifo")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
def test_run_refuses_folder_not_named_in_utf8(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    (odd / "s.toml").write_text(render(tiny()))
    words = f"{tmp_path}/caf\\udce9"
    with pytest.raises(StudyError) as error:
        load_study(odd / "s.toml")
    assert str(error.value).endswith(f"root: {words}: should be named in UTF-8; rename the folder")
    with pytest.raises(StudyError) as error:
        tasearch.run(tiny().model_copy(update={"root": str(odd)}), runs_dir=tmp_path / "runs")
    assert str(error.value).startswith("study: root: should be a valid string")
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(), runs_dir=odd / "runs")
    assert str(error.value) == (
        f"runs_dir: {words}/runs/tiny: should be named in UTF-8; rename the folder"
    )
    assert sorted(path.name for path in odd.iterdir()) == ["s.toml"]


def test_check_early_finds_module_of_package_without_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder of the same name on Python's path belongs to the package, too."""
    for folder in (tmp_path / "study" / "kept", tmp_path / "here" / "kept"):
        folder.mkdir(parents=True)
    (tmp_path / "study" / "kept" / "own.py").write_text("def build(): ...\n")
    monkeypatch.syspath_prepend(tmp_path / "here")
    study = tiny(model={"family": "kept.own:build"})
    study = study.model_copy(update={"root": str(tmp_path / "study")})
    options = RunOptions(runs_dir=tmp_path / "runs", device="cpu")
    check_early(study, options)
    (tmp_path / "study" / "kept" / "own.py").unlink()
    with pytest.raises(StudyError, match=r"No module named 'kept\.own'"):
        check_early(study, options)


@pytest.mark.parametrize("source", ["npz", "parquet", "imagefolder", "text"])
def test_check_early_knows_what_a_source_reads(tmp_path: Path, source: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    wrong = {"npz": "folder", "imagefolder": "file"}.get(source)
    options = RunOptions(runs_dir=tmp_path / "runs", device="cpu")
    for name in ("folder", "file", "gone"):
        study = tiny(data={"source": source, "path": name})
        study = study.model_copy(update={"root": str(tmp_path)})
        what = {"npz": "data file", "imagefolder": "data folder"}.get(source, "data file or folder")
        words = {
            "gone": f"no such {what}",
            wrong: "cannot be read: is a "
            + ("folder, not a file" if wrong == "folder" else "file, not a folder"),
        }.get(name)
        if words is None:
            check_early(study, options)
            continue
        with pytest.raises(DataError) as error:
            check_early(study, options)
        assert str(error.value) == f"{tmp_path / name}: {words} (data.path = {name!r})"


def test_check_early_finds_missing_tokenizer_and_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.csv").touch()
    options = RunOptions(runs_dir=tmp_path / "runs", device="cpu")

    def study(name: str) -> Study:
        found = tiny(data={"source": "text", "path": "texts.csv", "tokenizer": name})
        return found.model_copy(update={"root": str(tmp_path)})

    check_early(study("hf:some/model"), options)
    with pytest.raises(DataError, match=r"data\.tokenizer: .*none\.json: No such file"):
        check_early(study("none.json"), options)
    (tmp_path / "bert").mkdir()
    with pytest.raises(DataError, match=r"bert: is a folder; name the file tokenizer\.json in it"):
        check_early(study("bert"), options)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"pip install 'tasearch\[text\]'"):
        check_early(study("hf:some/model"), options)
