"""Does a killed run, continued by the same command, end as if nothing had happened?

In each round a study is begun anew with two workers, and its driver, one worker, or all of its
processes are killed (SIGKILL) at random moments: while it prepares, measures, trains or exports, up
to three times in a row. Then the same command is given until it ends. Trials with all their values
and attributes, and every stored hop byte by byte, must be those of a run that nobody killed; an
export must be the same folder.

Half of the kills strike runs whose user code dies as well: a family of models whose process exits,
or ends by a segmentation fault, in the middle of one hop, the first time only; or every time for
one width, whose trials must then have failed in both runs for the same reason.

    python -m benchmarks.kills --kills 100 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.forks import FACTS, Forks, environment

RESULT = common.RESULTS / "kills.json"
WHOM = ("driver", "worker", "all")
PHASES = ("preparing", "measuring", "training", "export")
MOST = 3  # kills in a row
LIMIT = 300.0  # seconds of one command
POLL = 0.005

STUDY = """
name = "{name}"

[model]
family = "{family}"

[teacher]
width = 16
epochs = 12

[assistants]
max = 1
widths = [8, 6]
epochs = 12

[student]
widths = [6, 4]
epochs = 12

[training]
precision = "fp32"
stack = "never"

[latency]
backend = "torch"

[search]
trials = 6
rungs = 4
n_startup_trials = 2
sampler = "{sampler}"
pruner = "{pruner}"
"""

OWN = '''
"""A multilayer perceptron whose process may die while one width is trained."""

import ctypes
import os
from pathlib import Path

import torch
from torch import nn

WIDTH, STEP = 6, 40  # dies in this step of a process, long after any probe and before a rung


class Mortal(nn.Module):
    def __init__(self, width, in_shape, num_classes):
        super().__init__()
        self.width, self.steps = width, 0
        size = int(torch.tensor(in_shape).prod())
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.steps += 1
            if self.width == WIDTH and self.steps == STEP:
                die()
        return self.layers(x)


def die():
    how, marker = os.environ.get("OWN_DEATH"), Path(os.environ.get("OWN_MARKER", "/"))
    if how is None or marker.exists():
        return
    if marker.parent.is_dir():  # else it dies every time
        marker.touch()
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)


def build(width, *, in_shape, num_classes):
    return Mortal(width, in_shape, num_classes)
'''


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is run and killed.

    Args:
        name: Name of the study.
        measured: Whether each run measures latencies itself; then its search does not look at
            them, and they are not compared.
        death: How user code dies; None for a family that does not.
        again: Whether it dies every time.
    """

    name: str
    measured: bool = False
    death: str | None = None
    again: bool = False

    def study(self) -> str:
        family = "own:build" if self.death else "mlp"
        blind = {"sampler": "random", "pruner": "none"}
        rest = blind if self.measured else {"sampler": "ehvi", "pruner": "skyline"}
        return STUDY.format(name=self.name, family=family, **rest)


PLAIN = Kind(name="plain")
MEASURED = Kind(name="measured", measured=True)
EXITS = Kind(name="exits", death="exit")
MORTAL_MEASURED = Kind(name="mortal", measured=True, death="exit")
MORTAL = (
    EXITS,
    Kind(name="faults", death="segmentation fault"),
    Kind(name="always", death="exit", again=True),
)


@dataclass(kw_only=True)
class Kill:
    """One kill: whom, and in which phase it was meant to strike; `struck` tells whether anything
    was alive by then."""

    whom: str
    phase: str
    after_s: float
    struck: bool = False


@dataclass(kw_only=True)
class Round:
    """One run that was killed, and what was not equal in the end."""

    kind: Kind
    kills: list[Kill]
    unequal: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        kills = [vars(kill) for kill in self.kills]
        return {
            "study": self.kind.name,
            "user_code_dies": self.kind.death,
            "every_time": self.kind.again,
            "kills": kills,
            "unequal": self.unequal,
            "seconds": round(self.seconds, 2),
        }


