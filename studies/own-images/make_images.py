"""Draws 900 small pictures of shapes, for a study of images in folders: images/<part>/<class>/*.

python studies/own-images/make_images.py
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CORNERS = {"circle": 40, "square": 4, "star": 10, "triangle": 3}  # each class is a polygon
PARTS = {"train": 150, "val": 40, "test": 35}  # images of each class


def picture(corners: int, rng: np.random.Generator) -> Image.Image:
    """A polygon of any size, turn and colour on noise; pictures have many sizes, too."""
    width, height = (int(side) for side in rng.integers(32, 65, size=2))
    noise = rng.integers(0, 90, size=(height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    radius = rng.uniform(0.25, 0.4) * min(width, height)
    middle = width / 2 + rng.uniform(-3, 3), height / 2 + rng.uniform(-3, 3)
    turn = rng.uniform(0, 2 * math.pi)
    points = []
    for i in range(corners):
        length = radius * (0.45 if corners == 10 and i % 2 else 1.0)  # a star's inner corners
        angle = turn + 2 * math.pi * i / corners
        points.append((middle[0] + length * math.cos(angle), middle[1] + length * math.sin(angle)))
    colour = tuple(int(value) for value in rng.integers(100, 256, size=3))
    ImageDraw.Draw(image).polygon(points, fill=colour)
    return image


def make(folder: Path) -> None:
    """Write the folder; the same pictures each time."""
    rng = np.random.default_rng(0)
    for part, count in PARTS.items():
        for name, corners in CORNERS.items():
            place = folder / part / name
            place.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                kind = ("jpg", "png")[i % 2]
                picture(corners, rng).save(place / f"{i:03}.{kind}")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
