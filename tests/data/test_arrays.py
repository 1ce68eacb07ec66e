from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import SOURCES, load_data, load_test
from tasearch.errors import DataError, StudyError
from tests.helpers import folders, parquet
from tests.helpers.arrays import npz, sound, study_of

RNG = np.random.default_rng(0)


@pytest.fixture(params=[*sorted(SOURCES), "function"])
def any_study(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Study:
    if request.param == "npz":
        return npz(tmp_path, **sound())
    if request.param == "parquet":
        monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
        images = parquet.pictures(50, 6, 5)
        file = tmp_path / "images.parquet"
        parquet.write(file, [*map(parquet.encoded, images)], [i % 5 for i in range(50)])
        return parquet.study(file)
    if request.param == "imagefolder":
        monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
        folders.write(tmp_path / "d", {name: parquet.pictures(10, 6, 5) for name in "abcde"})
        return folders.study(tmp_path / "d")
    if request.param == "csv":
        rows = (f"{i % 7},{'abc'[i % 3]},{i % 5}" for i in range(50))
        (tmp_path / "rows.csv").write_text("\n".join(["size,kind,label", *rows]))
        return parse_study({"data": {"source": "csv", "path": str(tmp_path / "rows.csv")}})
    if request.param == "text":
        words = (f"{['one', 'two'][i % 2]} {i % 7},{i % 5}" for i in range(50))
        (tmp_path / "texts.csv").write_text("\n".join(["text,label", *words]))
        keys = {"path": str(tmp_path / "texts.csv"), "length": 9, "vocabulary": 300}
        return parse_study({"data": {"source": "text", **keys}})
    if request.param == "function":
        (tmp_path / "mine.py").write_text(
            "import numpy as np\n"
            "def data():\n"
            "    x = np.random.default_rng(1).normal(size=(50, 7))\n"
            "    return {'x_train': x, 'y_train': np.arange(50) % 5}\n"
        )
        return study_of(tmp_path, "mine:data")
    return study_of(tmp_path, request.param)


def test_every_source_keeps_contract(any_study: Study) -> None:
    data, test = load_data(any_study), load_test(any_study)
    parts = (data.train, data.validation, test)
    for part in parts:
        assert part.x.dtype in (np.uint8, np.float32, np.int32)
        assert part.x.shape == (len(part), *data.in_shape)
        assert part.y.dtype == np.int64
        assert set(part.y) == set(range(data.num_classes))
    whole = sum(map(len, parts))
    assert len(data.validation) == len(test) == round(0.2 * whole)
    standard = (data.train.x - data.mean) / data.std
    assert data.ids is not None or abs(standard.mean()) < 1e-3
    assert load_data(any_study).fingerprint == data.fingerprint


def test_split_makes_disjoint_stratified_parts() -> None:
    study = parse_study({})
    data, test = load_data(study), load_test(study)
    seen = [row.tobytes() for part in (data.train, data.validation, test) for row in part.x]
    assert len(seen) == 1797
    assert len(set(seen)) == 1797  # no two digits are alike, so none is in two parts
    shares = [np.bincount(p.y) / len(p) for p in (data.train, data.validation, test)]
    assert np.ptp(shares, axis=0).max() < 0.01


def test_test_part_ignores_validation_share() -> None:
    a = load_test(parse_study({"data": {"validation": 0.1}}))
    b = load_test(parse_study({"data": {"validation": 0.3}}))
    c = load_test(parse_study({"data": {"split_seed": 1}}))
    assert np.array_equal(a.x, b.x)
    assert not np.array_equal(a.x, c.x)


def test_split_keeps_given_parts(tmp_path: Path) -> None:
    given = sound()
    val, test = sound(8), sound(12)
    given |= {"x_val": val["x_train"], "y_val": val["y_train"]}
    given |= {"x_test": test["x_train"], "y_test": test["y_train"]}
    study = npz(tmp_path, **given)
    data = load_data(study)
    assert np.array_equal(data.train.x[:, 0], given["x_train"])
    assert np.array_equal(data.validation.x[:, 0], val["x_train"])
    assert np.array_equal(load_test(study).y, test["y_train"])


@pytest.mark.parametrize(
    ("shape", "layout", "in_shape"),
    [
        ((9,), "auto", (9,)),
        ((6, 5), "auto", (1, 6, 5)),
        ((6, 5, 3), "auto", (3, 6, 5)),
        ((3, 6, 5), "auto", (3, 6, 5)),
        ((3, 6, 4), "chw", (3, 6, 4)),
        ((7, 6, 5), "hwc", (5, 7, 6)),
    ],
)
def test_source_puts_channels_first(
    tmp_path: Path, shape: tuple[int, ...], layout: str, in_shape: tuple[int, ...]
) -> None:
    np.savez(tmp_path / "d.npz", **sound(40, shape))
    data = load_data(study_of(tmp_path, "npz", path="d.npz", layout=layout))
    assert data.in_shape == in_shape


def test_standardization_leaves_constant_feature_unscaled(tmp_path: Path) -> None:
    arrays = sound(40, (3,))
    arrays["x_train"][:, 1] = 7.0
    data = load_data(npz(tmp_path, **arrays))
    assert data.std[1] == 1.0
    assert data.mean[1] == 7.0


GOOD = sound()
X, Y = GOOD["x_train"], GOOD["y_train"]
NAN = X.copy()
NAN[2, 1, 3] = np.nan
NAMED = np.array(["dog", "cat", "bird", "emu"])[Y]
CLASSES = (
    "labels should be classes, one a sample: integers, booleans or strings of shape (samples,),"
)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": ({"x_train": X}, "array 'y_train' is missing; found ['x_train']"),
    "unknown array": ({**GOOD, "x_tset": X}, "unknown array 'x_tset'; did you mean 'x_test'?"),
    "half a part": (
        {**GOOD, "x_val": X},
        "array 'y_val' is missing; found ['x_train', 'x_val', 'y_train']",
    ),
    "lengths": (
        {"x_train": X[:-1], "y_train": Y},
        "x_train and y_train should have the same length, found 39 and 40",
    ),
    "float labels": (
        {"x_train": X, "y_train": Y.astype(float)},
        f"y_train: {CLASSES} found float64 of shape (40,); "
        f"bring y.astype(int) if these are classes",
    ),
    "regression targets": (
        {"x_train": X, "y_train": Y + 0.25},
        f"y_train: {CLASSES} found float64 of shape (40,); regression is not there",
    ),
    "one-hot labels": (
        {"x_train": X, "y_train": np.eye(4, dtype=int)[Y]},
        f"y_train: {CLASSES} found int64 of shape (40, 4); bring y.argmax(axis=1)",
    ),
    "several labels": (
        {"x_train": X, "y_train": np.eye(4, dtype=int)[Y] + np.eye(4, dtype=int)[0]},
        f"y_train: {CLASSES} found int64 of shape (40, 4); several labels a sample are not there",
    ),
    "a column of labels": (
        {"x_train": X, "y_train": Y[:, None]},
        f"y_train: {CLASSES} found int64 of shape (40, 1); bring y[:, 0]",
    ),
    "bytes as labels": (
        {"x_train": X, "y_train": Y.astype("S1")},
        f"y_train: {CLASSES} found |S1 of shape (40,); bring y.astype(str)",
    ),
    "no word": (
        {"x_train": X, "y_train": np.where(Y == 2, "", Y.astype(str))},
        "y_train[2]: is an empty string, not a class",
    ),
    "no text": (
        {"x_train": X, "y_train": np.where(Y == 2, "a\udcff", Y.astype(str))},
        "y_train: class 'a\\udcff' should be text that UTF-8 can hold",
    ),
    "one class": (
        {"x_train": X, "y_train": Y * 0},
        "y_train: should have at least two classes, found only class '0'",
    ),
    "class outside of the training set": (
        {**GOOD, "x_val": X, "y_val": Y + 1},
        "y_val[3]: class '4' is not in the training part; known: 0, 1, 2, 3",
    ),
    "misspelt class": (
        {"x_train": X, "y_train": NAMED, "x_test": X, "y_test": np.where(Y == 2, "Bird", NAMED)},
        "y_test[2]: class 'Bird' is not in the training part; did you mean 'bird'?",
    ),
    "class outside of many": (
        {"x_train": X, "y_train": np.arange(40) % 20, "x_val": X, "y_val": np.arange(40)},
        "y_val[20]: class '20' is not in the training part, which has 20 classes",
    ),
    "labels of two kinds": (
        {"x_train": X, "y_train": NAMED, "x_val": X, "y_val": Y},
        "y_val: labels should be strings as in y_train, found integers",
    ),
    "not finite": (
        {"x_train": NAN, "y_train": Y},
        "x_train[2, 1, 3]: should be a finite float32, found nan",
    ),
    "text": (
        {"x_train": X.astype(str), "y_train": Y},
        "x_train: samples should be real numbers, found <U32",
    ),
    "five axes": (
        {"x_train": X[:, :, :, None, None], "y_train": Y},
        "x_train: samples should be (n, features), (n, height, width) or (n, height, width, "
        "channels) in either order, found shape (40, 6, 5, 1, 1)",
    ),
    "ambiguous channels": (
        {"x_train": RNG.normal(size=(40, 3, 6, 3)), "y_train": Y},
        "x_train: cannot tell the axis of channels in shape (40, 3, 6, 3); "
        'set data.layout to "chw" or "hwc"',
    ),
    "other shape": (
        {**GOOD, "x_val": X[:, :4], "y_val": Y},
        "x_val: should have samples of shape (1, 6, 5) as x_train has, found (1, 4, 5)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_source_refuses_bad_arrays(tmp_path: Path, case: str) -> None:
    arrays, message = BAD[case]
    with pytest.raises(DataError) as error:
        load_data(npz(tmp_path, **arrays))
    assert str(error.value) == f"d.npz: {message}"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0, 1, 2, 3], ("0", "1", "2", "3")),
        ([1, 2, 3, 4], ("1", "2", "3", "4")),
        ([-7, 0, 5, 10**15], ("-7", "0", "5", "1000000000000000")),
        (["0", "1", "2", "3"], ("0", "1", "2", "3")),
        (["10", "2", "B", "a"], ("10", "2", "B", "a")),
        (["", "dog", "eel", "\u00e9mu"], None),
        ([False, True, True, True], ("False", "True")),
    ],
)
def test_source_numbers_classes_in_sorted_order(
    tmp_path: Path, values: list[Any], names: tuple[str, ...] | None
) -> None:
    """The names are kept, and are a part of the fingerprint if they are more than numbers."""
    y = np.array(values)[Y]
    if names is None:
        y = np.where(y == "", "Dog", y)
        names = ("Dog", "dog", "eel", "\u00e9mu")
    arrays = {"x_train": X, "y_train": y, "x_val": X, "y_val": y, "x_test": X, "y_test": y}
    study = npz(tmp_path, **arrays)
    data, test = load_data(study), load_test(study)
    number = {name: i for i, name in enumerate(names)}
    expected = [number[str(label)] for label in y.tolist()]
    assert data.class_names == names
    for part in (data.train, data.validation, test):
        assert part.y.dtype == np.int64
        assert part.y.tolist() == expected
    plain = load_data(
        npz(tmp_path, **{k: v if k[0] == "x" else expected for k, v in arrays.items()})
    )
    assert plain.class_names == tuple(map(str, range(len(names))))
    assert (plain.fingerprint == data.fingerprint) == (plain.class_names == names)


