"""What the parts of `benchmarks.fuzz` count, and have in common."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.command_checks import Fault, wrong_ending
from benchmarks.damaged_run import STUDY
from benchmarks.forks import LOAD, CommandResult, ForkServer, run_command

ANSWER = 60.0  # seconds until a study file has to be answered; a training may take longer
STARTED = 8  # one case in so many runs in a new interpreter
STORED = 65_536  # bytes of a failing input that are stored


class Tally:
    """What was tried, and what failed.

    Attributes:
        tried: Number of cases and commands, by name.
        failed: Number of those that failed, by the same names.
        codes: Number of commands, by their exit codes in words.
        cases: Every case that failed.
    """

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.cases: list[dict[str, Any]] = []

    def add(
        self,
        part: str,
        kind: str,
        results: dict[str, CommandResult],
        faults: list[Fault],
        about: dict[str, Any],
    ) -> None:
        """Count one case, and keep it where it failed.

        Args:
            part: Part of the benchmark: "runs", "studies" or "arrays".
            kind: Kind of damage.
            results: How each command ended, by its name.
            faults: What was wrong with them.
            about: What is needed to repeat the case.
        """
        self.tried.update([part, f"{part}: {kind}", *(f"{part}: {name}" for name in results)])
        if faults:
            commands = {f"{part}: {fault.command}" for fault in faults}
            self.failed.update([part, f"{part}: {kind}", *commands])
            found = [fault.to_json() for fault in faults]
            self.cases.append({"part": part, "kind": kind, **about, "faults": found})
        for name, result in results.items():
            self.codes[f"{part}: {name} ended with {result.code}"] += 1

    def by(self) -> dict[str, dict[str, int]]:
        """How many were tried and failed, by name."""
        return {
            name: {"tried": count, "failed": self.failed[name]}
            for name, count in sorted(self.tried.items())
        }


def run_study(
    work: Path,
    forks: ForkServer,
    rng: random.Random,
    tally: Tally,
    part: str,
    kind: str,
    about: dict[str, Any],
) -> None:
    """Give a study to `tasearch run`, and count how that ends.

    Args:
        work: Folder with the study.
        forks: Server that runs commands.
        rng: Decides whether the command runs in a new interpreter.
        tally: Receives the case.
        part: Part of the benchmark.
        kind: Kind of damage.
        about: What is needed to repeat the case; "file" is the damaged content.
    """
    argv = ["run", STUDY, "--trials", "1", "--workers", "1"]
    if about.get("study", "tiny") != "tiny":  # where its data section was cut off, it ends here
        argv += ["--latency-from", "missing"]
    runner: Callable[..., CommandResult] = run_command if not rng.randrange(STARTED) else forks
    if about.pop("only_read", False):
        argv, runner = [LOAD, STUDY], forks
    result = runner(argv, work, timeout=ANSWER)
    name = argv[0]
    wrong = wrong_ending(result, name)
    if wrong == "hangs" and "chains within the budget" in result.out:
        wrong = None  # it is valid, and trains
    faults = [Fault(command=name, what=wrong, result=result)] if wrong else []
    about["started"] = runner is run_command
    content = about.pop("file")
    if faults:
        about["base64"] = base64.b64encode(content[:STORED]).decode()
    tally.add(part, kind, {name: result}, faults, about)
