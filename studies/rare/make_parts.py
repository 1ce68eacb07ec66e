"""Write a table of made-up parts from a production line, of which 5 % are faulty."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "parts.csv"
SENSORS = ("load", "vibration", "temperature", "noise", "current", "speed")
SHARE = 0.05  # of faulty parts


def main(rows: int = 4_000, seed: int = 0) -> None:
    """Write the file.

    Args:
        rows: Number of parts.
        seed: Seed of everything about them.
    """
    random = np.random.default_rng(seed)
    faulty = np.arange(rows) < round(SHARE * rows)
    random.shuffle(faulty)
    values = random.normal(size=(rows, len(SENSORS)))
    # a fault shows as more vibration and noise, or as heat under load; some parts look the same
    hot = faulty & (random.random(rows) < 0.5)
    values[faulty & ~hot, 1] += 1.6
    values[faulty & ~hot, 3] += 1.2
    values[hot, 0] += 1.1
    values[hot, 2] += 1.6
    with FILE.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow((*SENSORS, "part"))
        for own, bad in zip(values.round(3).tolist(), faulty, strict=True):
            writer.writerow((*own, "faulty" if bad else "fine"))
    print(f"wrote {FILE.name}: {rows:,} parts, {faulty.mean():.1%} of them faulty")


if __name__ == "__main__":
    main()
