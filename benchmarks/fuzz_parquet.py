"""Faulty parquet files of images, for `benchmarks.fuzz`."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.fuzz_data import DATA, SAMPLES, write_study

FAULTS = (
    *("bytes", "no picture", "cut picture", "other size", "other mode", "null image"),
    *("null label", "labels in words", "labels out of range", "plain binary", "no label"),
    *("numbers for images", "no rows", "bit of a picture"),
)


def parquet(work: Path, rng: random.Random) -> tuple[Path, str]:
    """Write a study and a parquet file with one fault.

    Args:
        work: Folder for both.
        rng: Source of the fault.

    Returns:
        The file and its fault: "bytes" if the file is still to be damaged.
    """
    write_study(work, "parquet")
    labels: list[Any] = [i % 10 for i in range(SAMPLES)]
    images: list[Any] = [{"bytes": _picture(rng), "path": None} for _ in labels]
    kind = rng.choice(FAULTS)
    at = rng.randrange(SAMPLES)
    pictures = _faulty_pictures(images[at]["bytes"], rng)
    if kind in pictures:
        images[at] = {"bytes": pictures[kind], "path": None}
    elif kind == "null image":
        images[at] = None
    elif kind == "null label":
        labels[at] = None
    elif kind == "labels in words":
        labels = [str(n) for n in labels]
    elif kind == "labels out of range":
        labels[at] = rng.choice([-(2**63), 2**63 - 1, 10**6])
    elif kind == "plain binary":
        images = [image["bytes"] for image in images]
    elif kind == "numbers for images":
        images = labels
    elif kind == "no rows":
        images, labels = images[:0], labels[:0]
    columns = {"image": images} | ({} if kind == "no label" else {"label": labels})
    pq.write_table(pa.table(columns), work / DATA)
    return work / DATA, kind


def _faulty_pictures(picture: bytes, rng: random.Random) -> dict[str, bytes]:
    """What takes the place of a picture, by fault."""
    place = rng.randrange(len(picture))
    return {
        "no picture": b"no picture",
        "cut picture": picture[:place],
        "other size": _picture(rng, size=(9, 8)),
        "other mode": _picture(rng, rng.choice(["RGB", "RGBA", "LA"])),
        "bit of a picture": picture[:place] + bytes([picture[place] ^ 16]) + picture[place + 1 :],
    }


def _picture(rng: random.Random, mode: str = "L", size: tuple[int, int] = (8, 8)) -> bytes:
    """Noise as a PNG file."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.randbytes(size[0] * size[1] * channels)
    out = io.BytesIO()
    Image.frombytes(mode, size, pixels).save(out, "PNG")
    return out.getvalue()
