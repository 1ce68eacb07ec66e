"""Damage to a finished run, one file at a time, and what every command may then do.

A command may end with 0, 1 or 2, in time, with one message and without a traceback. Where it ends
with 0, its figures are those of the undamaged run.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.forks import FACTS, Ended

Runner = Callable[..., Ended]  # `forks.Forks` or `forks.command`

STUDY = "study.toml"
RUNS = "runs"
SHIPPED = ("metrics.json", "student.safetensors")  # what an export says, and what it is of
CODES = (0, 1, 2)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # that change a terminal
TIMEOUT = 60.0  # seconds; a FIFO in place of a file hangs for ever where it is opened
KINDS = (
    "flip a bit",
    "delete a line",
    "double a line",
    "swap two lines",
    "truncate",
    "empty",
    "remove",
    "folder in its place",
    "fifo in its place",
)


def damage(file: Path, kind: str, rng: random.Random) -> str:
    """Damage one file.

    Args:
        file: File to change.
        kind: One of `KINDS`.
        rng: Source of the place.

    Returns:
        What was done, in words; empty where the file stays as it was.
    """
    before = file.read_bytes()
    if kind in KINDS[6:]:
        file.unlink()
        if kind == "folder in its place":
            file.mkdir()
        elif kind == "fifo in its place":
            os.mkfifo(file)
        return kind
    after, place = changed(before, kind, rng)
    file.write_bytes(after)
    return f"{kind} at {place} of {len(before)} bytes" if after != before else ""


def changed(content: bytes, kind: str, rng: random.Random) -> tuple[bytes, int]:
    """The content after one of the first six kinds of damage, and the offset of the damage."""
    if kind == "flip a bit":
        place = rng.randrange(len(content)) if content else 0
        flipped = (content[place] if content else 0) ^ 1 << rng.randrange(8)
        return content[:place] + bytes([flipped]) + content[place + 1 :], place
    if kind == "truncate":
        place = rng.randrange(len(content)) if content else 0
        return content[:place], place
    if kind == "empty":
        return b"", 0
    lines = content.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    place = len(b"".join(lines[:at]))
    if kind == "delete a line":
        del lines[at]
    elif kind == "double a line":
        lines.insert(at, lines[at])
    else:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
        place = len(b"".join(lines[: min(at, other)]))
    return b"".join(lines), place


@dataclass(kw_only=True)
class Fault:
    """One thing that a command should not have done."""

    command: str
    what: str
    ended: Ended

    def row(self) -> dict[str, Any]:
        """As it is stored: the last words only."""
        ended = self.ended
        texts = {"out": ended.out[-600:], "err": ended.err[-1500:]}
        return {"command": self.command, "fault": self.what, "code": ended.code, **texts}


@dataclass(kw_only=True)
class Victim:
    """A run whose copies are damaged.

    Args:
        home: Folder with `study.toml` and `runs/<name>`.
        name: Name of the study.
        more: Number of trials to go on to.
        runner: What runs commands.
    """

    home: Path
    name: str
    more: int
    runner: Runner
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str:
        return f"{RUNS}/{self.name}"

    def learn(self, scratch: Path) -> None:
        """Find out what every command does with the undamaged run."""
        work = self.copy(scratch)
        self.expected["facts"] = json.loads(self._call(work, [FACTS, self.run], learn=True).out)
        for name, argv in self.readers().items():
            ended = self._call(work, argv, learn=True)
            assert form(ended, name) is None, (name, ended)
            self.expected[name] = ended.code, figures(name, ended, work)
        for name, argv in self.runs().items():
            work = self.copy(scratch)
            ended = self._call(work, argv, learn=True)
            assert ended.code == 0, (name, ended)
            self.expected[name] = json.loads(self._call(work, [FACTS, self.run]).out)

    def readers(self) -> dict[str, list[str]]:
        """Every command that reads a run, by a name for it."""
        members = self.expected["facts"]["members"]
        params = sorted(c["params"] for c in members)[len(members) // 2]
        latency = repr(max(c["latency_ms"] for c in members))
        best = ["best", self.run, "--json"]
        return {
            "best": best,
            "best --max-params": [*best, "--max-params", str(params)],
            "best --max-latency-ms": [*best, "--max-latency-ms", latency],
            "best of nothing": [*best, "--max-params", "1"],
            "status": ["status", self.run],
            "report": ["report", self.run, "--out", "page.html"],
            "export": ["export", self.run, "--out", "winner"],
        }

    def runs(self) -> dict[str, list[str]]:
        """Both ways of going on, by a name for each."""
        run = ["run", STUDY, "--runs-dir", RUNS, "--workers", "1"]
        return {"run": run, "run --trials": [*run, "--trials", str(self.more)]}

    def groups(self) -> dict[str, list[str]]:
        """Files of the run, seen from it, by their first part: a folder's files are one group."""
        folder = self.home / self.run
        found: dict[str, list[str]] = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = file.relative_to(folder)
                found.setdefault(name.parts[0], []).append(str(name))
        return found

    def copy(self, scratch: Path) -> Path:
        """A fresh copy of the home."""
        work = scratch / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.home, work)
        return work

    def tried(
        self, scratch: Path, file: str, kind: str, seed: int, *, exported: bool
    ) -> tuple[str, dict[str, Ended], list[Fault]]:
        """Damage one file of a copy and run every command.

        Args:
            scratch: Folder for the copies.
            file: File of the run, seen from it.
            kind: One of `KINDS`.
            seed: Seed of the place.
            exported: Whether to export too, which takes longer than all else together.

        Returns:
            What was done to the file, how the commands ended, and what was wrong about it.
        """
        faults, ends = [], {}
        work = self.copy(scratch)
        what = damage(work / self.run / file, kind, random.Random(seed))
        shorter = file == "journal.log" and kind != "fifo in its place" and self._prefix(work)
        for name, argv in [("python", [FACTS, self.run]), *self.readers().items()]:
            if name == "export" and not exported:
                continue
            ends[name] = ended = self._call(work, argv)
            wrong = form(ended, name) or self._figures(name, ended, work, file, shorter)
            faults += [Fault(command=name, what=wrong, ended=ended)] if wrong else []
            if ended.code is None:  # so would the others, a minute each
                return what, ends, faults
        for name, argv in self.runs().items():
            work = self.copy(scratch)
            damage(work / self.run / file, kind, random.Random(seed))
            ends[name] = ended = self._call(work, argv)
            wrong = form(ended, name)
            if wrong is None and ended.code == 0:
                ended = self._call(work, [FACTS, self.run])
                wrong = None if ended.code == 0 else f"then {FACTS} ended with {ended.code}"
                if wrong is None:
                    wrong = difference(json.loads(ended.out), self.expected[name])
            faults += [Fault(command=name, what=wrong, ended=ended)] if wrong else []
        return what, ends, faults

    def _prefix(self, work: Path) -> bool:
        """Whether the journal is what it was at an earlier time: nothing can tell."""
        damaged = work / self.run / "journal.log"
        if not damaged.is_file():
            return not damaged.exists()
        return (self.home / self.run / "journal.log").read_bytes().startswith(damaged.read_bytes())

    def _call(self, work: Path, argv: list[str], **options: Any) -> Ended:
        return self.runner(argv, work, timeout=TIMEOUT, **options)

    def _figures(self, name: str, ended: Ended, work: Path, file: str, shorter: bool) -> str | None:
        """What is wrong with the figures of a command that ended as it may."""
        try:
            found = figures(name, ended, work)
        except (OSError, ValueError) as error:
            return f"ended with {ended.code}, but its figures cannot be read: {error}"
        if found is None:
            return None
        if shorter:
            return self._earlier(name, found)
        if name == "python":
            return difference(found, self.expected["facts"])
        code, expected = self.expected[name]
        if name in ("status", "report") and Path(file).name in ended.out + ended.err:
            return None  # it says that the file is damaged, and does without
        if (ended.code, found) == (code, expected):
            return None
        return f"figures changed: {_short(found)}, not {_short(expected)}"

    def _earlier(self, name: str, found: Any) -> str | None:
        """Of an earlier state, each candidate is still one of the whole run's."""
        known = [_candidate(c) for c in self.expected["facts"]["candidates"]]
        if name == "python":
            told = found["candidates"]
        elif name.startswith("best"):
            told = [found.get("nearest", found)]
        else:
            return None
        unknown = [c for c in told if _candidate(c) not in known]
        return f"figures changed: {_short(unknown[0])} was never there" if unknown else None


