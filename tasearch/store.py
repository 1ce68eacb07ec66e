"""Hops on disk: atomic, sealed, checked.

Each file is a valid safetensors file whose header holds a record and a SHA-256 of everything else,
so that one file is either whole and true, or known to be damaged. Records are read without torch.

    hops/<key>.safetensors      a finished hop: weights, and its record
    partial/<key>.safetensors   a hop in flight: weights, optimizer, and its record so far
    targets/<key>-<slot>.safetensors   soft targets: a hop's logits on one view of each sample
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tasearch import pulse
from tasearch.chain import canonical_json
from tasearch.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

SEAL = "tasearch"  # the one key of the header's metadata
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class HopRecord:
    """What is known of a hop besides its weights: no times, so that equal hops have equal files.

    Args:
        widths: its lineage, ancestors first.
        recipes: of the lineage; None for a loaded teacher.
        mode: of its training: "fp32" or "bf16", and " x5" if five replicates were one wide model.
        epoch: epochs done.
        epochs: at which the curves were taken.
        curves: validation accuracy at those epochs, of each replicate.
    """

    widths: tuple[int, ...]
    recipes: tuple[Mapping[str, Any] | None, ...]
    mode: str
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
    """

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda message: None) -> None:
        self.path = path
        self.warn = warn

    def has(self, key: str) -> bool:
        """Whether a hop is finished and its file is whole."""
        return self.record("hops", key) is not None

    def record(self, kind: str, key: str) -> HopRecord | None:
        """The record of a file; None where there is none or it is damaged."""
        found = self._read(self._file(kind, key))
        return None if found is None else found[1]

    def load(self, kind: str, key: str) -> tuple[dict[str, Tensor], HopRecord] | None:
        """The tensors and the record of a file, verified; None where absent or damaged.

        Args:
            kind: "hops", "partial" or "targets".
            key: the hop's.
        """
        from safetensors.torch import load  # torch stays out of listing and reporting

        found = self._read(self._file(kind, key))
        return None if found is None else (load(found[0]), found[1])

    def save(self, kind: str, key: str, tensors: Tensors, record: HopRecord) -> None:
        """Write a file at once or not at all.

        Raises:
            StoreError: where there is no room.
        """
        from safetensors.torch import save

        # clones, for safetensors refuses tensors that share their memory
        blob = save({k: t.detach().cpu().clone().contiguous() for k, t in tensors.items()})
        blob = seal(blob, asdict(record))
        write_atomic(self._file(kind, key), blob)

    def drop(self, kind: str, key: str) -> None:
        self._file(kind, key).unlink(missing_ok=True)

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
            with contextlib.suppress(FileNotFoundError):  # another worker deletes, too
                found = file.stat()
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
        with pulse.waiting():
            lock.acquire()
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

    def _read(self, file: Path) -> tuple[bytes, HopRecord] | None:
        try:
            blob = file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return blob, _record(verify(blob))
        except StoreError as error:
            self.warn(f"{file}: {error}; it counts as absent")
            return None


def numbered(parts: Iterable[Tensors]) -> dict[str, Tensor]:
    """The tensors of all replicates in one mapping."""
    return {f"{i}/{name}": t for i, part in enumerate(parts) for name, t in part.items()}


def replicate(tensors: Tensors, number: int) -> dict[str, Tensor]:
    """One replicate's tensors of those of all."""
    prefix = f"{number}/"
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def seal(blob: bytes, record: Mapping[str, Any]) -> bytes:
    """Put a record and a digest into the header of safetensors bytes."""
    header, data = _parts(blob)
    body = canonical_json(record)
    header["__metadata__"] = {SEAL: canonical_json([_digest(header, body, data), body])}
    head = canonical_json(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def verify(blob: bytes) -> dict[str, Any]:
    """The record of sealed bytes.

    Raises:
        StoreError: where they are damaged.
    """
    try:
        header, data = _parts(blob)
        digest, body = json.loads(header.pop("__metadata__")[SEAL])
        sound = digest == _digest(header, body, data)
        record = json.loads(body) if sound else None
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise StoreError("is damaged: not a sealed file") from None
    if not isinstance(record, dict):
        raise StoreError("is damaged: its content does not match its checksum")
    return record


def write_atomic(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash.

    Raises:
        StoreError: where it cannot be written.
    """
    temporary = file.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:  # not mkstemp, whose files nobody else may read
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise no_room(file, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def no_room(file: Path, error: OSError) -> StoreError:
    """The message for a write that failed."""
    if error.errno in NO_ROOM:
        return StoreError(
            f"{file}: no room left on the disk; what is finished is kept, "
            f"make room and run the same command again"
        )
    return StoreError(f"{file}: cannot be written: {error.strerror or error}")


def _parts(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of safetensors bytes."""
    (length,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    header.setdefault("__metadata__", {})
    return header, blob[8 + length :]


def _digest(header: Mapping[str, Any], body: str, data: bytes) -> str:
    tensors = canonical_json({k: v for k, v in header.items() if k != "__metadata__"})
    digest = hashlib.sha256(f"{len(tensors)}:{tensors}{len(body)}:{body}".encode())
    digest.update(data)
    return digest.hexdigest()


def _record(record: Mapping[str, Any]) -> HopRecord:
    return HopRecord(
        widths=tuple(record["widths"]),
        recipes=tuple(record["recipes"]),
        mode=record["mode"],
        epoch=record["epoch"],
        epochs=tuple(record["epochs"]),
        curves=tuple(map(tuple, record["curves"])),
    )
