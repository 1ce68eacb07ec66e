"""Folders of images, as users bring them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasearch.config.study import Study
from tests.helpers.studies import tiny


def write(folder: Path, classes: Mapping[str, np.ndarray], kind: str = "png") -> None:
    """Write images, uint8 (samples, height, width[, 3]) by class, as <class>/<number>.<kind>."""
    for name, images in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / name / f"{i:03}.{kind}")


def study(path: Path, **data: Any) -> Study:
    given = tiny(data={"source": "imagefolder", "path": path.name, **data})
    return given.model_copy(update={"root": str(path.parent)})
