"""Commands that are wrong in any way: one message each, no traceback, nothing written, no torch."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

import tasearch
from tasearch.cli import commands as cli
from tasearch.cli import exit_codes
from tasearch.cli.console import SafeConsole
from tasearch.cli.strict import invoke
from tasearch.config.study_file import load_study, render
from tasearch.errors import DataError, printable
from tests.helpers.studies import tiny

ESCAPES = "\x1b]0;title\x07\x1b[2J\r\u202e\x9b1m"
SHOWN = "\\x1b]0;title\\x07\\x1b[2J\\r\\u202e\\x9b1m"
LONG = "a" * 300
TASEARCH = [sys.executable, "-m", "tasearch"]

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """The exit code of a command and what it says on standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        code = exit_codes.exit_code(lambda: invoke(cli.app, [*map(str, arguments)]))
        return code, capsys.readouterr().err

    return run


USAGE = [  # arguments, and what is said
    (["run"], "Missing argument 'STUDY.toml'; see tasearch run --help"),
    (["nothing"], "No such command 'nothing'; see tasearch --help"),
    (["run", "s", "--nothing"], "No such option: --nothing; see tasearch run --help"),
    (["run", "a", "b"], "Got unexpected extra argument(s) (b); see tasearch run --help"),
    (["run", ""], "STUDY.toml: should not be empty; see tasearch run --help"),
    (["best", ""], "RUN: should not be empty; see tasearch best --help"),
    (["best", "r", "--runs-dir", ""], "--runs-dir: should not be empty; see tasearch best --help"),
    (["report", "r", "--out", ""], "--out: should not be empty; see tasearch report --help"),
    (["run", "s", "--device", ""], "--device: should not be empty; see tasearch run --help"),
    (
        ["run", "s", "--trials", "3", "--trials", "4"],
        "--trials: is given 2 times; see tasearch run --help",
    ),
    (
        ["best", "r", "--max-params=3", "--max-params", "4", "--max-params=5"],
        "--max-params: is given 3 times; see tasearch best --help",
    ),
    (["best", "r", "--json", "--json"], "--json: is given 2 times; see tasearch best --help"),
    (
        ["run", "s", "--trials", str(10**30)],
        f"--trials: should be less than or equal to 1000000, found '{10**30}'; "
        "see tasearch run --help",
    ),
    (
        ["run", "s", "--trials", "0"],
        "--trials: should be greater than or equal to 1, found '0'; see tasearch run --help",
    ),
    (
        ["run", "s", "--trials", "x"],
        "--trials: should be a valid integer, found 'x'; see tasearch run --help",
    ),
    (
        ["run", "s", "--seed", str(2**32)],
        "--seed: should be less than or equal to 4294967295, found '4294967296'; "
        "see tasearch run --help",
    ),
    (
        ["best", "r", "--max-latency-ms", "-1"],
        "--max-latency-ms: should be greater than or equal to 0, found '-1'; "
        "see tasearch best --help",
    ),
    (
        ["best", "r", "--max-latency-ms", "nan"],
        "--max-latency-ms: should be less than or equal to 1000000000, found 'nan'; "
        "see tasearch best --help",
    ),
    (
        ["best", "r", "--max-latency-ms", "inf"],
        "--max-latency-ms: should be less than or equal to 1000000000, found 'inf'; "
        "see tasearch best --help",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_parser_refuses_each_wrong_argument_in_one_line(
    said: Said, arguments: list[str], message: str
) -> None:
    assert said(*arguments) == (2, f"error: {message}\n")


def test_run_refuses_each_wrong_study_without_torch(tmp_path: Path) -> None:
    """In one process, so that what one command imports would be seen after it."""
    (tmp_path / "a file").write_text("")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise SystemExit(3)\n")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    root = tmp_path.resolve()
    own = f"looked in {root} and the Python path"
    cases: list[tuple[dict[str, Any], list[str], str]] = [
        ({}, ["--device", "tpu"], '--device: should be "auto", "cpu" or "cuda", found \'tpu\''),
        ({}, ["--engine", "dask"], '--engine: should be "local" or "ray", found \'dask\''),
        ({}, ["--address", "auto"], "--address: goes with --engine ray"),
        (
            {},
            ["--engine", "ray", "--address", "head"],
            "--address: should be \"auto\" or HOST:PORT, such as 10.0.0.1:6379, found 'head'",
        ),
        (
            {},
            ["--workers", "0"],
            "--workers: should be \"auto\" or a number from 1 to 1,024, found '0'",
        ),
        (
            {},
            ["--workers", "9" * 30],
            f"--workers: should be \"auto\" or a number from 1 to 1,024, found '{'9' * 30}'",
        ),
        ({}, ["--runs-dir", "a file"], "--runs-dir: a file: is no folder"),
        ({}, ["--runs-dir", "a file/deeper"], "--runs-dir: a file: is no folder"),
        ({}, ["--runs-dir", "fifo"], "--runs-dir: fifo: is no folder"),
        ({}, ["--runs-dir", "link"], "--runs-dir: link: is a link to nothing"),
        (
            {},
            ["--runs-dir", LONG],
            f"--runs-dir: {LONG}/tiny: cannot be used: File name too long",
        ),
        (
            {},
            ["--latency-from", "nothing"],
            "nothing: no such run; `tasearch run STUDY.toml` makes",
        ),
        (
            {"data": {"source": "npz", "path": "x.npz"}},
            [],
            f"{root}/x.npz: no such data file (data.path = 'x.npz')",
        ),
        (
            {"data": {"source": "npz", "path": "fifo"}},
            [],
            f"{root}/fifo: cannot be read: is a FIFO, not a file (data.path = 'fifo')",
        ),
        (
            {"data": {"source": "npz", "path": "package"}},
            [],
            f"{root}/package: cannot be read: is a folder, not a file (data.path = 'package')",
        ),
        (
            {"data": {"source": "parquet", "path": "x"}},
            [],
            f"{root}/x: no such data file or folder (data.path = 'x')",
        ),
        (
            {"data": {"source": "npz", "path": LONG}},
            [],
            f"{root}/{LONG}: cannot be read: File name too long (data.path = '{LONG}')",
        ),
        (
            {"teacher": {"checkpoint": "t.safetensors"}},
            [],
            f"teacher.checkpoint: {root}/t.safetensors: No such file or directory",
        ),
        (
            {"teacher": {"checkpoint": "fifo"}},
            [],
            f"teacher.checkpoint: {root}/fifo: is a FIFO, not a file",
        ),
        (
            {"model": {"family": "absent:build"}},
            [],
            f"model.family: 'absent:build': No module named 'absent'; {own}",
        ),
        (
            {"student": {"loss": "package.absent:loss"}},
            [],
            f"student.loss: 'package.absent:loss': No module named 'package.absent'; {own}",
        ),
    ]
    commands = []
    for i, (sections, options, _) in enumerate(cases):
        (tmp_path / f"{i}.toml").write_text(render(tiny(**sections)))
        commands.append(["run", f"{i}.toml", *options])
    (tmp_path / "bad.toml").write_text("[student]\nwidhts = 3\n")
    cases.append(({}, [], "bad.toml: student.widhts: unknown key; did you mean 'widths'?"))
    commands.append(["run", "bad.toml"])
    before = {file.name for file in tmp_path.iterdir()}
    code = (
        "import contextlib, io, json, sys\n"
        "from tasearch.cli import commands as cli\n"
        "from tasearch.cli import exit_codes\n"
        "from tasearch.cli.strict import invoke\n"
        "def said(arguments):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as stream:\n"
        "        code = exit_codes.exit_code(lambda: invoke(cli.app, arguments))\n"
        "    heavy = [m for m in ('torch', 'numpy', 'optuna', 'sklearn') if m in sys.modules]\n"
        "    return code, heavy, stream.getvalue()\n"
        "print(json.dumps([said(arguments) for arguments in json.load(sys.stdin)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    for (_, _, message), (code_, heavy, text) in zip(cases, json.loads(done.stdout), strict=True):
        assert (code_, heavy) == (2, []), text
        assert text.startswith(f"error: {message}") and text.count("\n") == 1
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("command", ["best", "status", "report", "export", "plot", "front"])
def test_commands_refuse_what_is_no_run(said: Said, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    options = {
        "export": ["--out", tmp_path / "out"],
        "plot": ["front", "--out", tmp_path / "front.html"],
    }
    out = options.get(command, [])
    runs = tmp_path / "runs"
    for name in ("file", "fifo", "folder", "nothing", "file/x"):
        path = tmp_path / name
        assert said(command, path, "--runs-dir", runs, *out) == (
            2,
            f"error: {path}: no such run; `tasearch run STUDY.toml` makes one in {runs}/\n",
        )
    assert said(command, LONG, "--runs-dir", runs, *out) == (
        2,
        f"error: {LONG}: cannot be opened: File name too long\n",
    )
    assert said(command, "a\0b", *out) == (2, "error: run: should have no NUL, found 'a\\x00b'\n")


def test_report_overwrites_no_other_file(
    said: Said, finished: tasearch.Run, tmp_path: Path
) -> None:
    (tmp_path / "x.html").mkdir()
    os.mkfifo(tmp_path / "fifo.html")
    (tmp_path / "file").write_text("mine")
    run = finished.path
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file()}
    rule = "--out: should end in .html or .htm, for it is a page of HTML, found"
    hint = "; `tasearch plot` writes single figures, as images too"
    for out, message in (
        ("front.png", f"{rule} '{tmp_path}/front.png'{hint}"),
        ("page", f"{rule} '{tmp_path}/page'{hint}"),
        (run / "run.json", f"{rule} '{run}/run.json'{hint}"),
        (run / "journal.log", f"{rule} '{run}/journal.log'{hint}"),
        (tmp_path, f"{rule} '{tmp_path}'{hint}"),
        ("x.html", f"--out: {tmp_path}/x.html: is a folder, not a file"),
        ("fifo.html", f"--out: {tmp_path}/fifo.html: is a FIFO, not a file"),
        ("file/x.html", f"--out: {tmp_path}/file: is no folder"),
    ):
        assert said("report", run, "--out", tmp_path / out) == (2, f"error: {message}\n")
    assert {file: file.read_bytes() for file in before} == before
    assert (tmp_path / "file").read_text() == "mine"


def test_report_says_why_a_run_folder_takes_no_page(
    said: Said, finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *args, **options: False)
    hint = "; write the page elsewhere with --out (in Python out)"
    for flags, why in ((os.ST_RDONLY, "its disk is read-only"), (0, "no permission")):
        state = SimpleNamespace(f_flag=flags)
        monkeypatch.setattr(os, "statvfs", lambda folder, found=state: found)
        words = f"cannot be written to: {why}"
        run, page = finished.path, tmp_path / "page.html"
        assert said("report", run) == (2, f"error: {run}: {words}{hint}\n")
        assert said("report", run, "--out", page) == (2, f"error: --out: {tmp_path}: {words}\n")


def test_export_refuses_a_path_that_is_no_folder(
    said: Said, finished: tasearch.Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert said("export", finished.path, "--out", out) == (
            2,
            f"error: --out: {tmp_path}/file: is no folder\n",
        )


def test_init_refuses_existing_and_impossible_files(said: Said, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    for name, message in (
        (".", f"{tmp_path}: exists already"),
        ("file", f"{tmp_path}/file: exists already"),
        ("fifo", f"{tmp_path}/fifo: exists already"),
        ("link", f"{tmp_path}/link: exists already"),
        ("file/s.toml", f"{tmp_path}/file/s.toml: {tmp_path}/file: is no folder"),
        (LONG, f"{tmp_path}/{LONG}: cannot be written: File name too long"),
    ):
        assert said("init", tmp_path / name) == (2, f"error: {message}\n")
    for name in ("con.toml", "ü ñ.toml", ".toml", f"{'b' * 240}.toml", "a\nb.toml", "..toml"):
        assert said("init", tmp_path / name) == (0, "")
        assert load_study(tmp_path / name)


def broken(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(errno.EPIPE, "x"), 141, ""),
        (MemoryError(), 2, "error: there is not enough memory for this\n"),
        (
            SystemExit(0),
            2,
            "error: code that the study file names called sys.exit(0)\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/x/run.json"),
            2,
            "error: runs/x/run.json: Permission denied\n",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", b"journal.log"),
            2,
            "error: journal.log: No such file or directory\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "x"),
            2,
            "error: x: no room left on the disk; what is finished is kept, make room and run the "
            "same command again\n",
        ),
        (OSError("odd"), 2, "error: the system: odd\n"),
        (
            ZeroDivisionError("by\nzero"),
            70,
            "error: unforeseen, please report it: ZeroDivisionError: by; TASEARCH_DEBUG=1 shows "
            "where\n",
        ),
        (
            RecursionError("deep"),
            70,
            "error: unforeseen, please report it: RecursionError: deep; TASEARCH_DEBUG=1 shows "
            "where\n",
        ),
        (DataError(f"x{ESCAPES}"), 2, f"error: x{SHOWN}\n"),
    ],
)
def test_exit_code_prints_one_message_for_each_exception(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    assert exit_codes.exit_code(broken(error)) == code
    assert capsys.readouterr().err == message


def test_exit_code_prints_a_traceback_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(exit_codes.DEBUG, "1")
    assert exit_codes.exit_code(broken(ZeroDivisionError("x"))) == exit_codes.UNFORESEEN
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "error: unforeseen, please report it: ZeroDivisionError: x"


def test_console_escapes_control_characters() -> None:
    table = Table(title=ESCAPES)
    table.add_column(ESCAPES, no_wrap=True)
    table.add_row(Text(ESCAPES, style="bold"))
    table.add_row(ESCAPES)
    for terminal in (False, True):
        stream = io.StringIO()
        console = SafeConsole(file=stream, force_terminal=terminal, width=200, markup=False)
        for thing in (ESCAPES, Text(ESCAPES), table):
            console.print(thing, highlight=False)
        shown = stream.getvalue()
        assert "]0;title" in shown and "\x1b]" not in shown and "\x1b[2J" not in shown
        assert not set("\x07\r\u202e\x9b") & set(shown)
        assert shown.startswith(SHOWN)


def test_printable_keeps_plain_text() -> None:
    assert printable("16 → 8, 64 %\n\tü") == "16 → 8, 64 %\n\tü"
    assert printable(ESCAPES) == SHOWN
    assert printable("\udcff") == "\\udcff"


@pytest.mark.slow
def test_run_escapes_control_characters_of_user_exceptions(said: Said, tmp_path: Path) -> None:
    (tmp_path / "own_escapes.py").write_text(f"def data():\n    raise ValueError({ESCAPES!r})\n")
    file = tmp_path / "s.toml"
    file.write_text(render(tiny(data={"source": "own_escapes:data"})))
    code, text = said("run", file, "--runs-dir", tmp_path / "runs")
    assert code == 2
    assert "ValueError" in text and "[2J" in text
    assert printable(text) == text


def shell(line: str, **environment: str) -> tuple[int, str]:
    """The exit code of a shell's pipe, which is that of its first failing command, and stderr."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("tasearch", " ".join(TASEARCH), 1)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stderr


@pytest.mark.slow
def test_commands_end_quietly_if_their_output_is_closed(finished: tasearch.Run) -> None:
    assert shell(f"tasearch status {finished.path} | true") in [(0, ""), (141, "")]
    assert shell("tasearch best --help | true") in [(0, ""), (141, "")]
    assert shell("tasearch --version >&-") == (0, "")
    code, text = shell("tasearch --version > /dev/full")
    assert code == 2 and text.startswith("error: the system: no room left on the disk")
    assert shell("tasearch best nothing 2>&-") == (2, "")


@pytest.mark.slow
def test_commands_work_on_poor_terminals(finished: tasearch.Run) -> None:
    poor = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "10"}
    for command in ("--help", f"best {finished.path}", f"status {finished.path}"):
        assert shell(f"tasearch {command}", **poor) == (0, "")
    found = [shell(f"tasearch best {finished.path} | wc -l", COLUMNS=n) for n in ("0", "80")]
    assert found[0] == found[1]
