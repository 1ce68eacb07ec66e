"""Faulty npz files, for `benchmarks.fuzz`."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_data import DATA, SAMPLES, sound_arrays, write_study


def npz(work: Path, rng: random.Random) -> tuple[Path, str]:
    """Write a study and an npz file with one fault.

    Args:
        work: Folder for both.
        rng: Source of the fault.

    Returns:
        The file and its fault: "bytes" if the file is still to be damaged.
    """
    write_study(work, "npz")
    contents = faulty_arrays(sound_arrays(rng), rng)
    kind = rng.choice([*contents])
    stream = io.BytesIO()
    np.savez(stream, **contents[kind])
    content = stream.getvalue()
    if kind == "header":
        content = _with_other_shape(content, rng)
    elif kind == "zip":
        content = _with_other_zip_field(content, rng)
    file = work / DATA
    file.write_bytes(content)
    return file, kind


def faulty_arrays(arrays: dict[str, Any], rng: random.Random) -> dict[str, dict[str, Any]]:
    """Arrays by fault; those of "bytes", "header" and "zip" get their fault in the file.

    Args:
        arrays: Arrays without a fault.
        rng: Source of the values that are not finite.
    """
    x, y = arrays["x_train"], arrays["y_train"]
    odd = x.copy()
    odd[3] = rng.choice([np.nan, np.inf, -np.inf, 3e38])
    records = np.zeros(SAMPLES, dtype=[("a", "f4"), ("b", "i4")])
    return {
        "bytes": arrays,
        "header": arrays,
        "zip": arrays,
        "labels out of range": {**arrays, "y_train": y.astype(np.uint64) + 2**63},
        "labels below 0": {**arrays, "y_train": y - 2**62},
        "labels that are no whole numbers": {**arrays, "y_train": y + 0.5},
        "labels in words": {**arrays, "y_train": y.astype(str)},
        "labels in columns": {**arrays, "y_train": np.eye(10)[y]},
        "labels of one class": {**arrays, "y_train": y * 0},
        "objects": {**arrays, "y_train": y.astype(object)},
        "complex": {**arrays, "x_train": x.astype(np.complex64)},
        "float16": {**arrays, "x_train": x.astype(np.float16)},
        "dates": {**arrays, "x_train": (x * 1000).astype("datetime64[s]")},
        "truths": {**arrays, "x_train": x > 0},
        "records": {**arrays, "x_train": records},
        "not finite": {**arrays, "x_train": odd},
        "constant": {**arrays, "x_train": x * 0},
        "fewer labels": {**arrays, "y_train": y[:-1]},
        "no samples": {"x_train": x[:0], "y_train": y[:0]},
        "one sample": {"x_train": x[:1], "y_train": y[:1]},
        "no axes": {**arrays, "x_train": np.float32(1.0)},
        "one axis": {**arrays, "x_train": x[:, 0, 0]},
        "many axes": {**arrays, "x_train": x.reshape(SAMPLES, 1, 2, 4, 2, 4)},
        "no features": {**arrays, "x_train": x.reshape(SAMPLES, 64)[:, :0]},
        "other part": {**arrays, "x_val": x[:, :4], "y_val": y},
        "no labels": {"x_train": x},
        "other names": {"a": x, "b": y},
    }


def _with_other_shape(content: bytes, rng: random.Random) -> bytes:
    """An npz file with an array whose header states another shape."""
    shape = rng.choice([b"(10**12, 8, 8)", b"(1000000000000,)", b"(-1, 8, 8)", b"(0, 8, 8)"])
    stream, out = io.BytesIO(content), io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, member.replace(b"(60, 8, 8)", shape))
    return out.getvalue()


def _with_other_zip_field(content: bytes, rng: random.Random) -> bytes:
    """An npz file whose headers say that a member is encrypted, or compressed in a rare way."""
    changed = bytearray(content)
    for signature, flags, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        at = content.find(signature)
        if rng.getrandbits(1):
            changed[at + flags] |= 1
        else:
            changed[at + method] = rng.choice([1, 6, 9, 12, 14, 93, 98])
    return bytes(changed)
