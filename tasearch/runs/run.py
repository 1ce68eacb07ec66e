"""A run as it stands: its study, its trials and its front."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from tasearch.config.arguments import check_path
from tasearch.errors import RunError
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.runs.records import Costs, TrialRecord, candidates, costs
from tasearch.runs.directory import RunDirectory, Manifest
from tasearch.runs.journal import read_trials


class Run:
    """A finished or unfinished run, read once when first asked.

    Args:
        directory: of the run.
        trusted: Whether this process has made the run, and so has run the code that it names.
    """

    def __init__(self, directory: RunDirectory, *, trusted: bool = False) -> None:
        self.directory, self.trusted = directory, trusted

    @classmethod
    def open(cls, run: str | Path, runs_dir: str | Path = "runs") -> Run:
        """A run by its path, or by its name under `runs_dir`.

        Raises:
            RunError: where there is none.
        """
        run, runs_dir = check_path(run, "run"), check_path(runs_dir, "runs_dir")
        try:
            return cls(RunDirectory.open(run, runs_dir))
        except OSError as error:
            raise RunError(f"{run}: cannot be opened: {error.strerror or error}") from None

    @property
    def path(self) -> Path:
        return self.directory.path

    @cached_property
    def manifest(self) -> Manifest:
        return self.directory.read()

    @cached_property
    def trials(self) -> list[TrialRecord]:
        return read_trials(self.directory)

    @cached_property
    def front(self) -> Front:
        """Of the students trained to the end, those of before a tighter budget left out."""
        limits = self.manifest.study.limits()
        found = candidates(self.trials, self.manifest.measured)
        return Front(candidate for candidate in found if limits.admits(candidate))

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
        return costs(self.trials, self.manifest.trained_samples, self.manifest.measured)
