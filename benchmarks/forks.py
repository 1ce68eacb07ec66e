"""Commands of tasearch by the hundred: each in a process of its own, forked from one that has
imported everything already, so that a command costs what it does and not its imports.

A crash, a hang or a changed working directory of one command does not touch the next.
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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import tasearch

ROOT = Path(__file__).resolve().parents[1]
FACTS = "facts"  # in place of a command: what Python says of a run
LOAD = "load"  # in place of a command: a study file is only read
STOPPED = "stopped"  # in place of a command: a run that is left in the middle of a hop
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MEMORY = 16 << 30  # bytes of address space that a command may ask for: a machine is not ours alone
POLL = 0.003


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Args:
        code: exit code; negative: the signal that killed it; None: it was ended for its time.
        out: standard output.
        err: standard error.
        seconds: wall-clock time.
    """

    code: int | None
    out: str
    err: str
    seconds: float


def environment() -> dict[str, str]:
    """Of commands: one thread, no colours, this working tree."""
    plain = {"NO_COLOR": "1", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **ONE_THREAD, **plain}


def command(argv: Sequence[object], cwd: Path, timeout: float) -> Ended:
    """The same in an interpreter of its own, as a user starts it."""
    words = [sys.executable, "-m", "tasearch", *map(str, argv)]
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            words,
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
        seconds = time.perf_counter() - begun
        texts = [
            (stream.seek(0), stream.read())[1].decode(errors="replace") for stream in (out, err)
        ]
    return Ended(code=code, out=texts[0], err=texts[1], seconds=seconds)


class Forks:
    """The process that commands are forked from.

    Use it as a context manager, in a process that need not have imported torch.
    """

    def __enter__(self) -> Forks:
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
    ) -> Ended:
        """Run one command.

        Args:
            argv: its words, without the program's name; `[FACTS, run]` for `facts`.
            cwd: working directory.
            timeout: seconds after which it is killed, with all that it started.
            learn: whether later commands shall find imported what this one imports.

        Returns:
            Its exit code and what it printed.
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
        return Ended(**answer, out=out, err=err)


def facts(run: str) -> dict[str, Any]:
    """What Python says of a run: its trials, its front and all that could be in it."""
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
        begun = time.perf_counter()
        child = os.fork()
        if not child:
            _work(request)
        code = _wait(child, request["timeout"])
        answer = {"code": code, "seconds": time.perf_counter() - begun}
        if request["learn"]:
            for name in (Path(request["folder"]) / "modules").read_text().split():
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        print(json.dumps(answer), flush=True)


def _wait(child: int, timeout: float) -> int | None:
    """The child's exit code; None where it had to be killed for its time."""
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
        streams = (os.devnull, folder / "out", folder / "err")
        for number, (name, flags) in enumerate(
            zip(streams, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_TRUNC] * 2), strict=True)
        ):
            os.dup2(os.open(name, flags), number)
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
    words = {FACTS: _facts, LOAD: tasearch.load_study, STOPPED: _stop}
    if argv[0] in words:
        try:
            words[argv[0]](*argv[1:])
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
    """Run a study until so many trials are complete and a hop is saved half-way."""
    name = tasearch.load_study(study).name
    partial = Path(runs_dir) / name / "checkpoints"
    steps = tasearch.steps(study, runs_dir=runs_dir, latency_from=latency_from)
    done = 0
    for event in steps:
        done += type(event).__name__ == "TrialDone"
        if done >= int(trials) and any(partial.glob("[!.]*")):
            break
    steps.close()  # type: ignore[attr-defined]


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else dict(value)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _serve()
