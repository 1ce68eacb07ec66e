"""A run as it stands: its study, its trials and its front."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from tasearch.front import Candidate, Front
from tasearch.record import Costs, TrialRecord, candidates, costs
from tasearch.rundir import RunDir, Snapshot
from tasearch.search.journal import read_trials


class Run:
    """A finished or unfinished run, read once when first asked.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: RunDir) -> None:
        self.directory = directory

    @staticmethod
    def open(run: str | Path, runs_dir: str | Path = "runs") -> Run:
        """A run by its path, or by its name under `runs_dir`.

        Raises:
            RunError: where there is none.
        """
        return Run(RunDir.open(run, runs_dir))

    @property
    def path(self) -> Path:
        return self.directory.path

    @cached_property
    def snapshot(self) -> Snapshot:
        return self.directory.read()

    @cached_property
    def trials(self) -> list[TrialRecord]:
        return read_trials(self.directory, self.snapshot.study.name)

    @cached_property
    def front(self) -> Front:
        """Of the students trained to the end."""
        return Front(candidates(self.trials, self.snapshot.measured))

    def best(
        self,
        *,
        max_params: int | None = None,
        max_bytes: int | None = None,
        max_latency_ms: float | None = None,
    ) -> Candidate:
        """The most accurate candidate within a budget; see `Front.best`."""
        return self.front.best(
            max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms
        )

    @property
    def costs(self) -> Costs:
        return costs(self.trials, self.snapshot.trained_samples, self.snapshot.measured)
