"""A run whose copies are damaged, one file at a time, and what every command then does.

Where a command ends with 0, its figures must be those of the undamaged run.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.command_checks import Fault, difference, shortened, stated_figures, wrong_ending
from benchmarks.damage import FIFO, KINDS, damage
from benchmarks.forks import FACTS, CommandResult

Runner = Callable[..., CommandResult]  # a `forks.ForkServer`, or `forks.run_command`

STUDY = "study.toml"
RUNS = "runs"
TIMEOUT = 60.0  # seconds; a FIFO in place of a file blocks for ever where it is opened


@dataclass(kw_only=True)
class DamageTest:
    """A run, and what every command does with it while it is undamaged.

    Args:
        home: Folder with `study.toml` and `runs/<name>`.
        name: Name of the study.
        more: Number of trials with which the run is extended.
        runner: Runs commands.
        expected: What the commands do with the undamaged run; see `learn`.
    """

    home: Path
    name: str
    more: int
    runner: Runner
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """The run's folder, relative to `home`."""
        return f"{RUNS}/{self.name}"

    def learn(self, scratch: Path) -> None:
        """Find out what every command does with the undamaged run.

        Args:
            scratch: Folder for the copies.
        """
        work = self.copy(scratch)
        self.expected["facts"] = json.loads(self._call(work, [FACTS, self.run], learn=True).out)
        for name, argv in self.reading_commands().items():
            result = self._call(work, argv, learn=True)
            assert wrong_ending(result, name) is None, (name, result)
            self.expected[name] = result.code, stated_figures(name, result, work)
        for name, argv in self.resuming_commands().items():
            work = self.copy(scratch)
            result = self._call(work, argv, learn=True)
            assert result.code == 0, (name, result)
            self.expected[name] = json.loads(self._call(work, [FACTS, self.run]).out)

    def reading_commands(self) -> dict[str, list[str]]:
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

    def resuming_commands(self) -> dict[str, list[str]]:
        """Both commands that continue a run, by a name for each."""
        run = ["run", STUDY, "--runs-dir", RUNS, "--workers", "1"]
        return {"run": run, "run --trials": [*run, "--trials", str(self.more)]}

    def file_groups(self) -> dict[str, list[str]]:
        """The run's files, relative to it, by the first part of their paths."""
        folder = self.home / self.run
        found: dict[str, list[str]] = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = file.relative_to(folder)
                found.setdefault(name.parts[0], []).append(str(name))
        return found

    def cases(self, rng: random.Random) -> Iterator[tuple[str, str, int]]:
        """Files, kinds of damage and seeds, without an end; each group of files equally often."""
        groups = [*self.file_groups().values()]
        while True:
            yield rng.choice(rng.choice(groups)), rng.choice(KINDS), rng.randrange(2**32)

    def copy(self, scratch: Path) -> Path:
        """A fresh copy of the home."""
        work = scratch / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.home, work)
        return work

    def check(
        self, scratch: Path, file: str, kind: str, seed: int, *, exported: bool
    ) -> tuple[str, dict[str, CommandResult], list[Fault]]:
        """Damage one file of a copy and run every command.

        Args:
            scratch: Folder for the copies.
            file: File to damage, relative to the run.
            kind: One of `damage.KINDS`.
            seed: Seed of the place.
            exported: Whether to export too, which takes longer than all else together.

        Returns:
            What was done to the file, how the commands ended, and what was wrong with them.
        """
        work = self.copy(scratch)
        what = damage(work / self.run / file, kind, random.Random(seed))
        results, faults = self._check_reading(work, file, kind, exported=exported)
        if any(result.code is None for result in results.values()):
            return what, results, faults  # the others would hang too, a minute each
        for name, argv in self.resuming_commands().items():
            work = self.copy(scratch)
            damage(work / self.run / file, kind, random.Random(seed))
            results[name] = result = self._call(work, argv)
            wrong = wrong_ending(result, name)
            if wrong is None and result.code == 0:
                result = self._call(work, [FACTS, self.run])
                wrong = None if result.code == 0 else f"then {FACTS} ended with {result.code}"
                if wrong is None:
                    wrong = difference(json.loads(result.out), self.expected[name])
            faults += [Fault(command=name, what=wrong, result=result)] if wrong else []
        return what, results, faults

    def _check_reading(
        self, work: Path, file: str, kind: str, *, exported: bool
    ) -> tuple[dict[str, CommandResult], list[Fault]]:
        """Run the commands that read; the first that hangs is the last."""
        results: dict[str, CommandResult] = {}
        faults = []
        earlier = file == "journal.log" and kind != FIFO and self._is_earlier(work)
        for name, argv in [("python", [FACTS, self.run]), *self.reading_commands().items()]:
            if name == "export" and not exported:
                continue
            results[name] = result = self._call(work, argv)
            wrong = wrong_ending(result, name)
            wrong = wrong or self._wrong_figures(name, result, work, file, earlier=earlier)
            faults += [Fault(command=name, what=wrong, result=result)] if wrong else []
            if result.code is None:
                break
        return results, faults

    def _is_earlier(self, work: Path) -> bool:
        """Whether the journal is what it was at an earlier time, which nothing can tell."""
        damaged = work / self.run / "journal.log"
        if not damaged.is_file():
            return not damaged.exists()
        return (self.home / self.run / "journal.log").read_bytes().startswith(damaged.read_bytes())

    def _call(self, work: Path, argv: list[str], **options: Any) -> CommandResult:
        return self.runner(argv, work, timeout=TIMEOUT, **options)

    def _wrong_figures(
        self, name: str, result: CommandResult, work: Path, file: str, *, earlier: bool
    ) -> str | None:
        """What is wrong with the figures of a command that ended as it may; None if nothing is."""
        try:
            found = stated_figures(name, result, work)
        except (OSError, ValueError) as error:
            return f"ended with {result.code}, but its figures cannot be read: {error}"
        if found is None:
            return None
        if earlier:
            return self._unknown_candidate(name, found)
        if name == "python":
            return difference(found, self.expected["facts"])
        code, expected = self.expected[name]
        if name in ("status", "report") and Path(file).name in result.out + result.err:
            return None  # it says that the file is damaged, and leaves it out
        if (result.code, found) == (code, expected):
            return None
        return f"figures changed: {shortened(found)}, not {shortened(expected)}"

    def _unknown_candidate(self, name: str, found: Any) -> str | None:
        """A candidate of an earlier state that the whole run does not have, in words."""
        known = [_identity(c) for c in self.expected["facts"]["candidates"]]
        if name == "python":
            stated = found["candidates"]
        elif name.startswith("best"):
            stated = [found.get("nearest", found)]
        else:
            return None
        unknown = [c for c in stated if _identity(c) not in known]
        return f"figures changed: {shortened(unknown[0])} was never there" if unknown else None


def _identity(candidate: dict[str, Any]) -> dict[str, Any]:
    names = ("trial", "chain", "accuracy", "params", "bytes", "latency_ms")
    return {name: candidate[name] for name in names}
