from __future__ import annotations

import io
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tasearch
from tasearch.config.study import Study
from tasearch.data import decoding, load_data, load_test, parquet
from tasearch.data.shards import read_shard
from tasearch.data.statistics import moments
from tasearch.errors import DataError
from tests.helpers.parquet import encoded, pictures, study, table, write

REAL = Path(os.environ.get("TASEARCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_parquet_source_returns_pixels_as_written(tmp_path: Path) -> None:
    x, y = pictures(60, 9, 7, 3), [i % 3 for i in range(60)]
    test = pictures(10, 9, 7, 3)
    write(tmp_path / "d" / "train-00000-of-00002.parquet", [*map(encoded, x[:40])], y[:40], "img")
    write(tmp_path / "d" / "train-00001-of-00002.parquet", [*map(encoded, x[40:])], y[40:], "img")
    write(tmp_path / "d" / "validation.parquet", [*map(encoded, x[:30])], y[:30], "img")
    write(tmp_path / "d" / "test.parquet", [*map(encoded, test)], [0] * 10, "img")
    data = load_data(study(tmp_path / "d"))
    assert data.train.x.dtype == np.uint8
    assert data.in_shape == (3, 9, 7)
    assert np.array_equal(data.train.x, x.transpose(0, 3, 1, 2))
    assert data.train.y.tolist() == y
    assert np.array_equal(data.validation.x, x[:30].transpose(0, 3, 1, 2))
    assert np.array_equal(load_test(study(tmp_path / "d")).x, test.transpose(0, 3, 1, 2))


def test_source_splits_one_file_and_gives_grey_images_one_channel(tmp_path: Path) -> None:
    x = pictures(50, 8, 8)
    write(tmp_path / "all.parquet", [*map(encoded, x)], [i % 2 for i in range(50)])
    data = load_data(study(tmp_path / "all.parquet"))
    assert data.in_shape == (1, 8, 8)
    assert len(data.train) == 30
    assert len(data.validation) == 10


def test_source_decodes_images_once(tmp_path: Path, cache: Path) -> None:
    x, y = pictures(50, 8, 8), [i % 2 for i in range(50)]
    write(tmp_path / "all.parquet", [*map(encoded, x)], y)
    seen: list[tuple[int, int]] = []
    first = load_data(study(tmp_path / "all.parquet"), lambda *at: seen.append(at))
    assert seen[-1] == (50, 50)
    seen.clear()
    again = load_data(study(tmp_path / "all.parquet"), lambda *at: seen.append(at))
    assert not seen
    assert again.fingerprint == first.fingerprint
    (file,) = cache.glob("*/x_train.npy")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert load_data(study(tmp_path / "all.parquet")).fingerprint == first.fingerprint
    write(tmp_path / "all.parquet", [*map(encoded, 255 - x)], y)
    assert load_data(study(tmp_path / "all.parquet")).fingerprint != first.fingerprint
    assert len(list(cache.iterdir())) == 2


def test_limit_takes_stratified_part_of_training_images_alone(tmp_path: Path) -> None:
    x, y = pictures(200, 8, 8), [i % 4 for i in range(200)]
    write(tmp_path / "all.parquet", [*map(encoded, x)], y)
    whole, some, same = (
        load_data(study(tmp_path / "all.parquet", **given))
        for given in ({}, {"limit": 40}, {"limit": 40})
    )
    assert np.bincount(some.train.y).tolist() == [10, 10, 10, 10]
    assert np.array_equal(some.validation.x, whole.validation.x)
    assert np.array_equal(some.train.x, same.train.x)
    rows = {row.tobytes() for row in whole.train.x}
    assert all(row.tobytes() in rows for row in some.train.x)


def test_moments_of_bytes_equal_exact_ones() -> None:
    x = pictures(700, 3, 5, 4)
    mean, std = moments(x)
    assert np.allclose(mean, x.mean(axis=(0, 2, 3), keepdims=True)[0], rtol=1e-12)
    assert np.allclose(std, x.std(axis=(0, 2, 3), keepdims=True)[0], rtol=1e-9)
    flat = pictures(300, 6)
    assert np.allclose(moments(flat)[0], flat.mean(axis=0))


GREY, COLOUR = encoded(pictures(1, 8, 8)[0]), encoded(pictures(1, 8, 8, 3)[0])
DEEP = encoded(np.full((8, 8), 40_000, dtype=np.uint16))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([GREY, {"bytes": b"junk"}], [0, 1], "row 1: is no image that Pillow knows"),
        ([GREY, None], [0, 1], "row 1: has no bytes of an image"),
        (
            [GREY, encoded(pictures(1, 8, 9)[0])],
            [0, 1],
            "; heights are 8, widths 8 to 9; data.size gives",
        ),
        ([DEEP, DEEP], [0, 1], "row 0: has more than 8 bits a channel (mode I;16)"),
        ([GREY, GREY], [0, None], "row 1: has no label"),
        ([], pa.array([], pa.int64()), "has no rows"),
    ],
)
def test_message_names_row_of_broken_image_or_label(
    tmp_path: Path, cache: Path, images: list[Any], labels: Any, message: str
) -> None:
    write(tmp_path / "all.parquet", images, labels)
    with pytest.raises(DataError) as error:
        load_data(study(tmp_path / "all.parquet"))
    assert str(error.value).startswith(f"{tmp_path / 'all.parquet'}: ")
    assert message in str(error.value)
    assert not list(cache.glob("*/*"))


