"""The part of `benchmarks.fuzz` that damages runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.damaged_run import RUNS, STUDY, DamageTest
from benchmarks.forks import STOPPED, ForkServer
from benchmarks.fuzz_tally import Tally
from benchmarks.small_studies import study_text

EXPORTED = 6  # one damaged run in so many is exported too


def runs(folder: Path, forks: ForkServer, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Damage runs, without an end; one case at each step, after a first step of preparation.

    Args:
        folder: Folder for everything.
        forks: Server that runs commands.
        rng: Source of the damage.
        tally: Receives the cases.
    """
    folder.mkdir()
    whole = finished(folder / "finished", forks)
    tests = [whole, stopped(folder / "stopped", whole, forks)]
    for test in tests:
        test.learn(folder)
    endless = [test.cases(rng) for test in tests]
    yield
    while True:
        for test, cases in zip(tests, endless, strict=True):
            file, kind, seed = next(cases)
            exported = not rng.randrange(EXPORTED)
            what, results, faults = test.check(folder, file, kind, seed, exported=exported)
            about = {"run": test.home.name, "file": file, "what": what, "seed": seed}
            tally.add("runs", kind, results, faults, about)
            yield


def finished(home: Path, forks: ForkServer) -> DamageTest:
    """A finished run, with the report beside its files."""
    home.mkdir()
    (home / STUDY).write_text(study_text("tiny"))
    run = ["run", STUDY, "--workers", "1"]
    for argv in (run, ["report", f"{RUNS}/tiny"]):
        result = forks(argv, home, timeout=600.0, learn=True)
        assert result.code == 0, result
    return DamageTest(home=home, name="tiny", more=8, runner=forks)


def stopped(home: Path, whole: DamageTest, forks: ForkServer) -> DamageTest:
    """A run of the same study, stopped in the middle of a hop.

    Args:
        home: Folder for the run.
        whole: The finished run, in whose trials this one ends when it is continued.
        forks: Server that runs commands.
    """
    home.mkdir()
    (home / STUDY).write_text(study_text("tiny"))
    latencies = whole.home / whole.run
    result = forks([STOPPED, STUDY, RUNS, latencies, 3], home, timeout=600.0)
    assert result.code == 0, result
    return DamageTest(home=home, name="tiny", more=8, runner=forks)
