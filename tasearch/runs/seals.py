"""Seals: checksums within JSON files, within each line of a log, and in safetensors headers.

They reveal damage and edits. They are no signatures: a file with a recomputed seal is accepted.
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
LINE_KEYS = ("line", "before", SEAL)  # what `HashChain.seal` adds to a line
DIGITS = 32
_SEALED = re.compile(rb',"seal":"([0-9a-f]{%d})"}\Z' % DIGITS)
_NUMBER = re.compile(rb',"line":([1-9][0-9]{0,17}),"before":"[0-9a-z]*"\Z')


def read_file(file: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: The file cannot be read, or is a pipe, which would make a reader wait.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(file))
    return file.read_bytes()


def seal_json(kind: str, content: Mapping[str, Any]) -> bytes:
    """A JSON object with a checksum under the key `seal`, as the content of a file.

    Args:
        kind: Kind of the file, so that a file of another kind does not match its checksum.
        content: The object, without a key `seal`.
    """
    sealed = {**content, SEAL: _digest(kind, content)}
    text = json.dumps(sealed, indent=1, ensure_ascii=False) + "\n"
    return text.encode()


def unseal_json(kind: str, blob: bytes) -> dict[str, Any]:
    """The object that `seal_json` was given, and its checksum under the key `seal`.

    Args:
        kind: Kind of the file.
        blob: Content of the file.

    Raises:
        StoreError: The content is not what was written; the message says what is wrong.
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
    except (ValueError, RecursionError):  # tasearch never writes NaN, nor a thousand brackets
        sound = False
    if not sound:
        raise StoreError("does not match its checksum: it was edited, or is damaged")
    return content


def seal_tensors(blob: bytes, record: Mapping[str, Any], name: str) -> bytes:
    """Safetensors bytes with a record, a name and a checksum in their header.

    Args:
        blob: The bytes as safetensors writes them.
        record: What to store with the tensors.
        name: Name of the file within its run, so that it is accepted in no other place.
    """
    header, data = _parts(blob)
    text = canonical_json(record)
    sealed = [_tensors_digest(header, [name, text], data), name, text]
    header["__metadata__"] = {META: canonical_json(sealed)}
    head = canonical_json(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def unseal_tensors(blob: bytes, name: str) -> dict[str, Any]:
    """The record in sealed safetensors bytes.

    Args:
        blob: Content of a file.
        name: Name under which it was sealed.

    Raises:
        StoreError: The bytes are damaged, or were sealed under another name.
    """
    try:
        header, data = _parts(blob)
        digest, own, text = json.loads(header.pop("__metadata__")[META])
        sound = digest == _tensors_digest(header, [own, text], data)
        record = json.loads(text) if sound else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        raise StoreError("is damaged: not a sealed file") from None
    if not isinstance(record, dict):
        raise StoreError("is damaged: its content does not match its checksum")
    if own != name:
        raise StoreError(f"is damaged: holds what belongs in {own}.safetensors")
    return record


class LineStatus(Enum):
    """What a line of a log is, compared with the lines before it; the value is for messages."""

    NEXT = "is sealed, and the next"
    UNSEALED = "bears no seal"
    DAMAGED = "does not match its checksum: it was edited, or is damaged"
    LATER = "does not follow the line before: lines between them were removed or changed"
    EARLIER = "is out of its order: it was doubled or moved"


class HashChain:
    """The state of a log whose lines are JSON objects, each sealed together with those before it.

    A line holds its number, the digest of the line before, and its own digest. Unsealed lines of
    other programs may stand in between; the next sealed line then covers them as well.

    Args:
        kind: Kind of the log, so that a line of another kind of log does not fit in.

    Attributes:
        number: Number of the last sealed line, from 1; 0 before the first.
    """

    def __init__(self, kind: str) -> None:
        self.number = 0
        self._digest = kind
        self._certain = True  # whether the line before was undamaged

    def seal(self, content: Mapping[str, Any]) -> bytes:
        """The next line, with its line end; the chain then continues from it.

        Args:
            content: The object, without the keys `line`, `before` and `seal`.
        """
        text = json.dumps({**content, **self._place()}, separators=(",", ":")).encode()
        self._digest, self._certain = _hash(text), True
        self.number += 1
        return text[:-1] + f',"{SEAL}":"{self._digest}"}}\n'.encode()

    def follow(self, line: bytes) -> LineStatus:
        """Take in the next line of a log; an unsealed line leaves the chain as it is.

        After a damaged line, a line counts as the next one if its number does.

        Args:
            line: The line without its line end.
        """
        found = _SEALED.search(line)
        if found is None:
            self._certain = False
            return LineStatus.UNSEALED
        text = line[: found.start()]
        number = _NUMBER.search(text)
        sound = _hash(text + b"}") == found[1].decode() and number is not None
        stated = int(number[1]) if number else self.number + 1
        if sound and stated <= self.number:
            return LineStatus.EARLIER
        follows = stated == self.number + 1 and (
            not self._certain or text.endswith(_inner(self._place()))
        )
        self._digest, self._certain = found[1].decode(), sound
        self.number = stated if sound else self.number + 1  # a damaged line's number may be wrong
        if not sound:
            return LineStatus.DAMAGED
        return LineStatus.NEXT if follows else LineStatus.LATER

    def cover(self, line: bytes) -> None:
        """Let the next sealed line cover an unsealed one.

        Args:
            line: The unsealed line without its line end.
        """
        self._digest, self._certain = _hash(self._digest.encode() + b"\n" + line), True

    def _place(self) -> dict[str, Any]:
        return {"line": self.number + 1, "before": self._digest}


@dataclass(frozen=True, kw_only=True)
class Log:
    """The content of a log.

    Args:
        lines: Contents of the undamaged lines, in order.
        damage: Number, from 1, and status of each line that is not what was written.
        chain: State at the end of the log, from which it continues.
        size: Bytes of the finished lines.
    """

    lines: list[dict[str, Any]]
    damage: list[tuple[int, LineStatus]]
    chain: HashChain
    size: int


def read_log(kind: str, blob: bytes) -> Log:
    """Read a log whose lines are all sealed; damaged lines are reported and left out.

    A last line without a line end is no damage: it is still being written, or a kill cut it off.

    Args:
        kind: Kind of the log.
        blob: Content of its file.
    """
    chain, lines = HashChain(kind), []
    damage: list[tuple[int, LineStatus]] = []
    *finished, rest = blob.split(b"\n")
    for number, line in enumerate(finished, 1):
        status = chain.follow(line)
        if status is not LineStatus.NEXT:
            damage.append((number, status))
        if status in (LineStatus.NEXT, LineStatus.LATER):
            lines.append(json.loads(line))
    return Log(lines=lines, damage=damage, chain=chain, size=len(blob) - len(rest))


def _parts(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of safetensors bytes."""
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
    """The members of an object as `HashChain.seal` writes them behind others."""
    return b"," + json.dumps(content, separators=(",", ":")).encode()[1:-1]


def _digest(kind: str, content: Mapping[str, Any]) -> str:
    return _hash(f"{kind}\n{canonical_json(content)}".encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
