"""What a run is of: its study, the profile of its models, and digests of its data and code.

measurements.json  the profile: what each width costs to run and how it trains
run.json           the study, the digests, and the seal of measurements.json
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tasearch.chains.keys import canonical_json
from tasearch.chains.mode import Mode, modes_as_text, modes_from_text
from tasearch.config.study import Study
from tasearch.errors import StoreError
from tasearch.pareto.measurement import Measurement, TimingConditions
from tasearch.pareto.metric import Metric, metric_of
from tasearch.pareto.reference_box import ReferenceBox
from tasearch.runs.seals import SEAL, seal_json, unseal_json


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What each width costs to run and how it trains, found before the search and then frozen.

    Args:
        measured: Size, FLOPs and latency by width, the teacher's first.
        setup: What the measurements depend on besides the models: shapes, backend, batch, threads.
        modes: Training modes by width; without the width of a loaded teacher.
        device: The device that latencies were measured on, in words.
        timing: What is known of the machine while it measured.
    """

    measured: Mapping[int, Measurement]
    setup: Mapping[str, Any]
    modes: Mapping[int, Mode]
    device: str
    timing: TimingConditions = field(default_factory=TimingConditions)

    def pinned_modes(self) -> dict[str, str]:
        """The modes as the key `training.modes` of a study has them, under the names of sizes."""
        named = {width: width for width in self.measured}
        return {str(named[width]): str(mode) for width, mode in self.modes.items()}

    def content(self) -> dict[str, Any]:
        """The content of measurements.json, as plain values."""
        return {
            "device": self.device,
            "setup": dict(self.setup),
            "modes": modes_as_text(self.modes),
            "measurements": [m.content() for m in self.measured.values()],
            "timing": asdict(self.timing),
        }


@dataclass(frozen=True, kw_only=True)
class Manifest(Profile):
    """What a run is of: its study, the profile of its models, and what else decides its results.

    Args:
        study: The study as its file has it, with an absolute `root`.
        inputs: Digests of data and code, the kind of device and the trainer's version.
        samples: Number of samples in the training set.
        validation: Number of samples in the validation set.
        space: Number of chains within the budget.
        names: Names of the classes by number, if they are more than numbers.
        bounds: Scores of guessing and of perfect predictions, for a metric of the user's.
        identity: Digest that run.json and the journal have in common; computed if not given.
    """

    study: Study
    inputs: Mapping[str, str]
    samples: int
    validation: int
    space: int
    names: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    identity: str = ""

    @classmethod
    def from_profile(cls, profile: Profile, **rest: Any) -> Manifest:
        """A manifest with the values of a profile.

        Args:
            profile: The profile.
            rest: The other fields of the manifest.
        """
        own = {name.name: getattr(profile, name.name) for name in fields(Profile)}
        return cls(**own, **rest)

    def __post_init__(self) -> None:
        if not self.identity:
            object.__setattr__(self, "identity", self._identify())

    @property
    def classes(self) -> int:
        return int(self.setup["num_classes"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by number; "0", "1" and so on where they have no others."""
        return self.names or tuple(map(str, range(self.classes)))

    @property
    def metric(self) -> Metric:
        """What models are compared by."""
        return metric_of(self.study.objective.metric, self.classes, self.bounds)

    @property
    def candidates(self) -> dict[int, Measurement]:
        """Measurements of the students' and assistants' widths within the budget."""
        budget = self.study.limits()
        within = {w: self.measured[w] for w in self.study.widths[1:]}
        return {width: m for width, m in within.items() if budget.admits(m)}

    @property
    def reference_box(self) -> ReferenceBox:
        """The box that this run's hypervolume is measured in."""
        return ReferenceBox.from_measurements(self.candidates.values(), metric=self.metric)

    @property
    def trained_samples(self) -> int:
        """Number of samples in an epoch, over all replicates."""
        return self.samples * self.study.search.replicates

    def _identify(self) -> str:
        """A digest of what makes two runs the same; length, place and date are left out."""
        content = [self.study.identity(), dict(self.inputs), self.content()]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]

    def measurements_json(self) -> bytes:
        """The content of measurements.json."""
        return seal_json("measurements", self.content())

    def run_json(self, place: Path) -> bytes:
        """The content of run.json.

        Args:
            place: The path of the run's directory.
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
        if self.names:
            content["class_names"] = self.names
        if self.bounds is not None:
            content["metric_bounds"] = self.bounds
        return seal_json("run", content)


@dataclass(frozen=True, kw_only=True)
class MeasurementsFile(Profile):
    """The profile in measurements.json.

    Args:
        seal: The file's seal, which run.json repeats.
    """

    seal: str

    @classmethod
    def from_json(cls, blob: bytes) -> MeasurementsFile:
        """The profile in the bytes of a file.

        Raises:
            StoreError: The seal is broken.
            ValueError: A value is not one that `Profile.content` writes.
        """
        content = unseal_json("measurements", blob)
        measured = [Measurement.from_json(m) for m in content["measurements"]]
        return cls(
            measured={m.width: m for m in measured},
            setup=dict(content["setup"]),
            modes=modes_from_text(content["modes"]),
            device=str(content["device"]),
            timing=TimingConditions.from_json(content["timing"]),
            seal=content[SEAL],
        )


def manifest_of(blob: bytes, found: MeasurementsFile, place: Path) -> Manifest:
    """The manifest in the bytes of run.json.

    If the run's folder has been moved, the study's root is looked for in its new place too.

    Args:
        blob: The bytes of run.json.
        found: The profile in measurements.json.
        place: The path of the run's directory, where it is now.

    Raises:
        StoreError: The seal is broken, or the two files are of different runs.
    """
    content = unseal_json("run", blob)
    if content["measurements"] != found.seal:
        raise StoreError("and measurements.json are of different runs")
    study = Study.model_validate_json(json.dumps(content["study"]))
    home, noted = home_of(place), content["place"]
    if str(home) != noted["run"]:  # moved, with its study or without
        moved = os.path.normpath(home / noted["root_from_run"])
        root = max(moved, study.root, key=lambda root: _files_below(root, study))
        study = study.model_copy(update={"root": root})
    own = {key: content[key] for key in ("inputs", "samples", "validation", "space", "identity")}
    names = tuple(content.get("class_names", ()))
    bounds = tuple(content["metric_bounds"]) if "metric_bounds" in content else None
    return Manifest.from_profile(found, study=study, names=names, bounds=bounds, **own)


def home_of(place: Path) -> Path:
    """The absolute path of a run's directory, which may itself be a link."""
    path = Path.cwd() / place
    return path.parent.resolve() / path.name if path.name != ".." else path.resolve()


def _files_below(root: str, study: Study) -> int:
    """The number of files and modules of a study that are found below a folder."""
    tops = {name.partition(":")[0].partition(".")[0] for _, name in study.own_functions}
    files = [study.data.path, study.data.tokenizer]
    files += [model.checkpoint for model in study.teacher.models]
    places = [Path(root, path) for path in files if path]
    places += [place for top in tops for place in (Path(root, f"{top}.py"), Path(root, top))]
    return sum(map(os.path.exists, places))
