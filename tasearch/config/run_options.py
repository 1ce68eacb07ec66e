"""How a study is run: where, how long, on what device and by how many workers.

None of these options changes the result of a hop; a study file holds what does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tasearch.config.arguments import (
    check_device,
    check_engine,
    check_folder,
    check_trials,
    check_utf8,
    check_workers,
)
from tasearch.config.places import Place, Url, absolute, check_place
from tasearch.config.study import Study
from tasearch.errors import StudyError


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `tasearch.run` and of `tasearch run`, checked when they are made.

    Args:
        runs_dir: The folder or the URL of all runs; the run is `study.name` in it.
        trials: Number of trials to reach in all; None for the study's own number.
        device: "auto", "cpu" or "cuda".
        latency_from: The run whose latencies are taken, by its path or by its name under
            `runs_dir`; None to measure them.
        workers: Number of training processes, or "auto": one for each GPU, or for each core.
        retry_failed: Whether to repeat all failed trials; those that failed because of the
            machine, such as for lack of memory, are repeated in any case.
        engine: Where workers run: "local" for this machine, "ray" for the nodes of a Ray cluster.
        address: The cluster: "auto" for the one that this machine belongs to, or HOST:PORT; None to
            start one on this machine, which ends with the run.
        from_shell: Whether messages name options as a shell does: `--runs-dir`, not `runs_dir`.

    Raises:
        RunError: A value is not allowed; the message names the option.

    Example:
        >>> RunOptions(device="tpu")
        Traceback (most recent call last):
            ...
        tasearch.errors.RunError: device: should be "auto", "cpu" or "cuda", found 'tpu'
    """

    runs_dir: str | Place = "runs"
    trials: int | None = None
    device: str = "auto"
    latency_from: str | Place | None = None
    workers: int | str = 1
    retry_failed: bool = False
    engine: str = "local"
    address: str | None = None
    from_shell: bool = False

    def __post_init__(self) -> None:
        if self.trials is not None:
            check_trials(self.trials, self._name("trials"))
        check_place(self.runs_dir, self._name("runs_dir"))
        check_device(self.device, self._name("device"))
        check_workers(self.workers, self._name("workers"))
        check_engine(self.engine, self.address, self._name("engine"), self._name("address"))
        if self.latency_from is not None:
            check_place(self.latency_from, self._name("latency_from"))

    @property
    def local_workers(self) -> str:
        """The number of workers on this machine, or "auto"; one prepares a search on a cluster."""
        return str(self.workers) if self.engine == "local" else "1"

    @property
    def runs_place(self) -> Place:
        """The folder or the URL of all runs."""
        return check_place(self.runs_dir, self._name("runs_dir"))

    def run_place(self, study: Study) -> Place:
        """The path or the URL of the study's run, which need not exist."""
        return self.runs_place / study.name

    def trials_of(self, study: Study) -> int:
        """The number of trials to reach in all."""
        return study.search.trials if self.trials is None else self.trials

    def check_places(self, study: Study) -> None:
        """Refuse a study whose run could not be written; nothing is made.

        Raises:
            RunError: The folder of the run cannot be made or written to.
            StudyError: The study's root is not text.
        """
        folder, name = self.run_place(study), self._name("runs_dir")
        if not isinstance(folder, Url):
            check_utf8(folder, name)
        check_utf8(Path(study.root), "root", StudyError)
        if not isinstance(folder, Url):
            check_folder(folder, name)

    def absolute(self) -> RunOptions:
        """The same options, which hold in whatever folder the process is later."""
        return replace(self, runs_dir=absolute(self.runs_place))

    def _name(self, option: str) -> str:
        return f"--{option.replace('_', '-')}" if self.from_shell else option