class Bench:
    """Straight runs of each kind, made when first asked for, and rounds beside them.

    Args:
        root: Folder for everything.
        forks: What reads runs.
    """

    def __init__(self, root: Path, forks: Forks) -> None:
        self.root, self.forks = root, forks
        self._straight: dict[Kind, Path] = {}
        self._seconds: dict[tuple[Kind, str], float] = {}

    def straight(self, kind: Kind) -> Path:
        """The folder of a run that nobody killed."""
        if kind not in self._straight:
            folder = self._home(kind, "straight")
            if not kind.measured:  # all others take these latencies
                first = self._home(kind, "first")
                self._end(kind, first, first, self._run(kind, first, measure=True), dying=False)
                shutil.move(first / "runs", self.root / "latencies" / kind.name)
            begun = time.monotonic()
            process = self._start(kind, folder, self._run(kind, folder), dying=kind.again)
            events = folder / "runs" / kind.name / "events.jsonl"
            while process.poll() is None and not events.exists():
                time.sleep(POLL)
            self._seconds[kind, "preparing"] = time.monotonic() - begun
            assert process.wait(LIMIT) == 0, kind
            total = time.monotonic() - begun
            self._seconds[kind, "training"] = total - self._seconds[kind, "preparing"]
            self._seconds[kind, "measuring"] = self._seconds[kind, "preparing"]
            self._straight[kind] = folder
        return self._straight[kind]

    def shipped(self, kind: Kind) -> Path:
        """The folder of the straight run with its export."""
        folder = self.straight(kind)
        if not (folder / "winner").exists():
            begun = time.monotonic()
            process = self._start(kind, folder, self._export(kind, "winner"), dying=False)
            assert process.wait(LIMIT) == 0, kind
            self._seconds[kind, "export"] = time.monotonic() - begun
        return folder

    def round(self, kind: Kind, phase: str, whom: Sequence[str], rng: random.Random) -> Round:
        """Kill one run as often as there are names in `whom`, continue it, and compare."""
        straight = self.shipped(kind) if phase == "export" else self.straight(kind)
        folder, begun = self._home(kind, "killed"), time.monotonic()
        argv = self._run(kind, folder)
        if phase == "export":  # of the same run, for an export says where its study is
            folder, argv = straight, self._export(kind, "again")
        done = Round(kind=kind, kills=[])
        for name in whom:
            wait = rng.uniform(0.0, self._seconds[kind, phase])
            kill = Kill(whom=name, phase=phase, after_s=round(wait, 3))
            done.kills.append(kill)
            code = self._kill(kind, folder, argv, kill, rng)
            if code:
                done.unequal.append(f"went on without a worker, and ended with {code}")
        try:
            self._end(kind, folder, straight, argv, dying=kind.death is not None)
        except RuntimeError as error:
            done.unequal.append(str(error))
        else:
            done.unequal += self._unequal(kind, folder, straight, phase)
        done.seconds = time.monotonic() - begun
        shutil.rmtree(folder / "again" if phase == "export" else folder, ignore_errors=True)
        return done

    def _home(self, kind: Kind, name: str) -> Path:
        """A fresh folder with the study and the user's module; all are equally deep."""
        folder = self.root / name / kind.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (self.root / "latencies").mkdir(exist_ok=True)
        (folder / "study.toml").write_text(kind.study())
        if kind.death:
            (folder / "own.py").write_text(OWN)
        return folder

    def _run(self, kind: Kind, folder: Path, *, measure: bool = False) -> list[str]:
        argv = ["run", "study.toml", "--workers", "2"]
        if kind.measured or measure:
            return argv
        return [*argv, "--latency-from", str(self.root / "latencies" / kind.name / kind.name)]

    def _export(self, kind: Kind, out: str) -> list[str]:
        return ["export", kind.name, "--out", out, *(["--trust"] if kind.death else [])]

    def _start(
        self, kind: Kind, folder: Path, argv: list[str], *, dying: bool
    ) -> subprocess.Popen[bytes]:
        variables = environment()
        if kind.death and dying:
            marker = "/nowhere/died" if kind.again else str(folder / "died")
            variables |= {"OWN_DEATH": kind.death, "OWN_MARKER": marker}
        with (folder / "words").open("ab") as words:
            return subprocess.Popen(
                [sys.executable, "-m", "tasearch", *argv],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def _kill(
        self, kind: Kind, folder: Path, argv: list[str], kill: Kill, rng: random.Random
    ) -> int | None:
        """Start the command, and kill when its phase has gone on for so long.

        Returns:
            What the command ended with, where it goes on after the kill.
        """
        process = self._start(kind, folder, argv, dying=kind.death is not None)
        events = folder / "runs" / kind.name / "events.jsonl"
        if kill.phase == "training":
            size = _size(events)
            while process.poll() is None and _size(events) == size:
                time.sleep(POLL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(kill.after_s)
        if kill.whom == "worker":
            while process.poll() is None and not (found := _descendants(process.pid)):
                time.sleep(POLL)
            if process.poll() is None:
                kill.struck = _killed(rng.choice(found))
            return self._wait(process)
        if process.poll() is None:
            others = _descendants(process.pid) if kill.whom == "all" else []
            kill.struck = _killed(process.pid)
            for other in others:
                _killed(other)
        process.wait()
        return None

    def _end(
        self, kind: Kind, folder: Path, straight: Path, argv: list[str], *, dying: bool
    ) -> None:
        """Give the same command again.

        Raises:
            RuntimeError: where it does not end with 0.
        """
        code = self._wait(self._start(kind, folder, argv, dying=dying))
        if code == 0:
            return
        words = (folder / "words").read_text(errors="replace")[-1500:]
        raise RuntimeError(f"ended with {code}: {words}")

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """What a process ends with; -9 where that takes too long."""
        try:
            return process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            for pid in [*_descendants(process.pid), process.pid]:
                _killed(pid)
            return process.wait()

    def _unequal(self, kind: Kind, folder: Path, straight: Path, phase: str) -> list[str]:
        """What differs from the straight run."""
        if phase == "export":
            return _files_unequal(folder / "again", straight / "winner", "export")
        runs = [home / "runs" / kind.name for home in (folder, straight)]
        one, other = (self._facts(run) for run in runs)
        found = []
        if kind.again and not any(t["state"] == "failed" for t in one["trials"]):
            found.append("no trial failed, though user code dies every time")
        parts = ("trials",) if kind.measured else ("trials", "candidates", "members")
        found += [
            f"{part}: {_first(one[part], other[part])}"
            for part in parts
            if one[part] != other[part]
        ]
        for name in ("hops", "checkpoints", "targets"):
            found += _files_unequal(runs[0] / name, runs[1] / name, name)
        return found

    def _facts(self, run: Path) -> dict[str, Any]:
        ended = self.forks([FACTS, str(run)], run)
        assert ended.code == 0, ended
        content: dict[str, Any] = json.loads(ended.out)
        return content


def _first(found: list[Any], expected: list[Any]) -> str:
    """The first of two lists' entries that differ, both."""
    if len(found) != len(expected):
        return f"{len(found)}, not {len(expected)}"
    pairs = zip(found, expected, strict=True)
    one, other = next((a, b) for a, b in pairs if a != b)
    return "; ".join(f"{n} is {one[n]!r}, not {other[n]!r}" for n in other if one[n] != other[n])


def _files_unequal(folder: Path, straight: Path, name: str) -> list[str]:
    """Files that are missing, additional or not byte for byte the same; hidden ones too, but those
    of writes that were cut off, which a later start may remove."""
    one, other = (
        {p.name: p.read_bytes() for p in f.iterdir() if not p.name.endswith(".tmp")}
        for f in (folder, straight)
    )
    return sorted(f"{name}/{n}" for n in one.keys() | other.keys() if one.get(n) != other.get(n))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that these did, by Linux's account."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def plan(kills: int, rng: random.Random, *, mortal: bool) -> list[tuple[Kind, str, list[str]]]:
    """Rounds with so many kills in all: kind, phase and whom.

    Args:
        kills: How many there are to be.
        rng: Draws whom.
        mortal: Whether user code dies as well.
    """
    found: list[tuple[Kind, str, list[str]]] = []
    left, number = kills, 0
    while left:
        phase = PHASES[number % len(PHASES)]
        whom = [rng.choice(WHOM) for _ in range(min(left, rng.randint(1, MOST)))]
        if phase == "export":  # it has no workers
            whom = ["driver" if name == "worker" else name for name in whom]
        kind = MORTAL[number // len(PHASES) % len(MORTAL)] if mortal else PLAIN
        if phase == "measuring":
            kind = MORTAL_MEASURED if mortal else MEASURED
        found.append((kind, phase, whom))
        left -= len(whom)
        number += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="half of them beside dying code")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    before = common.provenance(args)
    rng, rounds = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as root, Forks() as forks:
        bench = Bench(Path(root), forks)
        half = args.kills // 2
        rows = [*plan(args.kills - half, rng, mortal=False), *plan(half, rng, mortal=True)]
        for kind, phase, whom in rows:
            rounds.append(bench.round(kind, phase, whom, rng))
            row = rounds[-1].row()
            print(
                f"{row['study']}, {phase}, {', '.join(whom)}: {row['seconds']} s,"
                f" {row['unequal'] or 'equal'}",
                flush=True,
            )
    kills = [kill for r in rounds for kill in r.kills]
    by = Counter(f"{k.whom}, {k.phase}" for k in kills if k.struck)
    result = {
        "question": (__doc__ or "").splitlines()[0],
        **before,
        "machine": common.machine(),
        "kills": sum(by.values()),
        "too_late": sum(not kill.struck for kill in kills),
        "by": dict(sorted(by.items())),
        "rounds": len(rounds),
        "beside_dying_user_code": sum(
            kill.struck for r in rounds if r.kind.death for kill in r.kills
        ),
        "unequal": sum(bool(r.unequal) for r in rounds),
        "seconds": common.spread([r.seconds for r in rounds]),
        "each": [r.row() for r in rounds],
    }
    common.write_json(args.out, result)
    print(f"{result['kills']} kills in {len(rounds)} rounds, {result['unequal']} unequal")
    sys.exit(bool(result["unequal"]))


if __name__ == "__main__":
    main()