def figures(name: str, ended: Ended, work: Path) -> Any:
    """What a command says of a run; None where it says nothing."""
    if name.startswith("best") and ended.out.strip():
        return json.loads(ended.out)
    if ended.code != 0:
        return None
    if name == "python":
        return json.loads(ended.out)
    if name == "status":
        return [line for line in ended.out.splitlines() if not line.startswith("time")]
    if name == "report":
        return (work / "page.html").stat().st_size > 0
    if name == "export":
        metrics, weights = ((work / "winner" / file).read_bytes() for file in SHIPPED)
        return json.loads(metrics), weights.hex()
    return None


def form(ended: Ended, name: str) -> str | None:
    """What is wrong with the way in which a command ended, figures apart; None if nothing."""
    if ended.code is None:
        return "hangs"
    text = ended.out + ended.err
    if "Traceback" in text:
        return f"traceback: {ended.err.strip().splitlines()[-1][:300] if ended.err else ''}"
    if ended.code not in CODES:
        return f"ended with {ended.code}"
    control = CONTROL.search(text)
    if control:
        return f"prints the control character {control[0]!r}"
    messages = sum(line.startswith("error: ") for line in ended.err.splitlines())
    if name.startswith("best") and ended.code == 1 and '"error": ' in ended.out:
        messages += 1
    if ended.code and messages != 1:
        return f"ended with {ended.code} and {messages} messages"
    return None


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """The first thing in which two runs differ, by Python's account of them."""
    for part in ("trials", "candidates", "members"):
        if len(found[part]) != len(expected[part]):
            return f"{len(found[part])} {part}, not {len(expected[part])}"
        for one, other in zip(found[part], expected[part], strict=True):
            names = [n for n in other if one.get(n) != other[n]]
            if names:
                name = names[0]
                return f"{part}: {name} changed: {_short(one.get(name))}, not {_short(other[name])}"
    return None


def cases(victim: Victim, rng: random.Random) -> Iterator[tuple[str, str, int]]:
    """File, kind and seed, without an end; each group of files as often as the others."""
    groups = [*victim.groups().values()]
    while True:
        yield rng.choice(rng.choice(groups)), rng.choice(KINDS), rng.randrange(2**32)


def _candidate(content: dict[str, Any]) -> dict[str, Any]:
    return {k: content[k] for k in ("trial", "chain", "accuracy", "params", "bytes", "latency_ms")}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."
