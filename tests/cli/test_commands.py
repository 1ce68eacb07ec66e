"""The command line, run in processes of its own."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.cli import commands as cli
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.cli.run_command import Stop
from tasearch.config.study_file import load_study, render
from tests.helpers.processes import TASEARCH, call, wait_for
from tests.helpers.studies import tiny


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(render(tiny()))
    return file


def test_help_lists_all_commands() -> None:
    assert call("--version") == f"tasearch {tasearch.__version__}\n"
    text = call("--help")
    reading = ("best", "report", "front", "compare", "plot", "dashboard", "export", "status")
    for command in ("run", "check", "enqueue", "confirm", *reading, "init"):
        assert command in text
        own = call(command, "--help")
        assert "--help" in own and own.count(f"tasearch {command} ") == 3  # usage, two examples
        assert "<" not in own.replace("<name of the study>", "")
    assert "Go on to this number of trials" in call("run", "--help")


def test_init_writes_a_study_that_loads_and_refuses_to_overwrite(tmp_path: Path) -> None:
    file = tmp_path / "my study.toml"
    assert f"wrote {file}" in call("init", file)
    assert load_study(file).name == "my-study"
    assert call("init", file, code=2) == f"error: {file}: exists already\n"


@pytest.mark.slow
def test_run_prints_plain_lines_into_a_pipe(finished: tasearch.Run, study_file: Path) -> None:
    folder = study_file.parent
    options = ("--runs-dir", folder / "runs", "--latency-from", finished.path)
    text = call("run", study_file, *options, "--trials", 5)
    assert "\x1b" not in text
    run = tasearch.Run.open(folder / "runs" / "tiny")
    told = re.findall(r"\[(\d)/5\] trial (\d+): (?:complete|pruned) (.*)", text)
    assert sorted(int(number) for _, number, _ in told) == [t.number for t in run.trials]
    mark = "(assistant of another trial)"
    free = {int(number) for _, number, words in told if mark in words}
    assert free == {t.number for t in run.trials if t.free}
    assert [done for done, _, words in told if mark not in words] == ["1", "2", "3", "4", "5"]
    assert text.count("  train 16\n") == text.count("  teacher 16: accuracy ") == 1
    assert "finished: 5 trials are done" in text
    again = call("run", study_file, *options, "--trials", 5)
    assert "  train " not in again
    line = "teacher mlp 16, 1.51 k parameters: trained here, 3 epochs, standardized samples\n"
    assert text.count(line) == again.count(line) == 1
    other = call("run", study_file, *options, "--seed", 3, code=2)
    assert "was made by a different study: seed was 0, is 3" in other


@pytest.mark.slow
def test_run_fails_without_a_finished_student(finished: tasearch.Run, study_file: Path) -> None:
    wild = {"learning_rate": 1e30}  # of assistants too, which are students as well
    study_file.write_text(render(tiny(assistants=wild, student=wild)))
    options = ("--runs-dir", study_file.parent / "runs", "--latency-from", finished.path)
    message = call("run", study_file, *options, code=1)
    said = "error: no chain that was asked for was trained to the end; the last reason: hop 16 → "
    assert said in message


def test_best_prints_on_an_ascii_console(finished: tasearch.Run) -> None:
    done = subprocess.run(
        [*TASEARCH, "best", str(finished.path)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"16 ? " in done.stdout


def test_init_prints_brackets_in_names(tmp_path: Path) -> None:
    file = tmp_path / "a[b].toml"
    assert f"wrote {file}; run it with" in call("init", file)
    assert call("init", file, code=2) == f"error: {file}: exists already\n"


def test_best_refuses_a_limit_of_zero(finished: tasearch.Run) -> None:
    text = call("best", finished.path, "--max-latency-ms", 0, code=2)
    assert text == "error: max_latency_ms: should be above 0, found 0.0\n"


@pytest.mark.slow
def test_best_finds_a_run_by_path_and_by_name(finished: tasearch.Run) -> None:
    best = finished.best()
    text = call("best", finished.path)
    assert finished.trials[best.trial].free
    assert text.splitlines()[0] == (
        f"chain      {best.label}  (trial {best.trial}, an assistant within the budget)"
    )
    assert call("best", "tiny", "--runs-dir", finished.path.parent) == text
    found = json.loads(call("best", finished.path, "--json"))
    assert found["confirmed"] is found["lead_over_direct"] is None  # it has no assistants
    own = {**asdict(best), "label": best.label, "metric": best.metric.name}
    own = json.loads(json.dumps(own))
    assert {name: found[name] for name in own} == own
    needed = {"chain", "recipe", "accuracy", "params", "bytes", "latency_ms", "trial"}
    assert found.keys() >= needed


@pytest.mark.slow
def test_best_ends_with_1_and_the_nearest_miss_if_nothing_fits(finished: tasearch.Run) -> None:
    text = call("best", finished.path, "--max-params", 3, code=1)
    assert text.startswith("error: no candidate fits max_params = 3; the nearest is trial ")
    done = subprocess.run(
        [*TASEARCH, "best", str(finished.path), "--max-params", "3", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["nearest"]["chain"][-1] == 2


@pytest.mark.slow
def test_report_export_and_status_show_a_run(finished: tasearch.Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert f"wrote {page}" in call("report", finished.path, "--out", page)
    assert page.stat().st_size > 500_000  # plotly is inside
    text = call("export", finished.path, "--out", tmp_path / "winner")
    assert "student.onnx" in text
    assert "hops" in call("status", finished.path)


@pytest.mark.slow
def test_run_ends_with_2_on_wrong_input_and_writes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[student]\nwidhts = [1]\n")
    message = call("run", bad, cwd=tmp_path, code=2)
    assert message == f"error: {bad}: student.widhts: unknown key; did you mean 'widths'?\n"
    assert [p.name for p in tmp_path.iterdir()] == ["bad.toml"]
    assert "no such run" in call("best", "nothing", cwd=tmp_path, code=2)
    assert "no such study file" in call("run", bad.with_name("x.toml"), cwd=tmp_path, code=2)
    bad.write_text(render(tiny()))
    assert call("run", bad, "--device", "tpu", cwd=tmp_path, code=2) == (
        'error: --device: should be "auto", "cpu" or "cuda", found \'tpu\'\n'
    )


def start(study_file: Path, finished: tasearch.Run, **options: Any) -> subprocess.Popen[Any]:
    slow = tiny(name="slow", teacher={"epochs": 4000}, search={"rungs": 1000})
    study_file.write_text(render(slow))
    command = [*TASEARCH, "run", str(study_file), "--runs-dir", str(study_file.parent / "runs")]
    command += ["--latency-from", str(finished.path)]
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, if the tests run under it
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGHUP, hang_up)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_signal_ends_a_run_and_shows_how_to_continue(
    finished: tasearch.Run, study_file: Path, number: signal.Signals
) -> None:
    process = start(study_file, finished, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    partial = study_file.parent / "runs" / "slow" / "checkpoints"
    wait_for(lambda: partial.exists() and any(partial.glob("*.safetensors")))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, out + err
    assert "stopping after this epoch" in err
    assert "Traceback" not in err
    assert f"This continues:\n  tasearch run {study_file}" in out
    assert len(list(partial.iterdir())) == 1
    assert "8 interrupted" in call("status", study_file.parent / "runs" / "slow")


@pytest.mark.slow
def test_signal_ends_a_preparation_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    study = tiny(model={"family": "own:build"})
    (tmp_path / "s.toml").write_text(render(study))
    command = [*TASEARCH, "run", str(tmp_path / "s.toml"), "--runs-dir", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "stopped while preparing\n")
    assert f"This continues:\n  tasearch run {tmp_path}/s.toml" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_run_reports_an_exit_of_user_code(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import sys\ndef data():\n    sys.exit(0)\n")
    (tmp_path / "s.toml").write_text(render(tiny(data={"source": "own:data"})))
    text = call("run", tmp_path / "s.toml", "--runs-dir", tmp_path / "runs", code=2)
    assert text.endswith("error: data.source: 'own:data' raised SystemExit: 0\n")
    assert not (tmp_path / "runs").exists()


def test_stop_waits_for_imports() -> None:
    """Imports that are cut off would fail later with messages of their own."""
    reached = []

    def importing(stop: Stop) -> None:
        with stop.later():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("the end")

    with Stop() as stop, pytest.raises(KeyboardInterrupt):
        importing(stop)
    assert reached


@pytest.mark.slow
def test_terminal_shows_the_front_and_the_hop(finished: tasearch.Run, study_file: Path) -> None:
    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    command = [*TASEARCH, "run", str(study_file), "--runs-dir", str(study_file.parent / "runs")]
    command += ["--latency-from", str(finished.path), "--trials", "6"]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    text = b""
    while True:
        ready, _, _ = select.select([screen], [], [], 60)
        assert ready, "nothing on the terminal for a minute"
        try:
            piece = os.read(screen, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        text += piece
    assert process.wait() == 0
    shown = text.decode()
    for words in ("front so far", "accuracy", "6/6", " left", "ship ", "tasearch export "):
        assert words in shown
    assert re.search(r"training +16 ", shown)


@pytest.mark.slow
def test_run_refuses_a_second_driver(finished: tasearch.Run, study_file: Path) -> None:
    process = start(study_file, finished, stdout=subprocess.DEVNULL)
    try:
        events = study_file.parent / "runs" / "slow" / "events.jsonl"
        wait_for(lambda: events.exists() and b'"start"' in events.read_bytes())
        run_dir = study_file.parent / "runs"
        message = call("run", study_file, "--runs-dir", run_dir, code=2)
        assert message.endswith(
            f"error: {run_dir / 'slow'}: another tasearch is running or confirming it\n"
        )
        assert "8 running" in call("status", run_dir / "slow")  # reading is free
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_run_survives_a_full_disk(finished: tasearch.Run, study_file: Path) -> None:
    """A limit on the size of files makes the system refuse to write, as a full disk does."""
    folder = study_file.parent
    options = ["--runs-dir", str(folder / "runs"), "--latency-from", str(finished.path)]
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import tasearch.cli.commands\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))\n"
        f"sys.argv = ['tasearch', 'run', {str(study_file)!r}, *{options!r}]\n"
        "tasearch.cli.commands.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "no room left on the disk; what is finished is kept" in done.stderr
    call("run", study_file, *options)
    run = tasearch.Run.open(folder / "runs" / "tiny")
    assert [t.accuracy for t in run.trials] == [t.accuracy for t in finished.trials]


def test_run_reports_a_full_disk_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "journal.log")

    monkeypatch.setattr(cli, "invoke", full)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: journal.log: no room left on the disk")


def test_want_of_memory_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_cpu = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
    on_cpu += "memory: you tried to allocate 39600000000 bytes. Error code 12 (Cannot allocate)"
    on_gpu = "CUDA out of memory. Tried to allocate 36.88 GiB. GPU 0 has a total capacity of 1 GiB"
    for said, words in (
        (on_cpu, "needs 39.6 GB of memory, more than there is"),
        (on_gpu, "needs 36.88 GiB of the GPU's memory, more than is free"),
    ):

        def full(*arguments: object, text: str = said) -> int:
            raise RuntimeError(text)

        monkeypatch.setattr(cli, "invoke", full)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert (end.value.code, capsys.readouterr().err) == (2, f"error: this {words}\n")


def test_interrupt_during_exit_prints_no_traceback() -> None:
    code = (
        "import atexit, os, signal, sys\n"
        "from tasearch.cli.commands import main\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['tasearch', '--version']\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
