"""What a run is of: its study, what it was measured to cost, and whose run it is.

measurements.json  what each width costs to run and how it trains, frozen
run.json           the study, the digests of its data and models, the seal of the measurements
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasearch.chains.keys import canonical_json
from tasearch.chains.mode import Mode, modes_as_text, modes_from_text
from tasearch.errors import StoreError
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.reference import Reference
from tasearch.pareto.measurement import Timing
from tasearch.runs.seals import SEAL, seal_json, unseal_json
from tasearch.config.study import Study


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run is of.

    Args:
        study: as its file had it; `root` is absolute.
        inputs: what else decides results: digests of data and code, the kind of device.
        samples: of the training part.
        validation: samples of the validation part.
        space: number of chains within the budget.
        measured: by width, the teacher's first.
        setup: what they were measured with: shapes, backend, batch, threads.
        modes: of training, by width; frozen, for a probe may have chosen them.
        device: that latencies were measured on, in words.
        timing: how the machine was meanwhile.
        identity: what run.json and the journal have in common; of the values above if not given.
    """

    study: Study
    inputs: Mapping[str, str]
    samples: int
    validation: int
    space: int
    measured: Mapping[int, Measurement]
    setup: Mapping[str, Any]
    modes: Mapping[int, Mode]
    device: str
    timing: Timing = field(default_factory=Timing)
    identity: str = ""

    def __post_init__(self) -> None:
        if not self.identity:
            object.__setattr__(self, "identity", self._identify())

    @property
    def classes(self) -> int:
        return int(self.setup["num_classes"])

    @property
    def candidates(self) -> dict[int, Measurement]:
        """Of the widths within the budget but the teacher's, students' and assistants'."""
        budget = self.study.limits()
        within = {w: self.measured[w] for w in self.study.widths[1:]}
        return {width: m for width, m in within.items() if budget.admits(m)}

    @property
    def reference(self) -> Reference:
        """The box that this run's hypervolume is measured in."""
        return Reference.from_measurements(self.candidates.values(), classes=self.classes)

    @property
    def trained_samples(self) -> int:
        """Samples of an epoch, over all replicates."""
        return self.samples * self.study.search.replicates

    def _identify(self) -> str:
        """A digest of what makes two runs the same: not of their length, place or date."""
        content = [self.study.identity(), dict(self.inputs), self._measurements()]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]

    def _measurements(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "setup": dict(self.setup),
            "modes": modes_as_text(self.modes),
            "measurements": [asdict(m) for m in self.measured.values()],
            "timing": asdict(self.timing),
        }

    def measurements_json(self) -> bytes:
        """The content of measurements.json."""
        return seal_json("measurements", self._measurements())

    def run_json(self, place: Path) -> bytes:
        """The content of run.json.

        Args:
            place: Path of the run's directory.
        """
        home = home_of(place)
        try:
            from_run = os.path.relpath(self.study.root, home)
        except ValueError:  # on another drive
            from_run = self.study.root
        content = {
            "study": self.study.model_dump(mode="json"),
            "place": {"run": str(home), "root_from_run": from_run},
            "inputs": dict(self.inputs),
            "samples": self.samples,
            "validation": self.validation,
            "space": self.space,
            "identity": self.identity,
            "measurements": unseal_json("measurements", self.measurements_json())[SEAL],
        }
        return seal_json("run", content)


@dataclass(frozen=True, kw_only=True)
class MeasurementsFile:
    """What measurements.json holds; see `Manifest`."""

    measured: dict[int, Measurement]
    setup: dict[str, Any]
    modes: dict[int, Mode]
    device: str
    timing: Timing
    seal: str

    @classmethod
    def from_json(cls, blob: bytes) -> MeasurementsFile:
        """From the file's content.

        Raises:
            StoreError: saying what is wrong with it.
        """
        content = unseal_json("measurements", blob)
        measured = [Measurement.from_json(m) for m in content["measurements"]]
        return cls(
            measured={m.width: m for m in measured},
            setup=dict(content["setup"]),
            modes=modes_from_text(content["modes"]),
            device=str(content["device"]),
            timing=Timing.from_json(content["timing"]),
            seal=content[SEAL],
        )


def manifest_of(blob: bytes, found: MeasurementsFile, place: Path) -> Manifest:
    """From the content of run.json.

    Args:
        blob: Content of run.json.
        found: Content of measurements.json.
        place: Path of the run's directory, where it lies now.

    Raises:
        StoreError: saying what is wrong with it.
    """
    content = unseal_json("run", blob)
    if content["measurements"] != found.seal:
        raise StoreError("and measurements.json are of different runs")
    study = Study.model_validate_json(json.dumps(content["study"]))
    home, noted = home_of(place), content["place"]
    if str(home) != noted["run"]:  # moved: together with its study, or alone
        moved = os.path.normpath(home / noted["root_from_run"])
        root = max(moved, study.root, key=lambda root: _files_below(root, study))
        study = study.model_copy(update={"root": root})
    return Manifest(
        study=study,
        inputs=content["inputs"],
        samples=content["samples"],
        validation=content["validation"],
        space=content["space"],
        measured=found.measured,
        setup=found.setup,
        modes=found.modes,
        device=found.device,
        timing=found.timing,
        identity=content["identity"],
    )


def home_of(place: Path) -> Path:
    """The absolute path of a run's directory, which may itself be a link."""
    path = Path.cwd() / place
    return path.parent.resolve() / path.name if path.name != ".." else path.resolve()


def _files_below(root: str, study: Study) -> int:
    """How many of the files and modules that a study names are below a folder."""
    tops = {name.partition(":")[0].partition(".")[0] for _, name in study.own_functions}
    places = [Path(root, path) for path in (study.data.path, study.teacher.checkpoint) if path]
    places += [place for top in tops for place in (Path(root, f"{top}.py"), Path(root, top))]
    return sum(map(os.path.exists, places))
