"""Files of a set in the format of its package, so that nothing is downloaded."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_mnist(folder: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write MNIST as torchvision keeps it.

    Args:
        folder: The folder that torchvision gets as its root.
        parts: Pixels, uint8 (samples, 28, 28), and labels of "train" and "t10k".
    """
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, (pixels, labels) in parts.items():
        head = struct.pack(">IIII", 0x803, len(pixels), 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">II", 0x801, len(labels))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())
