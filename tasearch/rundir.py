"""A run directory: what is in it, who may write, and whose study it is.

run.json           the study, the digests of its data and models, the trials asked for
measurements.json  what each width costs to run, frozen
journal.log        Optuna's study
events.jsonl       every hop's start and end, with seconds
lock               held by the driver
hops/ partial/ targets/   the store
locks/             held by workers
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tasearch.chain import canonical_json
from tasearch.errors import RunError, first_line
from tasearch.front import Measurement, Reference
from tasearch.rounds import Timing
from tasearch.store import Store, no_room, write_atomic
from tasearch.study import Study

FORMAT = 2  # of measurements.json
REMEDY = "put the file back, or remove the folder and run the study again"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
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
    """

    study: Study
    inputs: Mapping[str, str]
    samples: int
    validation: int
    space: int
    measured: Mapping[int, Measurement]
    setup: Mapping[str, Any]
    modes: Mapping[int, str]
    device: str
    timing: Timing = field(default_factory=Timing)

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
        return Reference.of(self.candidates.values(), classes=self.classes)

    @property
    def trained_samples(self) -> int:
        """Samples of an epoch, over all replicates."""
        return self.samples * self.study.search.replicates


class RunDir:
    """One run directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def open(run: str | Path, runs_dir: str | Path = "runs") -> RunDir:
        """An existing run, by its path or by its name under `runs_dir`.

        Raises:
            RunError: where there is none.
        """
        for path in (Path(run), Path(runs_dir) / run):
            if (path / "run.json").is_file():
                return RunDir(path)
        raise RunError(f"{run}: no such run; `tasearch run STUDY.toml` makes one in {runs_dir}/")

    @property
    def exists(self) -> bool:
        return (self.path / "run.json").is_file()

    @property
    def journal(self) -> Path:
        return self.path / "journal.log"

    @property
    def busy(self) -> bool:
        """Whether a driver holds the run."""
        if not (self.path / "lock").exists():
            return False
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return True
        lock.release()
        return False

    def store(self, warn: Callable[[str], None] = lambda message: None) -> Store:
        return Store(self.path, warn)

    def check_free(self) -> None:
        """Tell early what `locked` would tell.

        Raises:
            RunError: where another driver holds the run.
        """
        if self.exists:
            with self.locked():
                pass

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one driver, and tidy it; the system lets go when the process ends.

        Raises:
            RunError: where another driver holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(self.path, error) from None
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.path}: another tasearch is running this study") from None
        except OSError as error:
            raise no_room(self.path / "lock", error) from None
        try:
            for litter in self.path.glob("**/.*.tmp"):  # of a write that a kill cut off
                litter.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def write(self, snapshot: Snapshot) -> None:
        """Freeze the measurements, then the study; `run.json` last, for it makes the run."""
        measured = {
            "format": FORMAT,
            "device": snapshot.device,
            "setup": dict(snapshot.setup),
            "measurements": [asdict(m) for m in snapshot.measured.values()],
            "timing": asdict(snapshot.timing),
        }
        self._write_json("measurements.json", measured)
        content = {
            "study": snapshot.study.model_dump(mode="json"),
            "inputs": dict(snapshot.inputs),
            "samples": snapshot.samples,
            "validation": snapshot.validation,
            "space": snapshot.space,
            "modes": {str(width): mode for width, mode in snapshot.modes.items()},
        }
        self._write_json("run.json", content)

    def read(self) -> Snapshot:
        """What `write` wrote.

        Raises:
            RunError: where it is damaged.
        """
        measured, setup, device, timing = self.measurements()
        try:
            content = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            return Snapshot(
                study=Study.model_validate_json(json.dumps(content["study"])),
                inputs=content["inputs"],
                samples=content["samples"],
                validation=content["validation"],
                space=content["space"],
                measured=measured,
                setup=setup,
                modes={int(width): str(mode) for width, mode in content["modes"].items()},
                device=device,
                timing=timing,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path / 'run.json'}: cannot be read: {first_line(error)}; {REMEDY}"
            ) from None

    def measurements(self) -> tuple[dict[int, Measurement], dict[str, Any], str, Timing]:
        """The frozen measurements by width, their set-up, the device in words, and how it was.

        Raises:
            RunError: where they are damaged, or of another version of tasearch.
        """
        file = self.path / "measurements.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found = content.get("format", 1)
            if found != FORMAT:
                raise RunError(
                    f"{file}: format should be {FORMAT}, found {found!r}: another version of "
                    "tasearch wrote it; run the study again under another name"
                )
            measured = [Measurement.of(m) for m in content["measurements"]]
            timing = Timing.of(content["timing"])
            by_width = {m.width: m for m in measured}
            return by_width, dict(content["setup"]), str(content["device"]), timing
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{file}: cannot be read: {first_line(error)}; {REMEDY}") from None

    def check_same(self, study: Study, inputs: Mapping[str, str]) -> Snapshot:
        """The snapshot of this run, if it is of this very study.

        Raises:
            RunError: naming the first thing that differs.
        """
        snapshot = self.read()
        was, now = snapshot.study.identity(), study.identity()
        was |= snapshot.inputs
        now |= inputs
        for name in now:
            if was.get(name) != now[name]:
                raise RunError(
                    f"{self.path}: was made by a different study: {name} was "
                    f"{json.dumps(was.get(name))}, is {json.dumps(now[name])}; "
                    f"give the study another name, or use another --runs-dir"
                )
        return snapshot

    def log(self, event: str, **values: Any) -> None:
        """Append one line to events.jsonl."""
        line = canonical_json({"event": event, "time": round(time.time(), 3), **values}) + "\n"
        file = self.path / "events.jsonl"
        try:
            torn = file.exists() and file.stat().st_size > 0 and not _ends_line(file)
            with file.open("ab") as stream:
                stream.write((b"\n" if torn else b"") + line.encode())
        except OSError as error:
            raise no_room(file, error) from None

    def seconds(self) -> float:
        """That searches of this run took so far, as far as events.jsonl tells."""
        spent = start = last = 0.0
        for event in self.events():
            if event["event"] == "search":
                spent, start = spent + last - start, event["time"]
            last = event["time"]
        return spent + last - start

    def events(self) -> list[dict[str, Any]]:
        """The lines of events.jsonl; one that a kill tore is left out."""
        file = self.path / "events.jsonl"
        events = []
        for line in file.read_bytes().splitlines() if file.exists() else []:
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
        return events

    def _write_json(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_atomic(self.path / name, text.encode())


def _ends_line(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
