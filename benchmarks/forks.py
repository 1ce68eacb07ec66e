"""Commands of tasearch by the hundred, each in a new process without the cost of its imports.

The processes are forked from one that has already imported everything. A crash, a hang or a changed
working directory of one command does not affect the next.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import tasearch

ROOT = Path(__file__).resolve().parents[1]
# In place of a command of tasearch:
FACTS = "facts"  # print the content of a run, as the Python interface gives it
LOAD = "load"  # only read a study file
STOPPED = "stopped"  # run a study, and stop in the middle of a hop
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MEMORY = 16 << 30  # bytes of address space of a command, so that it cannot fill the machine
POLL = 0.003  # seconds


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """How a command ended.

    Args:
        code: Exit code; the negative number of the signal that killed it; None: it took too
            long and was killed.
        out: Standard output.
        err: Standard error.
        seconds: Wall-clock time.
    """

    code: int | None
    out: str
    err: str
    seconds: float


def environment() -> dict[str, str]:
    """Environment variables of commands: one thread, no colours, this working tree."""
    plain = {"NO_COLOR": "1", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **ONE_THREAD, **plain}


def run_command(argv: Sequence[object], cwd: Path, timeout: float) -> CommandResult:
    """Run one command in a new interpreter, as a user starts it.

    Args:
        argv: Words of the command, without the program's name.
        cwd: Working directory.
        timeout: Seconds after which it is killed, with all that it started.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasearch", *map(str, argv)],
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=_limit,
            start_new_session=True,
        )
        code: int | None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
        seconds = time.perf_counter() - start
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return CommandResult(code=code, out=texts[0], err=texts[1], seconds=seconds)


class ForkServer:
    """Starts commands from a process that has already imported everything.

    It is a context manager. The process that uses it need not import torch.
    """

    def __enter__(self) -> ForkServer:
        self._folder = tempfile.TemporaryDirectory()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.forks"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        self._folder.cleanup()

    def __call__(
        self, argv: Sequence[object], cwd: Path, *, timeout: float = 120.0, learn: bool = False
    ) -> CommandResult:
        """Run one command.

        Args:
            argv: Words of the command, without the program's name; or one of `FACTS`, `LOAD` and
                `STOPPED`, and its arguments.
            cwd: Working directory.
            timeout: Seconds after which it is killed, with all that it started.
            learn: Whether the modules that this command imports are imported for later ones too.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        folder = Path(self._folder.name)
        request = {"argv": [*map(str, argv)], "cwd": str(cwd), "timeout": timeout}
        request |= {"folder": str(folder), "learn": learn}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        out, err = (
            (folder / name).read_bytes().decode(errors="replace") for name in ("out", "err")
        )
        return CommandResult(**answer, out=out, err=err)


def facts(run: str) -> dict[str, Any]:
    """The content of a run: its trials, its front, and all candidates for the front."""
    opened = tasearch.Run.open(run)
    return {
        "members": [asdict(c) for c in opened.front.members],
        "candidates": [asdict(c) for c in opened.front.candidates],
        "trials": [vars(t) for t in opened.trials],
    }


def _serve() -> None:
    for name in tasearch.__all__:
        getattr(tasearch, name)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        child = os.fork()
        if not child:
            _work(request)
        code = _wait(child, request["timeout"])
        answer = {"code": code, "seconds": time.perf_counter() - start}
        if request["learn"]:
            for name in (Path(request["folder"]) / "modules").read_text().split():
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        print(json.dumps(answer), flush=True)


def _wait(child: int, timeout: float) -> int | None:
    """The child's exit code; None where it took too long and was killed."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _work(request: dict[str, Any]) -> None:
    """In the child: do as a fresh interpreter would, and end."""
    folder, code = Path(request["folder"]), 1
    try:
        os.setsid()
        os.chdir(request["cwd"])
        streams = (Path(os.devnull), folder / "out", folder / "err")
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        flags = (os.O_RDONLY, write, write)
        for number, (name, flag) in enumerate(zip(streams, flags, strict=True)):
            os.dup2(os.open(name, flag), number)
        _limit()
        sys.argv = ["tasearch", *request["argv"]]
        code = _main(request["argv"])
        if request["learn"]:
            (folder / "modules").write_text("\n".join(sorted(sys.modules)))
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _main(argv: list[str]) -> int:
    others: dict[str, Callable[..., Any]] = {
        FACTS: _facts,
        LOAD: tasearch.load_study,
        STOPPED: _stop,
    }
    if argv[0] in others:
        try:
            others[argv[0]](*argv[1:])
        except tasearch.TasearchError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        return 0
    from tasearch.cli.commands import main

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _facts(run: str) -> None:
    print(json.dumps(facts(run), default=_plain))


def _stop(study: str, runs_dir: str, latency_from: str, trials: str) -> None:
    """Run a study until enough trials are complete and a hop has saved a checkpoint."""
    from tasearch.api.running import run_events
    from tasearch.config.run_options import RunOptions

    loaded = tasearch.load_study(study)
    checkpoints = Path(runs_dir) / loaded.name / "checkpoints"
    steps = run_events(loaded, RunOptions(runs_dir=runs_dir, latency_from=latency_from))
    done = 0
    for event in steps:
        done += type(event).__name__ == "TrialDone"
        if done >= int(trials) and any(checkpoints.glob("[!.]*")):
            break
    steps.close()


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else dict(value)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _serve()
