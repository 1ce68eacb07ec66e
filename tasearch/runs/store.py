"""Hops on disk: files that are written atomically, sealed, and verified when they are read.

Each file is a valid safetensors file. Its header holds the file's own name, a record, and a SHA-256
of everything else, so that a file which is damaged, or in the wrong place, is always detected.
Records are read without torch.

    hops/<key>.safetensors             a finished hop: its weights and its record
    checkpoints/<key>.safetensors      an unfinished hop: weights, optimizer state, record so far
    snapshots/<key>-<rung>.safetensors the weights that a hop had at a rung, for models that learn
                                       from an earlier epoch of it
    targets/<key>-<phase>.safetensors  soft targets: a hop's logits on one view of each sample
    targets/<key>-<rung>-<phase>...    the same of a snapshot

Where workers may divide the replicates of a hop, each replicate has its own checkpoint and
snapshots: <key>-<replicate>.safetensors and <key>-<replicate>-<rung>.safetensors.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tasearch.chains.mode import Mode
from tasearch.config.files import write_atomic, write_error
from tasearch.errors import StoreError
from tasearch.runs import heartbeat
from tasearch.runs.accuracies import mean_accuracy
from tasearch.runs.seals import read_file, seal_tensors, unseal_tensors

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("hops", "checkpoints", "snapshots", "targets")
AGAIN = "`tasearch run` on the same study makes it again"
_NAME = re.compile(r"[0-9a-f]{32}(-[0-9]+){0,2}\.safetensors")


@dataclass(frozen=True, kw_only=True)
class HopRecord:
    """What is known of a hop besides its weights.

    It contains no times, so that equal hops have equal files.

    Args:
        widths: Widths of its lineage, ancestors first.
        recipes: Recipes of its lineage, as dicts; None for a loaded teacher.
        mode: How its models were trained: precision, and whether in a stacked model.
        epoch: Number of epochs done.
        epochs: Epochs of the rungs at which the curves were taken.
        curves: Validation score at these rungs, a curve for each replicate: the accuracy in 0..1,
            or that of the study's metric.
        errors: Of a finished hop, the standard error of each replicate's last score on the
            validation samples; empty where the score is a proportion, whose interval is known.
        recalls: Of a finished hop, the recall of each class on the validation set, 0..1, mean over
            replicates; None for a class without samples, empty where it was not measured.
    """

    widths: tuple[int, ...]
    recipes: tuple[Mapping[str, Any] | None, ...]
    mode: Mode
    epoch: int
    epochs: tuple[int, ...]
    curves: tuple[tuple[float, ...], ...]
    errors: tuple[float, ...] = ()
    recalls: tuple[float | None, ...] = ()

    @cached_property
    def curve(self) -> tuple[float, ...]:
        """Validation accuracy at each rung, mean over the replicates."""
        return tuple(map(mean_accuracy, zip(*self.curves, strict=True)))

    def until(self, rung: int) -> HopRecord:
        """The record as it was at a rung.

        Args:
            rung: Index of the rung, from 0.
        """
        return replace(
            self,
            epoch=self.epochs[rung],
            epochs=self.epochs[: rung + 1],
            curves=tuple(curve[: rung + 1] for curve in self.curves),
            errors=(),
            recalls=(),
        )

    @property
    def content(self) -> dict[str, Any]:
        """The record as JSON has it; without what was not measured."""
        found = {**asdict(self), "mode": str(self.mode)}
        return {n: v for n, v in found.items() if v or n not in ("errors", "recalls")}

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Validation accuracy of each replicate at the last rung."""
        return tuple(curve[-1] for curve in self.curves if curve)


Tensors = Mapping[str, "Tensor"]