def test_fingerprint_depends_on_class_names(tmp_path: Path) -> None:
    """Equal arrays give equal weights, but a run and its exports call classes by one name."""
    named = load_data(npz(tmp_path, x_train=X, y_train=NAMED))
    renamed = load_data(npz(tmp_path, x_train=X, y_train=np.char.add(NAMED, "s")))
    assert np.array_equal(named.train.y, renamed.train.y)
    assert named.fingerprint != renamed.fingerprint
    x = np.arange(240, dtype=np.float32).reshape(40, 6)
    plain = load_data(npz(tmp_path, x_train=x, y_train=Y))
    assert plain.fingerprint == "8147a12b71b1ee32ed747849ee2a3c0e"  # as before classes had names


def test_split_refuses_rare_classes(tmp_path: Path) -> None:
    y = Y.copy()
    y[y == 3] = 2
    y[0] = 3
    with pytest.raises(DataError) as error:
        load_data(npz(tmp_path, x_train=X, y_train=y))
    assert str(error.value) == (
        "d.npz: data.test: 8 of 40 samples cannot be drawn with every class among them and among "
        "the rest; class '3' has only 1; bring more samples, or parts of your own"
    )
    with pytest.raises(DataError, match=r"^digits: data\.limit: 9 of [0-9,]+ samples cannot be"):
        load_data(parse_study({"data": {"limit": 9}}))
    with pytest.raises(DataError) as error:
        load_data(study_of(tmp_path, "npz", path="d.npz", validation=0.5, test=0.6))
    assert str(error.value) == ("data.validation + data.test: should be below 1, found 0.5 + 0.6")


