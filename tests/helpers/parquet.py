"""Parquet files of images, as hubs keep them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasearch.config.study import Study
from tests.helpers.studies import tiny

RNG = np.random.default_rng(0)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return {"bytes": stream.getvalue(), "path": None}


def write(file: Path, images: list[Any], labels: list[Any], column: str = "image") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {column: pa.array(images, kind), "label": pa.array(labels)}
    pq.write_table(pa.table(columns), file)


def table(images: pa.Array, labels: Any) -> pa.Table:
    return pa.table({"image": images, "label": pa.array(labels)})


def pictures(samples: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, 256, size=(samples, *shape), dtype=np.uint8)


def study(path: Path, **data: Any) -> Study:
    given = tiny(data={"source": "parquet", "path": path.name, **data})
    return given.model_copy(update={"root": str(path.parent)})
