"""Checksums: of a JSON object as a whole, of a log line by line, of safetensors in their header.

They find damage and edits, not forgery: whoever computes them anew is believed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tasearch.chains.keys import canonical_json
from tasearch.errors import StoreError, first_line

META = "tasearch"  # the one key of safetensors' metadata
SEAL = "seal"  # the key of a checksum; the last of a line or an object
DIGITS = 32
_SEALED = re.compile(rb',"seal":"([0-9a-f]{%d})"}\Z' % DIGITS)
_NUMBER = re.compile(rb',"line":([1-9][0-9]{0,17}),"before":"[0-9a-z]*"\Z')


def read_file(file: Path) -> bytes:
    """The content of a regular file; a pipe, which would make a reader wait, is refused.

    Raises:
        OSError: where it cannot be read.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(file))
    return file.read_bytes()


def seal_json(kind: str, content: Mapping[str, Any]) -> bytes:
    """A JSON object with a checksum, one key a line.

    Args:
        kind: what the file is, so that none passes for one of another kind.
        content: what to write; it has no key `seal`.
    """
    sealed = {**content, SEAL: _digest(kind, content)}
    text = json.dumps(sealed, indent=1, ensure_ascii=False) + "\n"
    return text.encode()


def unseal_json(kind: str, blob: bytes) -> dict[str, Any]:
    """What `seal_json` was given, and its checksum under `seal`.

    Raises:
        StoreError: saying what is wrong with it.
    """
    try:
        content = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"is no JSON: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise StoreError(f"should hold a JSON object, found {type(content).__name__}")
    if SEAL not in content:
        raise StoreError("bears no seal: an older version of tasearch made it, or it was edited")
    rest = {key: value for key, value in content.items() if key != SEAL}
    try:
        sound = content[SEAL] == _digest(kind, rest)
    except (ValueError, RecursionError):  # of what we never write: NaN, a thousand brackets
        sound = False
    if not sound:
        raise StoreError("does not match its checksum: it was edited, or is damaged")
    return content


def seal_tensors(blob: bytes, record: Mapping[str, Any], name: str) -> bytes:
    """Put a record, a name and a digest into the header of safetensors bytes."""
    header, data = _parts(blob)
    body = canonical_json(record)
    sealed = [_tensors_digest(header, [name, body], data), name, body]
    header["__metadata__"] = {META: canonical_json(sealed)}
    head = canonical_json(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def unseal_tensors(blob: bytes, name: str) -> dict[str, Any]:
    """The record of sealed bytes.

    Args:
        blob: content of a file.
        name: what it was sealed as.

    Raises:
        StoreError: where they are damaged, or were sealed as something else.
    """
    try:
        header, data = _parts(blob)
        digest, own, body = json.loads(header.pop("__metadata__")[META])
        sound = digest == _tensors_digest(header, [own, body], data)
        record = json.loads(body) if sound else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        raise StoreError("is damaged: not a sealed file") from None
    if not isinstance(record, dict):
        raise StoreError("is damaged: its content does not match its checksum")
    if own != name:
        raise StoreError(f"is damaged: holds what belongs in {own}.safetensors")
    return record


class Fit(Enum):
    """How a line of a log fits those before it."""

    NEXT = "is sealed, and the next"
    FOREIGN = "bears no seal"
    DAMAGED = "does not match its checksum: it was edited, or is damaged"
    LATER = "does not follow the line before: lines between them were removed or changed"
    AGAIN = "is out of its order: it was doubled or moved"


class Chain:
    """The state of a log whose lines are JSON objects, each with its number, the digest of what is
    before it and its own.

    Lines of others may stand between; the next sealed line covers them too.

    Args:
        kind: what the log is, so that no line passes for one of another log.

    Attributes:
        number: of the last sealed line.
    """

    def __init__(self, kind: str) -> None:
        self.number = 0
        self._digest = kind
        self._certain = True  # whether the line before was sound

    def seal(self, content: Mapping[str, Any]) -> bytes:
        """The next line, its end included; the chain goes on from it."""
        body = json.dumps({**content, **self._place()}, separators=(",", ":")).encode()
        self._digest, self._certain = _hash(body), True
        self.number += 1
        return body[:-1] + f',"{SEAL}":"{self._digest}"}}\n'.encode()

    def follow(self, line: bytes) -> Fit:
        """Take up a line, without its end, whatever it is; one of others leaves the chain as it is.

        A line after a damaged one counts as the next if its number does.
        """
        found = _SEALED.search(line)
        if found is None:
            self._certain = False
            return Fit.FOREIGN
        body = line[: found.start()]
        number = _NUMBER.search(body)
        sound = _hash(body + b"}") == found[1].decode() and number is not None
        stated = int(number[1]) if number else self.number + 1
        if sound and stated <= self.number:
            return Fit.AGAIN
        follows = stated == self.number + 1 and (
            not self._certain or body.endswith(_inner(self._place()))
        )
        self._digest, self._certain = found[1].decode(), sound
        self.number = stated if sound else self.number + 1  # a damaged number is not believed
        if not sound:
            return Fit.DAMAGED
        return Fit.NEXT if follows else Fit.LATER

    def cover(self, line: bytes) -> None:
        """Let the next sealed line cover a line of others, without its end."""
        self._digest, self._certain = _hash(self._digest.encode() + b"\n" + line), True

    def _place(self) -> dict[str, Any]:
        return {"line": self.number + 1, "before": self._digest}


@dataclass(frozen=True, kw_only=True)
class Log:
    """A log as it was read.

    Args:
        lines: contents of the sound lines, in order.
        damage: place, from 1, and fault of each line that is not what was written.
        chain: state at its end, to go on from.
        size: bytes of its whole lines.
    """

    lines: list[dict[str, Any]]
    damage: list[tuple[int, Fit]]
    chain: Chain
    size: int


def read_log(kind: str, blob: bytes) -> Log:
    """Read a log whose lines are all sealed; damaged ones are named and left out.

    A last line without an end is still being written, or a kill tore it: it is no damage.
    """
    chain, lines = Chain(kind), []
    damage: list[tuple[int, Fit]] = []
    *whole, rest = blob.split(b"\n")
    for place, line in enumerate(whole, 1):
        fit = chain.follow(line)
        if fit is not Fit.NEXT:
            damage.append((place, fit))
        if fit in (Fit.NEXT, Fit.LATER):
            lines.append(json.loads(line))
    return Log(lines=lines, damage=damage, chain=chain, size=len(blob) - len(rest))


def _parts(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of safetensors bytes."""
    (length,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    header.setdefault("__metadata__", {})
    return header, blob[8 + length :]


def _tensors_digest(header: Mapping[str, Any], own: list[str], data: bytes) -> str:
    tensors = canonical_json({k: v for k, v in header.items() if k != "__metadata__"})
    digest = hashlib.sha256(canonical_json([tensors, *own]).encode())
    digest.update(data)
    return digest.hexdigest()


def _inner(content: Mapping[str, Any]) -> bytes:
    """The members of an object after others, as `Chain.seal` writes them."""
    return b"," + json.dumps(content, separators=(",", ":")).encode()[1:-1]


def _digest(kind: str, content: Mapping[str, Any]) -> str:
    return _hash(f"{kind}\n{canonical_json(content)}".encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