def test_source_refuses_missing_and_unreadable_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file or folder"):
        load_data(study(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"should hold train\*.parquet, found nothing"):
        load_data(study(tmp_path / "empty"))
    (tmp_path / "empty" / "part.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="name should begin with train, validation or test"):
        load_data(study(tmp_path / "empty"))
    (tmp_path / "empty" / "part.parquet").rename(tmp_path / "empty" / "training-0.parquet")
    with pytest.raises(DataError, match="to tell which part it is; call it 'train'"):
        load_data(study(tmp_path / "empty"))
    (tmp_path / "bad.parquet").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is no readable parquet file"):
        load_data(study(tmp_path / "bad.parquet"))


def test_source_finds_columns_or_asks_for_them(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([GREY] * 40, kind)
    table = pa.table({"front": images, "back": images, "kind": [i % 2 for i in range(40)]})
    pq.write_table(table, tmp_path / "all.parquet")
    with pytest.raises(DataError, match=r"found \['front', 'back'\]; data.image names it"):
        load_data(study(tmp_path / "all.parquet"))
    with pytest.raises(DataError, match=r"data.label: no column 'label'; known: back, front, kind"):
        load_data(study(tmp_path / "all.parquet", image="back"))
    with pytest.raises(DataError, match=r"data\.image: no column 'bakc'; did you mean 'back'"):
        load_data(study(tmp_path / "all.parquet", image="bakc"))
    with pytest.raises(DataError, match="column 'kind' should hold encoded images: binary, or a"):
        load_data(study(tmp_path / "all.parquet", image="kind", label="kind"))
    assert len(load_data(study(tmp_path / "all.parquet", image="back", label="kind")).train) == 24


def test_message_names_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "all.parquet", [GREY] * 40, [i % 2 for i in range(40)])
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"decoded images cannot be written here: .*TASEARCH_CACHE"):
        load_data(study(tmp_path / "all.parquet"))


def test_training_images_decide_mode_in_any_order(tmp_path: Path) -> None:
    grey, colour = pictures(40, 8, 8), pictures(1, 8, 8, 3)
    as_colour = np.repeat(grey[:, None], 3, axis=1)
    for place in (0, 17, 40):
        images = [*map(encoded, grey)]
        images.insert(place, encoded(colour[0]))
        folder = tmp_path / str(place)
        write(folder / "train.parquet", images, [i % 2 for i in range(41)])
        write(folder / "test.parquet", [*map(encoded, grey)], [i % 2 for i in range(40)])
        arrays = parquet.load(study(folder).data, str(tmp_path))
        assert arrays["x_train"].shape == (41, 3, 8, 8)
        assert np.array_equal(np.delete(arrays["x_train"], place, axis=0), as_colour)
        assert np.array_equal(arrays["x_train"][place], colour[0].transpose(2, 0, 1))
        assert np.array_equal(arrays["x_test"], as_colour)


def test_colour_image_widens_grey_pieces_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are written before, some after; a batch of rows is several pieces here."""
    monkeypatch.setattr(decoding, "PIECE", 3 * 64 * 7)  # 7 images
    grey = pictures(100, 8, 8)
    images = [*map(encoded, grey)]
    images[90] = encoded(np.stack([grey[90]] * 3, axis=-1))
    write(tmp_path / "all.parquet", images, [i % 2 for i in range(100)])
    arrays = parquet.load(study(tmp_path / "all.parquet").data, str(tmp_path))
    assert np.array_equal(arrays["x_train"], np.repeat(grey[:, None], 3, axis=1))


def test_pixel_file_checks_free_room_before_writing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"64,000,000,000,000,000 bytes are needed, [0-9,]+ are free"):
        decoding.PixelFile(tmp_path / "x.npy", (10**15, 1, 8, 8))
    assert not list(tmp_path.iterdir())


def test_source_refuses_colour_beside_grey_training_part(tmp_path: Path, cache: Path) -> None:
    labels = [0, 1]
    for part, kind in itertools.product(("validation", "test"), ("PNG", "JPEG")):
        folder = tmp_path / f"{part}{kind}"
        write(folder / "train.parquet", [GREY, GREY], labels)
        write(folder / f"{part}.parquet", [GREY, encoded(pictures(1, 8, 8, 3)[0], kind)], labels)
        with pytest.raises(DataError) as error:
            load_data(study(folder))
        assert str(error.value) == (
            f"{folder / part}.parquet: row 1: is a colour image (RGB), but all images of the "
            f"training part are grey; data.channels makes all of one kind"
        )
    assert not list(cache.iterdir())


def test_source_turns_photographs_before_comparing_sizes(tmp_path: Path) -> None:
    upright = pictures(1, 6, 9)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(np.rot90(upright)).save(stream, "PNG", exif=exif)
    turned = {"bytes": stream.getvalue(), "path": None}
    write(tmp_path / "all.parquet", [turned, encoded(upright)] * 20, [0, 1] * 20)
    x = load_data(study(tmp_path / "all.parquet")).train.x
    assert (x == upright).all()


def test_source_uses_background_of_study(tmp_path: Path) -> None:
    clear = encoded(np.dstack([pictures(1, 8, 8, 3)[0], np.tile([0, 255], (8, 4)).astype("u1")]))
    write(tmp_path / "all.parquet", [clear] * 40, [0, 1] * 20)
    for background, value in (("black", 0), ("white", 255), ("black", 0)):
        x = load_data(study(tmp_path / "all.parquet", background=background)).train.x
        assert (x[..., 0::2] == value).all()
        assert (x[..., 1::2] != value).any()


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.binary()),
        pa.struct([("bytes", pa.large_binary())]),
        pa.struct([("path", pa.string()), ("bytes", pa.binary()), ("size", pa.int64())]),
    ],
    ids=str,
)
def test_source_reads_encoded_images_from_any_binary_column(tmp_path: Path, kind: Any) -> None:
    x = pictures(40, 8, 8, 3)
    blobs = [encoded(image)["bytes"] for image in x]
    if pa.types.is_struct(kind):
        images = pa.array([{"bytes": blob} for blob in blobs], kind)
    elif pa.types.is_dictionary(kind):
        images = pa.array(blobs, pa.binary()).dictionary_encode()
    else:
        images = pa.array(blobs, kind)
    pq.write_table(table(images, [i % 2 for i in range(40)]), tmp_path / "all.parquet")
    arrays = parquet.load(study(tmp_path / "all.parquet").data, str(tmp_path))
    assert np.array_equal(arrays["x_train"], x.transpose(0, 3, 1, 2))


def test_source_prefers_struct_to_other_binary_columns(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    sums = pa.array([b"not an image"] * 40)
    columns = {"sum": sums, "img": pa.array([GREY] * 40, kind), "label": [0, 1] * 20}
    pq.write_table(pa.table(columns), tmp_path / "all.parquet")
    assert len(load_data(study(tmp_path / "all.parquet")).train) == 24


IMAGES = "encoded images: binary, or a struct of bytes and path"
WANTED = f"should have one column of {IMAGES}, found "
ODD: dict[str, tuple[Any, str]] = {
    "text": (pa.array(["a", "b"]), f"{WANTED}columns ['image', 'label']; data.image names it"),
    "lists": (
        pa.array([[1], [2]], pa.list_(pa.uint8())),
        f"{WANTED}columns ['image', 'label']; data.image names it",
    ),
    "a struct of text": (
        pa.array([{"bytes": "x"}] * 2),
        f"{WANTED}columns ['image', 'label']; data.image names it",
    ),
    "nested": (
        pa.array([{"image": {"bytes": b"x"}}] * 2),
        f"{WANTED}columns ['image', 'label']; data.image names it",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_source_refuses_odd_columns_of_images(tmp_path: Path, case: str) -> None:
    images, words = ODD[case]
    pq.write_table(table(images, [0, 1]), tmp_path / "all.parquet")
    with pytest.raises(DataError) as error:
        load_data(study(tmp_path / "all.parquet"))
    assert str(error.value) == f"{tmp_path / 'all.parquet'}: {words}"


HOLD = "column 'label' should hold classes: integers, booleans or strings; holds"
LABELS: dict[str, tuple[Any, str]] = {
    "floats": (pa.array([0.0, 1.0]), f"{HOLD} double"),
    "lists": (pa.array([[0], [1]]), f"{HOLD} list<element: int64>"),
    "dictionary of floats": (
        pa.array([0.5, 1.5]).dictionary_encode(),
        f"{HOLD} double",
    ),
    "bytes": (pa.array([b"a", b"b"]), f"{HOLD} binary"),
    "nothing": (pa.nulls(2), f"{HOLD} null"),
    "beyond int64": (
        pa.array([0, 2**63], pa.uint64()),
        "row 1: the label should be below 2**63, found 9223372036854775808",
    ),
    "no label in a dictionary": (
        pa.array([0, None], pa.int64()).dictionary_encode(),
        "row 1: has no label",
    ),
    "no string": (pa.array(["a", None]), "row 1: has no label"),
}


@pytest.mark.parametrize("case", LABELS)
def test_source_refuses_odd_labels(tmp_path: Path, case: str) -> None:
    labels, words = LABELS[case]
    write(tmp_path / "all.parquet", [GREY, GREY], labels)
    with pytest.raises(DataError) as error:
        load_data(study(tmp_path / "all.parquet"))
    assert str(error.value) == f"{tmp_path / 'all.parquet'}: {words}"


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.uint64(), "dictionary"], ids=str)
def test_source_accepts_labels_of_every_integer_type(tmp_path: Path, kind: Any) -> None:
    y = [i % 2 for i in range(40)]
    labels = pa.array(y).dictionary_encode() if kind == "dictionary" else pa.array(y, kind)
    write(tmp_path / "all.parquet", [GREY] * 40, labels)
    arrays = parquet.load(study(tmp_path / "all.parquet").data, str(tmp_path))
    assert arrays["y_train"].tolist() == y
    assert arrays["y_train"].dtype == np.int64


@pytest.mark.parametrize("kind", ["string", "large", "view", "dictionary", "bool"])
def test_source_keeps_names_of_classes(tmp_path: Path, kind: str) -> None:
    y = ["gr\u00fcn", "blau"] * 20
    labels = {
        "string": pa.array(y),
        "large": pa.array(y, pa.large_string()),
        "view": pa.array(y, pa.string_view()),
        "dictionary": pa.array(y).dictionary_encode(),
        "bool": pa.array([True, False] * 20),
    }[kind]
    write(tmp_path / "all.parquet", [*map(encoded, pictures(40, 8, 8))], labels)
    for _ in range(2):  # decoded, and from the cache
        data = load_data(study(tmp_path / "all.parquet"))
        assert data.class_names == (("False", "True") if kind == "bool" else ("blau", "gr\u00fcn"))
    arrays = parquet.load(study(tmp_path / "all.parquet").data, str(tmp_path))
    assert arrays["y_train"].tolist() == labels.to_pylist()


def test_source_refuses_labels_of_two_kinds(tmp_path: Path) -> None:
    write(tmp_path / "d" / "train-0.parquet", [GREY, GREY], ["a", "b"])
    write(tmp_path / "d" / "train-1.parquet", [GREY, GREY], [0, 1])
    with pytest.raises(DataError) as error:
        load_data(study(tmp_path / "d"))
    assert str(error.value) == (
        f"{tmp_path / 'd' / 'train-1.parquet'}: column 'label' should hold strings as in "
        f"train-0.parquet, holds integers"
    )


def test_source_refuses_doubled_column(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = [pa.array([GREY] * 2, kind), pa.array([0, 1]), pa.array([1, 0])]
    twice = pa.Table.from_arrays(arrays, names=["image", "label", "label"])
    pq.write_table(twice, tmp_path / "all.parquet")
    with pytest.raises(DataError) as error:
        load_data(study(tmp_path / "all.parquet"))
    assert str(error.value) == (
        f"{tmp_path / 'all.parquet'}: data.label: column 'label' is there more than once"
    )


def test_source_never_waits_for_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.parquet")
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "train.parquet")
    (tmp_path / "e" / "train.parquet").mkdir(parents=True)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "train.parquet").symlink_to(tmp_path / "gone")
    long = "n" * 300
    for name, words in (
        (
            "fifo.parquet",
            "cannot be read: is a FIFO, not a file (data.path = 'fifo.parquet')",
        ),
        ("d", "train.parquet: cannot be read: is a FIFO, not a file"),
        ("e", "train.parquet: cannot be read: is a folder, not a file"),
        ("f", "train.parquet: cannot be read: No such file or directory"),
        (long, f"cannot be read: File name too long (data.path = '{long}')"),
    ):
        between = "/" if words.startswith("train") else ": "
        with pytest.raises(DataError) as error:
            load_data(study(tmp_path / name))
        assert str(error.value) == f"{tmp_path / name}{between}{words}"
    given = study(tmp_path / "x").model_copy(
        update={"data": study(tmp_path / "x").data.model_copy(update={"path": "a\0b"})}
    )
    with pytest.raises(DataError) as error:
        load_data(given)
    assert str(error.value) == (
        f"{tmp_path}/a\\x00b: cannot be read: has a NUL in its name (data.path = 'a\\x00b')"
    )


def test_source_refuses_file_changed_while_reading(tmp_path: Path, cache: Path) -> None:
    """The key of the cache is the digest of what was there before."""
    file = tmp_path / "all.parquet"
    y = [i % 2 for i in range(40)]
    write(file, [*map(encoded, pictures(40, 8, 8))], y)
    shard = read_shard(file, study(file).data)
    write(tmp_path / "other.parquet", [*map(encoded, pictures(40, 8, 8))], y)
    (tmp_path / "other.parquet").replace(file)
    with pytest.raises(DataError) as error:
        list(shard.batches())
    assert str(error.value) == f"{file}: changed while it was read; start again"
    shard = read_shard(file, study(file).data)
    batches = shard.batches()
    next(batches)
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(DataError) as error:
        next(batches)
    assert str(error.value) == f"{file}: changed while it was read; start again"
    file.unlink()
    with pytest.raises(DataError) as error:
        list(shard.batches())
    assert str(error.value) == f"{file}: cannot be read: No such file or directory"


@pytest.mark.slow
def test_study_of_images_exports_its_best_student(tmp_path: Path) -> None:
    x, y = pictures(80, 16, 16, 3), [i % 4 for i in range(80)]
    for part in ("train", "val", "test"):
        write(tmp_path / "d" / f"{part}.parquet", [encoded(p, "JPEG") for p in x], y)
    given = study(tmp_path / "d").model_dump() | {"model": {"family": "cnn", "multiplier": 1.0}}
    given["training"]["augment"] = "crop4+flip"
    run = tasearch.run(Study.model_validate(given), runs_dir=tmp_path / "runs", trials=2)
    assert [trial.state for trial in run.trials][:2] == ["complete", "complete"]
    tasearch.export(run, tmp_path / "out")
    net = tasearch.load(tmp_path / "out")
    assert net(tasearch_input(x)).shape == (80, 4)


def tasearch_input(x: np.ndarray) -> Any:
    import torch

    return torch.tensor(x.transpose(0, 3, 1, 2).astype(np.float32))


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no CIFAR-10 beside the checkout")
def test_source_decodes_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parquet.load(study(REAL / "cifar10").data, str(REAL))["x_train"].shape == (
        50_000,
        3,
        32,
        32,
    )


def test_images_without_labels_are_read_beside_the_parts(tmp_path: Path) -> None:
    images, more = pictures(40, 6, 5), pictures(7, 6, 5)
    write(tmp_path / "all.parquet", [encoded(one) for one in images], [0, 1] * 20)
    plain = load_data(study(tmp_path / "all.parquet"))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pieces = {"b.parquet": more[4:], "a.parquet": more[:4]}
    (tmp_path / "more").mkdir()
    for name, piece in pieces.items():
        column = pa.array([encoded(one) for one in piece], kind)
        pq.write_table(pa.table({"image": column}), tmp_path / "more" / name)
    own = study(tmp_path / "all.parquet", unlabelled="more")
    for _ in range(2):  # decoded, and from the cache
        data = load_data(own)
        assert data.unlabelled is not None
        assert np.array_equal(data.unlabelled, more[:, None])
        assert data.fingerprint == plain.fingerprint
    assert len(load_test(own)) == 8
    itself = study(tmp_path / "all.parquet", unlabelled="all.parquet")  # its labels are not read
    with pytest.raises(DataError, match="x_unlabelled: 16 of 40 samples are exact copies of held"):
        load_data(itself)
    with pytest.raises(DataError, match=r"no such data file or folder \(data\.unlabelled = 'no'\)"):
        load_data(study(tmp_path / "all.parquet", unlabelled="no"))
