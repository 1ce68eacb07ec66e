"""Data sets in files, as users bring them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study

RNG = np.random.default_rng(0)


def npz(folder: Path, **arrays: Any) -> Study:
    np.savez(folder / "d.npz", **arrays)
    return study_of(folder, "npz", path="d.npz")


def study_of(folder: Path, source: str, **keys: Any) -> Study:
    study = parse_study({"data": {"source": source, **keys}})
    return study.model_copy(update={"root": str(folder)})


def sound(samples: int = 40, shape: tuple[int, ...] = (6, 5), classes: int = 4) -> dict[str, Any]:
    x = RNG.normal(3.0, 2.0, size=(samples, *shape)).astype(np.float32)
    return {"x_train": x, "y_train": np.arange(samples) % classes}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
