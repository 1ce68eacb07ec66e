"""What the training of each width takes, hop by hop as it goes on."""

from __future__ import annotations

from tasearch.report.time_left import Range, Work, time_left
from tasearch.runs.manifest import Manifest
from tasearch.runs.records import training_flops


class TrainingTimes:
    """The training of hops, which is told epoch by epoch.

    Args:
        manifest: The run's manifest.

    Attributes:
        reached: Width and number of epochs of each hop, by key.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.reached: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, float] = {}  # when the last epoch of each hop ended, by key
        self._observed: dict[int, tuple[Work, float]] = {}  # training and its seconds, by width

    def start(self, key: str, label: str, epoch: int, seconds: float = 0.0) -> None:
        """Take in the start of a hop.

        Args:
            key: The hop's key.
            label: Its lineage in words, such as `64 → 12`.
            epoch: Number of epochs done before.
            seconds: Seconds so far.
        """
        teacher, last = self._manifest.study.teacher, label.rpartition(" → ")[2]
        known = {str(width): width for width in self._manifest.measured}
        width = teacher.width if last == teacher.label else known[last]
        _, before = self.reached.get(key, (width, 0))
        self.reached[key], self._seen[key] = (width, max(before, epoch)), seconds

    def reach(self, key: str, epoch: int, seconds: float, replicates: int | None = None) -> None:
        """Take in that a hop has been trained up to an epoch.

        Args:
            key: The hop's key.
            epoch: Number of epochs done.
            seconds: Seconds so far.
            replicates: Number of its replicates; None for the study's own.
        """
        width, before = self.reached[key]
        if epoch <= before:
            return
        work, spent = self._observed.get(width, (Work(), 0.0))
        work += self.work(width, epoch - before, replicates)
        self._observed[width] = work, spent + seconds - self._seen[key]
        self.reached[key], self._seen[key] = (width, epoch), seconds

    def work(self, width: int, epochs: int, replicates: int | None = None) -> Work:
        """The training of a width for some epochs."""
        manifest = self._manifest
        count = manifest.study.search.replicates if replicates is None else replicates
        flops = training_flops(width, epochs, manifest.samples * count, manifest.measured)
        return Work(flops=flops, epochs=epochs)

    def left(self, seconds: float, low: Work, high: Work) -> Range | None:
        """The time that more training takes, by as many workers as were busy so far.

        Args:
            seconds: Seconds so far.
            low: Least training that is left.
            high: Most training that is left.

        Returns:
            Least and most seconds; None before the first epoch.
        """
        observed = [*self._observed.values()]
        found, busy = time_left(observed, low, high), sum(spent for _, spent in observed)
        if found is None or not busy:
            return None
        return found[0] * seconds / busy, found[1] * seconds / busy

    def idle(self, seconds: float) -> bool:
        """Whether fewer than one worker was busy so far, on average."""
        return sum(spent for _, spent in self._observed.values()) < seconds
