"""Damage to one file, as a failing disk, a bad copy or an editor may do it."""

from __future__ import annotations

import os
import random
from pathlib import Path

CONTENT_KINDS = (
    "flip a bit",
    "delete a line",
    "double a line",
    "swap two lines",
    "truncate",
    "empty",
)
FIFO = "fifo in its place"
KINDS = (*CONTENT_KINDS, "remove", "folder in its place", FIFO)


def damage(file: Path, kind: str, rng: random.Random) -> str:
    """Damage one file.

    Args:
        file: File to change.
        kind: One of `KINDS`.
        rng: Source of the place.

    Returns:
        What was done, in words; empty where the file stays as it was.
    """
    before = file.read_bytes()
    if kind not in CONTENT_KINDS:
        file.unlink()
        if kind == "folder in its place":
            file.mkdir()
        elif kind == FIFO:
            os.mkfifo(file)
        return kind
    after, place = damaged_content(before, kind, rng)
    file.write_bytes(after)
    return f"{kind} at {place} of {len(before)} bytes" if after != before else ""


def damaged_content(content: bytes, kind: str, rng: random.Random) -> tuple[bytes, int]:
    """Content of a file after damage, and the offset of the damage in bytes.

    Args:
        content: Content of the file.
        kind: One of `CONTENT_KINDS`.
        rng: Source of the place.
    """
    if kind == "flip a bit":
        place = rng.randrange(len(content)) if content else 0
        flipped = (content[place] if content else 0) ^ 1 << rng.randrange(8)
        return content[:place] + bytes([flipped]) + content[place + 1 :], place
    if kind == "truncate":
        place = rng.randrange(len(content)) if content else 0
        return content[:place], place
    if kind == "empty":
        return b"", 0
    lines = content.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    place = len(b"".join(lines[:at]))
    if kind == "delete a line":
        del lines[at]
    elif kind == "double a line":
        lines.insert(at, lines[at])
    else:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
        place = len(b"".join(lines[: min(at, other)]))
    return b"".join(lines), place