def test_split_ignores_shares_of_given_parts(tmp_path: Path) -> None:
    arrays = GOOD | {"x_val": X, "y_val": Y, "x_test": X, "y_test": Y}
    np.savez(tmp_path / "d.npz", **arrays)
    study = study_of(tmp_path, "npz", path="d.npz", validation=0.9, test=0.3)
    assert len(load_data(study).train) == 40


def test_source_refuses_broken_files(tmp_path: Path) -> None:
    study = study_of(tmp_path, "npz", path="d.npz")
    file = tmp_path / "d.npz"
    with pytest.raises(DataError) as error:
        load_data(study)
    assert str(error.value) == f"{file}: no such data file (data.path = 'd.npz')"
    np.savez_compressed(file, **GOOD)
    content = bytearray(file.read_bytes())
    for damage in (content[: len(content) // 2], b"", b"no archive", _flipped(content)):
        file.write_bytes(damage)
        with pytest.raises(DataError, match=r"is no readable \.npz file"):
            load_data(study)
    np.savez(file, x_train=np.array([{}], dtype=object), y_train=Y)
    with pytest.raises(
        DataError, match=r"holds Python objects, which are never loaded; save text as y\.astype"
    ):
        load_data(study)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train", b"no array")
    with pytest.raises(DataError, match="'x_train' is no array"):
        load_data(study)
    with file.open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(
        DataError, match=r"should be an \.npz archive of named arrays, is one array"
    ):
        load_data(study)


def _flipped(content: bytearray) -> bytes:
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0xFF
    return bytes(flipped)


def test_source_refuses_user_function_that_breaks_contract(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "def boom():\n    raise ValueError('no disk')\ndef text():\n    return 'x'\nnothing = 3\n"
        "def ragged():\n    return {'x_train': [[1], [1, 2]], 'y_train': [0, 1]}\n"
        "def odd():\n    return {3: [1]}\n"
    )
    with pytest.raises(
        DataError,
        match=r"^data\.source: 'broken:ragged': x_train: is no array of numbers \(builtins",
    ):
        load_data(study_of(tmp_path, "broken:ragged"))
    for name, kind, message in (
        ("broken:boom", DataError, "data.source: 'broken:boom' raised ValueError: no disk"),
        (
            "broken:text",
            DataError,
            "data.source: 'broken:text' should return a dict of arrays, (samples, labels), a "
            "map-style dataset of torch, or a dict of such by part; returned str",
        ),
        (
            "broken:nothing",
            StudyError,
            "data.source: 'broken:nothing': module 'broken' has no function 'nothing'",
        ),
        (
            "broken:odd",
            DataError,
            "data.source: 'broken:odd': the names of arrays should be text, found int",
        ),
        (
            "absent:f",
            StudyError,
            f"data.source: 'absent:f': No module named 'absent'; "
            f"looked in {tmp_path} and the Python path",
        ),
        (
            "digit",
            StudyError,
            "study: data.source: unknown name 'digit'; did you mean 'digits'?",
        ),
        (
            "a b:f",
            StudyError,
            "study: data.source: should be \"package.module:function\", found 'a b:f'",
        ),
    ):
        with pytest.raises(kind) as error:
            load_data(study_of(tmp_path, name))
        assert str(error.value) == message
