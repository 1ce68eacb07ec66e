"""Random arrays and damaged files: parts that keep the contract, or one message; no other error.

A damaged archive, torch file or parquet file (which have checksums) gives what the sound one gives,
or is refused. Safetensors and torch's old files have none of their weights: there the weights may
change, but never their shapes, and never to what is not finite.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from tasearch.config.data_section import DataSection
from tasearch.data import folder, load_data, load_test, parquet
from tasearch.data.arrays import NAMES, Dataset, Split, check
from tasearch.data.returned import returned_arrays
from tasearch.data.split import split
from tasearch.errors import DataError, TasearchError
from tasearch.models.checkpoint import load_checkpoint
from tests.helpers import folders
from tests.helpers.arrays import encoded, study_of

LIMITS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "derandomize": True,
}
EXAMPLES = [40, pytest.param(400, marks=pytest.mark.slow)]
KINDS = ["u1", "f4", "<f8", ">f4", "f2", "i2", ">i8", "u8", "?", "c8", "U2", "M8[s]", "O"]
SHAPES = [(3,), (2, 2), (2, 2, 1), (1, 2, 2), (2, 2, 2), (3, 2, 3), (), (0,), (1, 1, 1, 1)]
EXTREMES = [np.nan, -np.inf, 1e39, -1, 2**63, 2**64 - 1, 10**12]
NONSENSE = [None, [], [[1], [1, 2]], "x", 3, {}, np.ma.masked_all(3), torch.zeros(3).to_sparse()]


@st.composite
def arrays_of_any_kind(draw: st.DrawFn) -> dict[Any, Any]:
    """What a data set looks like, but for a few things that are odd."""
    odd = draw(st.sets(st.sampled_from(["kind", "shape", "size", "value", "name", "labels"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from(SHAPES if "shape" in odd else SHAPES[:4]))
    kind = draw(st.sampled_from(KINDS if "kind" in odd else KINDS[:9]))
    arrays: dict[Any, Any] = {}
    for part in draw(st.sampled_from([["train"], ["train", "val"], ["train", "val", "test"]])):
        samples = draw(st.integers(0, 9)) if "size" in odd else 40
        arrays[f"x_{part}"] = rng.integers(0, 99, (samples, *shape)).astype(kind)
        arrays[f"y_{part}"] = np.arange(samples) % 3
    names = st.sampled_from(list(arrays))
    if "labels" in odd:
        name, kind = draw(names), draw(st.sampled_from(KINDS))
        with contextlib.suppress(RuntimeError):  # numpy's, between dates and text of two letters
            arrays[name] = arrays[name].astype(kind)
    if "value" in odd:
        name = draw(names)
        with contextlib.suppress(OverflowError, ValueError, IndexError, TypeError):
            values = np.array(arrays[name], dtype=draw(st.sampled_from(["f8", "u8", "i8", "O"])))
            values.flat[draw(st.integers(0, 30))] = draw(st.sampled_from(EXTREMES))
            arrays[name] = values
    if "name" in odd:
        name = draw(st.sampled_from([*NAMES, "x", "", "\0", 3]))
        arrays[name] = draw(st.sampled_from(NONSENSE))
    return arrays


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_random_arrays_keep_contract_or_give_one_message(examples: int) -> None:
    kept = refused = 0

    @settings(max_examples=examples, **LIMITS)
    @given(arrays_of_any_kind(), st.sampled_from(["auto", "chw", "hwc"]))
    def law(arrays: dict[Any, Any], layout: Any) -> None:
        nonlocal kept, refused
        section = DataSection(source="m:f", layout=layout)
        try:
            returned = returned_arrays(lambda: arrays, "m:f")
            parts, names = check(returned, layout=layout, where="m:f")
            drawn = split(parts, section=section, class_names=names, where="m:f")
            made = {name: rows.in_memory() for name, rows in drawn.items()}
            data = Dataset.from_splits(
                train=made["train"], validation=made["val"], class_names=names
            )
        except DataError:
            refused += 1
            return
        kept += 1
        for part in made.values():
            keeps_the_contract(part, data)

    law()
    assert min(kept, refused) > examples / 8  # both happen


def message(act: Callable[[], None]) -> str:
    """What it says; nothing where it goes well."""
    try:
        act()
    except TasearchError as error:
        return str(error)
    return ""


def keeps_the_contract(part: Split, data: Dataset) -> None:
    assert part.x.dtype in (np.uint8, np.float32)
    assert part.x.dtype == data.train.x.dtype
    assert part.x.shape == (len(part.y), *data.in_shape)
    assert len(data.in_shape) in (1, 3)
    assert np.isfinite(part.x).all()
    assert part.y.dtype == np.int64
    assert ((part.y >= 0) & (part.y < data.num_classes)).all()
    assert np.isfinite(data.mean).all() and np.isfinite(data.std).all() and (data.std > 0).all()


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Flipped bits, a piece cut out or off, put in or twice; mostly of headers and footers."""
    kind = draw(st.sampled_from(["flip", "flip", "flip", "cut off", "cut out", "put in", "twice"]))
    near = draw(st.sampled_from(["begin", "end", "any"]))
    place, length = draw(st.integers(0, 2**20)), draw(st.integers(1, 40))
    flip, garbage = draw(st.integers(1, 255)), draw(st.binary(min_size=1, max_size=40))

    def apply(content: bytes) -> bytes:
        size = len(content)
        at = place % (size if near == "any" else min(size, 600))
        at = size - 1 - at if near == "end" else at
        if kind == "flip":
            return content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
        if kind == "cut off":
            return content[:at]
        if kind == "cut out":
            return content[:at] + content[at + length :]
        piece = garbage if kind == "put in" else content[at : at + length]
        return content[:at] + piece + content[at:]

    return apply