class Store:
    """The hops of one run.

    Args:
        path: Path of the run's folder.
        warn: Function that receives a message for each damaged file; the file counts as absent.
        strict: Whether a damaged file raises an error instead.
    """

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], None] = lambda message: None,
        *,
        strict: bool = False,
    ) -> None:
        self.path = path
        self.warn = warn
        self._strict = strict

    def has(self, key: str) -> bool:
        """Whether a hop is finished and its file is undamaged."""
        return self.record("hops", key) is not None

    def record(self, kind: str, key: str) -> HopRecord | None:
        """The record of a file; None if the file is missing or damaged.

        Args:
            kind: Folder of the file, one of `KINDS`.
            key: Name of the file without its suffix; for a hop its key.

        Raises:
            StoreError: The file cannot be read, or is damaged and the store is strict.
        """
        found = self._read(kind, key)
        return None if found is None else found[1]

    def load(self, kind: str, key: str) -> tuple[dict[str, Tensor], HopRecord] | None:
        """The verified tensors and record of a file; None if the file is missing or damaged.

        Args:
            kind: Folder of the file, one of `KINDS`.
            key: Name of the file without its suffix; for a hop its key.

        Raises:
            StoreError: The file cannot be read, or is damaged and the store is strict.
        """
        from safetensors.torch import load  # listing and reporting do without torch

        found = self._read(kind, key)
        return None if found is None else (load(found[0]), found[1])

    def save(self, kind: str, key: str, tensors: Tensors, record: HopRecord) -> None:
        """Write a file completely or not at all.

        Args:
            kind: Folder of the file, one of `KINDS`.
            key: Name of the file without its suffix; for a hop its key.
            tensors: Tensors by name, on any device.
            record: What is known of the hop besides its tensors.

        Raises:
            StoreError: The file cannot be written.
        """
        from safetensors.torch import save

        # clones, because safetensors refuses tensors that share memory
        blob = save({k: t.detach().cpu().clone().contiguous() for k, t in tensors.items()})
        blob = seal_tensors(blob, record.content, f"{kind}/{key}")
        write_atomic(self._file(kind, key), blob)

    def drop(self, kind: str, key: str) -> None:
        """Delete a file, if there is one.

        Raises:
            StoreError: The file cannot be deleted.
        """
        file = self._file(kind, key)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(file, error) from None

    def touch(self, kind: str, key: str) -> None:
        """Mark a file as used now, so that `trim` keeps it longer."""
        with contextlib.suppress(OSError):  # it may be missing, or belong to another user
            os.utime(self._file(kind, key))

    def trim(self, kind: str, limit: float) -> None:
        """Delete the least recently used files of a folder until the others fit a limit.

        The file that was used last stays, whatever its size.

        Args:
            kind: The folder, one of `KINDS`.
            limit: Largest total size in bytes.
        """
        used: list[tuple[float, int, Path]] = []
        for file in (self.path / kind).glob("*.safetensors"):
            if not _NAME.fullmatch(file.name):  # tasearch has not written it
                continue
            with contextlib.suppress(FileNotFoundError):  # another worker deletes files as well
                found = file.lstat()
                used.append((found.st_mtime, found.st_size, file))
        total = sum(size for _, size, _ in used)
        for _, size, file in sorted(used)[:-1]:
            if total <= limit:
                break
            file.unlink(missing_ok=True)
            total -= size

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """A context that only one worker at a time enters for a name.

        The operating system releases the lock when the process ends.

        Args:
            name: Name of the lock.

        Raises:
            StoreError: The lock file cannot be written.
        """
        file = self.path / "locks" / f"{name}.lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(file, error) from None
        lock = FileLock(file)
        with heartbeat.waiting():
            try:
                lock.acquire()
            except OSError as error:
                raise write_error(file, error) from None
        try:
            yield
            file.unlink(missing_ok=True)  # a worker that waits for it may then repeat the work
        finally:
            lock.release()

    def finished(self) -> list[str]:
        """Keys of all finished hops, also of damaged files, sorted."""
        return sorted(file.stem for file in (self.path / "hops").glob("*.safetensors"))

    def _file(self, kind: str, key: str) -> Path:
        return self.path / kind / f"{key}.safetensors"

    def _read(self, kind: str, key: str) -> tuple[bytes, HopRecord] | None:
        file = self._file(kind, key)
        try:
            blob = read_file(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{file}: cannot be read: {error.strerror or error}") from None
        try:
            return blob, _record(unseal_tensors(blob, f"{kind}/{key}"))
        except StoreError as error:
            if self._strict:
                raise StoreError(f"{file}: {error}; {AGAIN}") from None
            self.warn(f"{file}: {error}; it counts as absent")
            return None


def numbered(replicates: Iterable[Tensors]) -> dict[str, Tensor]:
    """The tensors of all replicates in one mapping, under names such as `0/conv.weight`."""
    return {f"{i}/{name}": t for i, own in enumerate(replicates) for name, t in own.items()}


def replicate(tensors: Tensors, number: int) -> dict[str, Tensor]:
    """The tensors of one replicate.

    Args:
        tensors: The tensors of all replicates, as `numbered` names them.
        number: Number of the replicate, from 0.
    """
    prefix = f"{number}/"
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _record(record: Mapping[str, Any]) -> HopRecord:
    return HopRecord(
        widths=tuple(record["widths"]),
        recipes=tuple(record["recipes"]),
        mode=Mode.parse(record["mode"]),
        epoch=record["epoch"],
        epochs=tuple(record["epochs"]),
        curves=tuple(map(tuple, record["curves"])),
        errors=tuple(record.get("errors", ())),
        recalls=tuple(record.get("recalls", ())),
    )
