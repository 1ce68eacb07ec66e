"""One run of a study that is killed, continued by the same command, and compared."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.forks import FACTS, ForkServer, environment
from benchmarks.kill_scenarios import USER_MODULE, Scenario
from benchmarks.processes import descendants, exit_code, kill
from tasearch.runs.store import KINDS

READS = re.compile(rb'read (once|\d+ times on this run)|"test_reads": \d+')  # in an export
TARGETS = ("driver", "worker", "all")
LIMIT = 300.0  # seconds that a command may take
POLL = 0.005  # seconds


@dataclass(kw_only=True)
class Kill:
    """One kill.

    Args:
        target: Which processes are killed: one of `TARGETS`.
        phase: Phase of the run in which the kill was meant to happen.
        after_s: Seconds from the start of the phase to the kill.
        struck: Whether a process was still alive by then.
        code: Exit code of the command after the loss of the cluster's head, see `ray_kills`.
    """

    target: str
    phase: str
    after_s: float
    struck: bool = False
    code: int | None = None

    def to_json(self) -> dict[str, Any]:
        found = {n: v for n, v in vars(self).items() if n != "target" and v is not None}
        return {"whom": self.target} | found


@dataclass(kw_only=True)
class Round:
    """One run that was killed.

    Args:
        scenario: What was run.
        kills: The kills, in their order.
        unequal: What differed from the uninterrupted run in the end, in words.
        seconds: Wall-clock time.
    """

    scenario: Scenario
    kills: list[Kill]
    unequal: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.scenario.name,
            "user_code_dies": self.scenario.death,
            "every_time": self.scenario.every_time,
            "kills": [kill.to_json() for kill in self.kills],
            "unequal": self.unequal,
            "seconds": round(self.seconds, 2),
        }


class KillBench:
    """Uninterrupted runs of each scenario, made when first asked for, and killed runs.

    Args:
        root: Folder for everything.
        forks: Server that reads runs.
    """

    def __init__(self, root: Path, forks: ForkServer) -> None:
        self.root, self.forks = root, forks
        self._uninterrupted: dict[Scenario, Path] = {}
        self._seconds: dict[tuple[Scenario, str], float] = {}  # by scenario and phase

    def uninterrupted(self, scenario: Scenario) -> Path:
        """The folder with a run that was not killed."""
        if scenario not in self._uninterrupted:
            folder = self._new_folder(scenario, "straight")
            if not scenario.measured:
                self._measure(scenario)
            start = time.monotonic()
            argv = self._run_command(scenario)
            process = self._start(scenario, folder, argv, dying=scenario.every_time)
            while process.poll() is None and not _events(folder, scenario).exists():
                time.sleep(POLL)
            preparing = time.monotonic() - start
            assert process.wait(LIMIT) == 0, scenario
            training = time.monotonic() - start - preparing
            for phase, seconds in (
                ("preparing", preparing),
                ("measuring", preparing),
                ("training", training),
            ):
                self._seconds[scenario, phase] = seconds
            self._uninterrupted[scenario] = folder
        return self._uninterrupted[scenario]

    def exported(self, scenario: Scenario) -> Path:
        """The folder with the uninterrupted run and its export."""
        folder = self.uninterrupted(scenario)
        if not (folder / "winner").exists():
            start = time.monotonic()
            argv = _export_command(scenario, "winner")
            process = self._start(scenario, folder, argv, dying=False)
            assert process.wait(LIMIT) == 0, scenario
            self._seconds[scenario, "export"] = time.monotonic() - start
        return folder

    def kill_run(
        self, scenario: Scenario, phase: str, targets: Sequence[str], rng: random.Random
    ) -> Round:
        """Kill one run, continue it by the same command, and compare.

        Args:
            scenario: What to run.
            phase: Phase in which to kill it: "preparing", "measuring", "training" or "export".
            targets: Which processes to kill, one name for each kill.
            rng: Source of the moments.
        """
        is_export, start = phase == "export", time.monotonic()
        reference = self.exported(scenario) if is_export else self.uninterrupted(scenario)
        folder, argv = self._new_folder(scenario, "killed"), self._run_command(scenario)
        if is_export:  # of the same run, since an export names the folder of its study
            folder, argv = reference, _export_command(scenario, "again")
        done = Round(scenario=scenario, kills=[])
        for target in targets:
            wait = rng.uniform(0.0, self._seconds[scenario, phase])
            done.kills.append(Kill(target=target, phase=phase, after_s=round(wait, 3)))
            code = self._kill(scenario, folder, argv, done.kills[-1], rng)
            if code:
                done.unequal.append(f"ended with {code} after the kill of a {target}")
        try:
            self._finish(scenario, folder, argv, dying=scenario.death is not None)
        except RuntimeError as error:
            done.unequal.append(str(error))
        else:
            done.unequal += self._differences(scenario, folder, reference, phase)
        done.seconds = time.monotonic() - start
        shutil.rmtree(folder / "again" if is_export else folder, ignore_errors=True)
        return done

    def _new_folder(self, scenario: Scenario, name: str) -> Path:
        """An empty folder with the study and the user's module; paths are equally deep."""
        folder = self.root / name / scenario.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (self.root / "latencies").mkdir(exist_ok=True)
        (folder / "study.toml").write_text(scenario.study())
        if scenario.death:
            (folder / "own.py").write_text(USER_MODULE)
        return folder

    def _measure(self, scenario: Scenario) -> None:
        """Make the run from which all others take their latencies."""
        folder = self._new_folder(scenario, "first")
        self._finish(scenario, folder, self._run_command(scenario, measure=True), dying=False)
        shutil.move(folder / "runs", self.root / "latencies" / scenario.name)

    def _run_command(self, scenario: Scenario, *, measure: bool = False) -> list[str]:
        argv = ["run", "study.toml", "--workers", "2"]
        if scenario.measured or measure:
            return argv
        latencies = self.root / "latencies" / scenario.name / scenario.name
        return [*argv, "--latency-from", str(latencies)]

    def _start(
        self, scenario: Scenario, folder: Path, argv: list[str], *, dying: bool
    ) -> subprocess.Popen[bytes]:
        variables = environment()
        if scenario.death and dying:
            marker = "/nowhere/died" if scenario.every_time else str(folder / "died")
            variables |= {"OWN_DEATH": scenario.death, "OWN_MARKER": marker}
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
        self, scenario: Scenario, folder: Path, argv: list[str], plan: Kill, rng: random.Random
    ) -> int | None:
        """Start the command, and kill at the planned moment of its phase.

        Returns:
            The command's exit code where it continues after the kill of a worker, else None.
        """
        process = self._start(scenario, folder, argv, dying=scenario.death is not None)
        events = _events(folder, scenario)
        if plan.phase == "training":
            size = _size(events)
            while process.poll() is None and _size(events) == size:
                time.sleep(POLL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(plan.after_s)
        if plan.target == "worker":
            while process.poll() is None and not (found := descendants(process.pid)):
                time.sleep(POLL)
            if process.poll() is None:
                plan.struck = kill(rng.choice(found))
            return exit_code(process, LIMIT)
        if process.poll() is None:
            others = descendants(process.pid) if plan.target == "all" else []
            plan.struck = kill(process.pid)
            for other in others:
                kill(other)
        process.wait()
        return None

    def _finish(self, scenario: Scenario, folder: Path, argv: list[str], *, dying: bool) -> None:
        """Run the command to its end.

        Raises:
            RuntimeError: The command did not end with 0.
        """
        code = exit_code(self._start(scenario, folder, argv, dying=dying), LIMIT)
        if code:
            words = (folder / "words").read_text(errors="replace")[-1500:]
            raise RuntimeError(f"ended with {code}: {words}")

    def _differences(
        self, scenario: Scenario, folder: Path, reference: Path, phase: str
    ) -> list[str]:
        """What differs from the uninterrupted run, in words."""
        if phase == "export":
            return _changed_files(folder / "again", reference / "winner", "export")
        runs = [home / "runs" / scenario.name for home in (folder, reference)]
        found, expected = (self._facts(run) for run in runs)
        words = []
        if scenario.every_time and not any(t["state"] == "failed" for t in found["trials"]):
            words.append("no trial failed, though user code dies every time")
        parts = ("trials",) if scenario.measured else ("trials", "candidates", "members")
        words += [
            f"{part}: {_first_difference(found[part], expected[part])}"
            for part in parts
            if found[part] != expected[part]
        ]
        for name in KINDS:
            words += _changed_files(runs[0] / name, runs[1] / name, name)
        return words

    def _facts(self, run: Path) -> dict[str, Any]:
        result = self.forks([FACTS, str(run)], run)
        assert result.code == 0, result
        content: dict[str, Any] = json.loads(result.out)
        return content


def _export_command(scenario: Scenario, out: str) -> list[str]:
    return ["export", scenario.name, "--out", out, *(["--trust"] if scenario.death else [])]


def _events(folder: Path, scenario: Scenario) -> Path:
    return folder / "runs" / scenario.name / "events.jsonl"


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _first_difference(found: list[Any], expected: list[Any]) -> str:
    """The first entry in which two lists differ, in words."""
    if len(found) != len(expected):
        return f"{len(found)}, not {len(expected)}"
    pairs = zip(found, expected, strict=True)
    one, other = next((a, b) for a, b in pairs if a != b)
    return "; ".join(f"{n} is {one[n]!r}, not {other[n]!r}" for n in other if one[n] != other[n])


def _changed_files(folder: Path, reference: Path, name: str) -> list[str]:
    """Names of files that are missing, additional or not the same byte for byte.

    Hidden files count too, but not those of writes that were cut off: a later start may remove
    them. How often the test set was read is left out: each start of an export reads it.
    """
    found, expected = (
        {p.name: READS.sub(b"", p.read_bytes()) for p in f.glob("*") if p.suffix != ".tmp"}
        for f in (folder, reference)
    )
    names = found.keys() | expected.keys()
    return sorted(f"{name}/{n}" for n in names if found.get(n) != expected.get(n))