def npz_file(compressed: bool) -> bytes:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, samples in (("train", 8), ("val", 6), ("test", 6)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (samples, 3, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(samples) % 2
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_npz_gives_same_data_or_one_message(
    compressed: bool, examples: int, tmp_path: Path
) -> None:
    file, sound = tmp_path / "d.npz", npz_file(compressed)
    study = study_of(tmp_path, "npz", path="d.npz")
    file.write_bytes(sound)
    data, test = load_data(study).fingerprint, load_test(study)

    @settings(max_examples=examples, **LIMITS)
    @given(damage())
    def law(apply: Callable[[bytes], bytes]) -> None:
        file.write_bytes(apply(sound))

        def act() -> None:
            assert load_data(study).fingerprint == data
            assert np.array_equal(load_test(study).x, test.x)

        said = message(act)
        assert not said or said.startswith((f"{file}: ", "d.npz: "))

    law()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_damaged_parquet_file_gives_same_data_or_one_message(
    compression: str, examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages bear checksums and its images too; its footer has none, but must fit them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    blobs = [encoded(Image.fromarray(x)) for x in rng.integers(0, 256, (8, 3, 3, 3), dtype="u1")]
    images = pa.array([{"bytes": blob, "path": None} for blob in blobs])
    table = pa.table({"image": images, "label": [0, 1] * 4})
    file = tmp_path / "all.parquet"
    pq.write_table(table, file, compression=compression, write_page_checksum=True)
    sound, section = file.read_bytes(), study_of(tmp_path, "parquet", path="all.parquet").data

    def load() -> Mapping[str, np.ndarray]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as cache:
            monkeypatch.setenv("TASEARCH_CACHE", cache)
            return parquet.load(section, str(tmp_path))

    expected = load()

    @settings(max_examples=examples, **LIMITS)
    @given(damage())
    def law(apply: Callable[[bytes], bytes]) -> None:
        file.write_bytes(apply(sound))

        def act() -> None:
            found = load()
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[name], expected[name]) for name in expected)

        said = message(act)
        assert not said or said.startswith(f"{file}: ")

    law()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "tiff"])
def test_damaged_image_gives_image_of_its_size_or_one_message(
    kind: str, examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every format has checksums, so that pixels may differ; nothing else may."""
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, (3, 9, 7, 3), dtype="u1") for name in "ab"}
    folders.write(tmp_path / "d", pixels, kind)
    file = tmp_path / "d" / "b" / f"001.{kind}"
    sound, section = file.read_bytes(), study_of(tmp_path, "imagefolder", path="d").data

    @settings(max_examples=examples, **LIMITS)
    @given(damage())
    def law(apply: Callable[[bytes], bytes]) -> None:
        file.write_bytes(apply(sound))

        def act() -> None:
            with tempfile.TemporaryDirectory(dir=tmp_path) as cache:
                monkeypatch.setenv("TASEARCH_CACHE", cache)
                found = folder.load(section, str(tmp_path))
                assert found["x_train"].shape == (6, 3, 9, 7)
                assert found["y_train"].tolist() == [*"aaabbb"]

        said = message(act)
        assert not said or said.startswith(f"{file}: ")

    law()


def checkpoint_file(form: str, net: nn.Module) -> bytes:
    if form == "safetensors":
        return save(net.state_dict())
    stream = io.BytesIO()
    torch.save(net.state_dict(), stream, _use_new_zipfile_serialization=form == "torch")
    return stream.getvalue()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("form", ["torch", "torch before 1.6", "safetensors"])
def test_damaged_checkpoint_gives_same_weights_or_one_message(
    form: str, examples: int, tmp_path: Path
) -> None:
    net, file = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), tmp_path / "t"
    sound, expected = checkpoint_file(form, net), net.state_dict()

    @settings(max_examples=examples, **LIMITS)
    @given(damage())
    def law(apply: Callable[[bytes], bytes]) -> None:
        file.write_bytes(apply(sound))
        loaded = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        said = message(lambda: load_checkpoint(loaded, file))
        assert not said or said.startswith(f"teacher.checkpoint: {file}: ")
        assert "weights_only" not in said
        found = loaded.state_dict()
        for name, value in expected.items() if not said else ():
            assert found[name].shape == value.shape
            assert found[name].isfinite().all()
            assert form != "torch" or torch.equal(found[name], value)

    law()


@settings(max_examples=40, **LIMITS)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"PAR1", b"\x93NUMPY", b"\x80\x02", b"{"]),
)
def test_garbage_gives_one_message(tmp_path: Path, content: bytes, begin: bytes) -> None:
    (tmp_path / "g.npz").write_bytes(begin + content)
    (tmp_path / "g.parquet").write_bytes(begin + content + begin)
    for source, name in (("npz", "g.npz"), ("parquet", "g.parquet")):
        with pytest.raises(DataError):
            load_data(study_of(tmp_path, source, path=name))
    for name in ("g.npz", "g.parquet"):
        with pytest.raises(TasearchError):
            load_checkpoint(nn.Linear(2, 2), tmp_path / name)
