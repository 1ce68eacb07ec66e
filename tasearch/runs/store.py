"""Hops on disk: atomic, sealed, checked.

Each file is a valid safetensors file whose header holds its own name, a record and a SHA-256 of
everything else, so that one file is either whole, true and in its place, or known to be damaged.
Records are read without torch.

    hops/<key>.safetensors      a finished hop: weights, and its record
    checkpoints/<key>.safetensors   a hop running: weights, optimizer, and its record so far
    targets/<key>-<phase>.safetensors   soft targets: a hop's logits on one view of each sample
"""

from __future__ import annotations


import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tasearch.runs import heartbeat
from tasearch.errors import StoreError
from tasearch.chains.mode import Mode
from tasearch.config.files import no_room, write_atomic
from tasearch.runs.seals import read_file, seal_tensors, unseal_tensors

if TYPE_CHECKING:
    from torch import Tensor


KINDS = ("hops", "checkpoints", "targets")
AGAIN = "`tasearch run` on the same study makes it again"
_OURS = re.compile(r"[0-9a-f]{32}(-[0-9]+)?\.safetensors")


@dataclass(frozen=True, kw_only=True)
class HopRecord:
    """What is known of a hop besides its weights: no times, so that equal hops have equal files.

    Args:
        widths: its lineage, ancestors first.
        recipes: of the lineage; None for a loaded teacher.
        mode: How its models were trained: precision, and whether in a stacked model.
        epoch: epochs done.
        epochs: at which the curves were taken.
        curves: validation accuracy at those epochs, of each replicate.
    """

    widths: tuple[int, ...]
    recipes: tuple[Mapping[str, Any] | None, ...]
    mode: Mode
    epoch: int
    epochs: tuple[int, ...]
    curves: tuple[tuple[float, ...], ...]

    @property
    def curve(self) -> tuple[float, ...]:
        """Mean over the replicates."""
        return tuple(sum(rung) / len(rung) for rung in zip(*self.curves, strict=True))

    def until(self, rung: int) -> HopRecord:
        """As it was at a rung, counted from 0."""
        return replace(
            self,
            epoch=self.epochs[rung],
            epochs=self.epochs[: rung + 1],
            curves=tuple(curve[: rung + 1] for curve in self.curves),
        )

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of each replicate at the last rung."""
        return tuple(curve[-1] for curve in self.curves if curve)


Tensors = Mapping[str, "Tensor"]


class Store:
    """The hops of one run.

    Args:
        path: the run directory.
        warn: told of each damaged file, which then counts as absent.
        strict: whether a damaged file is refused instead.
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
        """Whether a hop is finished and its file is whole."""
        return self.record("hops", key) is not None

    def record(self, kind: str, key: str) -> HopRecord | None:
        """The record of a file; None where there is none or it is damaged.

        Raises:
            StoreError: where it cannot be read, or is damaged and the store is strict.
        """
        found = self._read(kind, key)
        return None if found is None else found[1]

    def load(self, kind: str, key: str) -> tuple[dict[str, Tensor], HopRecord] | None:
        """The tensors and the record of a file, verified; None where absent or damaged.

        Args:
            kind: "hops", "checkpoints" or "targets".
            key: the hop's.

        Raises:
            StoreError: where it cannot be read, or is damaged and the store is strict.
        """
        from safetensors.torch import load  # torch stays out of listing and reporting

        found = self._read(kind, key)
        return None if found is None else (load(found[0]), found[1])

    def save(self, kind: str, key: str, tensors: Tensors, record: HopRecord) -> None:
        """Write a file at once or not at all.

        Raises:
            StoreError: where there is no room.
        """
        from safetensors.torch import save

        # clones, for safetensors refuses tensors that share their memory
        blob = save({k: t.detach().cpu().clone().contiguous() for k, t in tensors.items()})
        blob = seal_tensors(blob, {**asdict(record), "mode": str(record.mode)}, f"{kind}/{key}")
        write_atomic(self._file(kind, key), blob)

    def drop(self, kind: str, key: str) -> None:
        file = self._file(kind, key)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise no_room(file, error) from None

    def touch(self, kind: str, key: str) -> None:
        """Mark a file as used just now."""
        with contextlib.suppress(OSError):  # it may have gone, or be somebody else's
            os.utime(self._file(kind, key))

    def trim(self, kind: str, limit: float) -> None:
        """Delete the files of a kind that were not used for longest, down to `limit` bytes.

        The one used last stays, whatever its size.
        """
        used: list[tuple[float, int, Path]] = []
        for file in (self.path / kind).glob("*.safetensors"):
            if not _OURS.fullmatch(file.name):  # somebody else's
                continue
            with contextlib.suppress(FileNotFoundError):  # another worker deletes, too
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
        """Hold a name against other workers; the system lets go when the process ends."""
        file = self.path / "locks" / f"{name}.lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(file, error) from None
        lock = FileLock(file)
        with heartbeat.waiting():
            try:
                lock.acquire()
            except OSError as error:
                raise no_room(file, error) from None
        try:
            yield
            file.unlink(missing_ok=True)  # whoever waits on it may then make the same again
        finally:
            lock.release()

    def finished(self) -> list[str]:
        """Keys of all finished hops, whole or not, sorted."""
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


def numbered(parts: Iterable[Tensors]) -> dict[str, Tensor]:
    """The tensors of all replicates in one mapping."""
    return {f"{i}/{name}": t for i, part in enumerate(parts) for name, t in part.items()}


def replicate(tensors: Tensors, number: int) -> dict[str, Tensor]:
    """One replicate's tensors of those of all."""
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
    )
