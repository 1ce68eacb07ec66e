"""Archives and users' functions that are odd, broken or hostile: one message, whatever they are."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasearch.config.study import Study
from tasearch.data import load_data, load_test
from tasearch.errors import DataError, StudyError
from tests.helpers.arrays import npz, sound, study_of

GOOD = sound()
RULE = (
    "should return a dict of arrays, (samples, labels), a map-style dataset of torch, or a dict of "
    "such by part"
)
X, Y = GOOD["x_train"], GOOD["y_train"]


def said(study: Study) -> str:
    with pytest.raises(DataError) as error:
        load_data(study)
    return str(error.value)


def header(shape: str, kind: str = "<f4", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


def archive(folder: Path, members: dict[str, bytes], **options: Any) -> Study:
    with zipfile.ZipFile(folder / "d.npz", "w", **options) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return study_of(folder, "npz", path="d.npz")


def patched(folder: Path, offset: int, value: bytes) -> Study:
    """An archive of one member, with a field of its two headers replaced."""
    archive(folder, {"x_train.npy": header("(1,)") + b"\0" * 4})
    content = bytearray((folder / "d.npz").read_bytes())
    for sign, start in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):  # the second has a field more
        at = content.index(sign) + start + offset
        content[at : at + len(value)] = value
    (folder / "d.npz").write_bytes(content)
    return study_of(folder, "npz", path="d.npz")


def test_npz_reader_compares_headers_with_content(tmp_path: Path) -> None:
    """Nothing is allocated for a shape that the file does not hold."""
    start = f"{tmp_path / 'd.npz'}: is no readable .npz file: 'x_train' "
    for shape, wanted in (
        ("(1000000000000, 784)", "3,136,000,000,000,000"),
        (f"({2**63},)", f"{2**65:,}"),
        ("(1, 2)", "8"),
        ("(-1,)", "-4"),
    ):
        study = archive(tmp_path, {"x_train.npy": header(shape) + b"\0" * 4})
        assert said(study) == (
            f"{start}should be of shape {shape} and float32, which is {wanted} bytes; holds 4"
        )
    for content in (
        header("(1,)", "zz") + b"\0" * 4,
        header("'much'") + b"\0" * 4,
        b"\x93NUMPY\x01\x00\xff\xff{'descr'",
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 9_000) + b"(" * 9_000,
        b"",
    ):
        assert said(archive(tmp_path, {"x_train.npy": content})) == f"{start}is no array"
    later = header("(1,)", version=b"\x03\x00") + b"\0" * 4
    assert said(archive(tmp_path, {"x_train.npy": later})) == (
        f"{start}is of numpy's format (3, 0), should be of 1.0 or 2.0"
    )


def test_npz_reader_names_unreadable_members(tmp_path: Path) -> None:
    start = f"{tmp_path / 'd.npz'}: is no readable .npz file: 'x_train' "
    assert said(patched(tmp_path, 6, b"\x01\x00")) == f"{start}is encrypted"
    assert said(patched(tmp_path, 8, b"\x61\x00")) == (
        f"{start}is compressed in a way that cannot be read here (zip's method 97); "
        f"numpy.savez and savez_compressed write others"
    )
    assert said(patched(tmp_path, 22, struct.pack("<I", 2**31))) == (
        f"{start}says that it is of 2,147,483,648 bytes, of which the archive holds 70"
    )
    assert said(patched(tmp_path, 14, b"abcd")) == f"{start}is damaged"
    twice = {"x_train.npy": header("(1,)") + b"\0" * 4, "x_train": header("(1,)") + b"\0" * 4}
    assert said(archive(tmp_path, twice)) == f"{start}is there twice"


def test_npz_reader_detects_cut_list_of_members(tmp_path: Path) -> None:
    """Without its validation part, a part of the training part would be taken for it."""
    study = npz(tmp_path, **GOOD, x_val=X, y_val=Y)
    content = bytearray((tmp_path / "d.npz").read_bytes())
    listed = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", listed + 1)
    content[-10:-6] = struct.pack("<L", len(content) - 22 - second)  # size of the list
    (tmp_path / "d.npz").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "d.npz") as archive:
        assert len(archive.namelist()) == 3
    assert said(study) == (
        f"{tmp_path / 'd.npz'}: is no readable .npz file: it is damaged, and lists 4 arrays, of "
        f"which 3 are found"
    )


def test_npz_reader_reads_every_compression_of_zip(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", **GOOD)
    with zipfile.ZipFile(tmp_path / "plain.npz") as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        data = load_data(archive(tmp_path, members, compression=method))
        assert (
            data.fingerprint == load_data(study_of(tmp_path, "npz", path="plain.npz")).fingerprint
        )


def test_npz_reader_never_waits_for_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for path, words in (
        ("fifo", "is a FIFO, not a file"),
        ("folder", "is a folder, not a file"),
        ("/dev/zero", "is a device, not a file"),
        ("n" * 300, "File name too long"),
    ):
        assert said(study_of(tmp_path, "npz", path=path)) == (
            f"{tmp_path / path}: cannot be read: {words} (data.path = {path!r})"
        )
    if Path("/proc/self/mem").exists():  # a file that opens, and cannot be read
        path = "/proc/self/mem"
        assert said(study_of(tmp_path, "npz", path=path)) == (
            f"{path}: cannot be read: Input/output error"
        )
    with pytest.raises(StudyError, match=r"data\.path: should have no NUL, found "):
        study_of(tmp_path, "npz", path="a\0b")


WANTED = (
    "y_train: labels should be classes, one a sample: integers, booleans or strings of shape "
    "(samples,),"
)
LABELS: dict[str, tuple[Any, str]] = {
    "2**63": (
        np.where(np.arange(40) == 9, np.uint64(2**63), Y.astype(np.uint64)),
        "y_train[9]: labels should be below 2**63, found 9223372036854775808",
    ),
    "nan": (
        np.where(Y == 1, np.nan, Y),
        f"{WANTED} found float64 of shape (40,); regression is not there",
    ),
    "dates": (Y.astype("M8[s]"), f"{WANTED} found datetime64[s] of shape (40,)"),
    "scalar": (np.int64(3), f"{WANTED} found int64 of shape ()"),
    "none": (Y[:0], "y_train: has no samples"),
}


@pytest.mark.parametrize("case", LABELS)
def test_npz_reader_refuses_odd_labels(tmp_path: Path, case: str) -> None:
    labels, words = LABELS[case]
    assert said(npz(tmp_path, x_train=X, y_train=labels)) == f"d.npz: {words}"


def test_npz_reader_refuses_labels_beyond_int64_in_another_part(tmp_path: Path) -> None:
    study = npz(tmp_path, **GOOD, x_val=X, y_val=np.full(40, 2**64 - 1, dtype=np.uint64))
    assert said(study) == (
        "d.npz: y_val[0]: labels should be below 2**63, found 18446744073709551615"
    )


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "u8"])
def test_npz_reader_accepts_labels_of_every_integer_type(tmp_path: Path, kind: str) -> None:
    data = load_data(npz(tmp_path, x_train=X, y_train=Y.astype(kind)))
    assert data.fingerprint == load_data(npz(tmp_path, **GOOD)).fingerprint


SAMPLES: dict[str, tuple[Any, str]] = {
    "complex": (X.astype(complex), "samples should be real numbers, found complex128"),
    "dates": (np.zeros((40, 3), "M8[s]"), "samples should be real numbers, found datetime64[s]"),
    "records": (
        np.zeros((40, 3), [("a\x1b[31m", "<f4")]),
        "samples should be real numbers, found [('a\\x1b[31m', '<f4')]",
    ),
    "beyond float32": (np.full((40, 3), 1e39), "[0, 0]: should be a finite float32, found 1e+39"),
    "no features": (
        np.zeros((40, 0)),
        "samples should be (n, features), (n, height, width) or (n, height, width, channels) in "
        "either order, found shape (40, 0)",
    ),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_npz_reader_refuses_odd_samples(tmp_path: Path, case: str) -> None:
    x, words = SAMPLES[case]
    between = "" if words.startswith("[") else ": "
    assert said(npz(tmp_path, x_train=x, y_train=Y)) == f"d.npz: x_train{between}{words}"


RETURNS: dict[str, tuple[str, str]] = {
    "None": ("return None", f" {RULE}; returned NoneType"),
    "a generator": ("yield 'x_train', X", f" {RULE}; returned generator"),
    "three values": ("return X, Y, Y", ": should be (samples, labels), found 3 values"),
    "samples alone": (
        "return {'train': X}",
        ": train: labels are missing; bring them, or a map-style dataset of torch",
    ),
    "a part twice": (
        "return {'train': (X, Y), 'val': (X, Y), 'validation': (X, Y)}",
        ": returned the part 'val' twice; found ['train', 'val', 'validation']",
    ),
    "objects": (
        "return {'x_train': np.array([None] * 40), 'y_train': Y}",
        ": x_train: should be an array of numbers, is numpy.ndarray, which holds objects",
    ),
    "a generator as an array": (
        "return {'x_train': (row for row in X), 'y_train': Y}",
        ": x_train: should be an array of numbers, is builtins.generator, which holds objects",
    ),
    "a sparse matrix": (
        "import scipy.sparse\n    return {'x_train': scipy.sparse.csr_matrix(X), 'y_train': Y}",
        ": x_train: should be an array of numbers, is scipy.sparse._csr.csr_matrix, which holds "
        "objects",
    ),
    "masked": (
        "return {'x_train': np.ma.masked_less(X, 0.5), 'y_train': Y}",
        ": x_train: should have no masked values, found 16",
    ),
    "a sparse tensor": (
        "return {'x_train': torch.tensor(X).to_sparse(), 'y_train': Y}",
        ": x_train: is sparse; bring value.to_dense()",
    ),
    "a meta tensor": (
        "return {'x_train': torch.empty(40, 3, device='meta'), 'y_train': Y}",
        ": x_train: has no values (device meta)",
    ),
    "a quantized tensor": (
        "return {'x_train': torch.quantize_per_tensor(torch.tensor(X), 0.1, 0, torch.qint8)}",
        ": x_train: is quantized; bring value.dequantize()",
    ),
    "an array that fails": (
        "class Odd:\n        def __array__(self, *args, **kw): raise OSError('gone')\n"
        "    return {'x_train': Odd(), 'y_train': Y}",
        ": x_train: is no array of numbers (odd.function.<locals>.Odd): gone",
    ),
    "an exit": ("sys.exit(3)", " raised SystemExit: 3"),
    "a base exception": ("raise BaseException('odd')", " raised BaseException: odd"),
    "a message that fails": (
        "class Odd(Exception):\n        def __str__(self): return 1 / 0\n    raise Odd",
        " raised Odd",
    ),
    "a mapping that fails": (
        "class Odd(Mapping):\n        __getitem__ = __len__ = None\n"
        "        def __iter__(self): sys.exit()\n    return Odd()",
        " raised SystemExit",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", RETURNS)
def test_odd_user_source_gives_one_message(tmp_path: Path, case: str) -> None:
    body, words = RETURNS[case]
    (tmp_path / "odd.py").write_text(
        "import sys, numpy as np, torch\nfrom collections.abc import Mapping\n"
        "X = np.arange(120, dtype=np.float32).reshape(40, 3) % 15 / 4\nY = np.arange(40) % 2\n"
        f"def function():\n    {body}\n"
    )
    assert said(study_of(tmp_path, "odd:function")) == f"data.source: 'odd:function'{words}"


def test_user_source_may_return_anything_numpy_converts(tmp_path: Path) -> None:
    (tmp_path / "fair.py").write_text(
        "import numpy as np, torch\n"
        "X = np.arange(120, dtype=np.float32).reshape(40, 3)\nY = np.arange(40) % 2\n"
        "def lists(): return {'x_train': X.tolist(), 'y_train': Y.tolist()}\n"
        "def masked(): return {'x_train': np.ma.masked_less(X, -1), 'y_train': Y}\n"
        "def gradients():\n"
        "    return {'x_train': torch.tensor(X, requires_grad=True), 'y_train': torch.tensor(Y)}\n"
        "def narrow(): return {'x_train': torch.tensor(X).bfloat16(), 'y_train': torch.tensor(Y)}\n"
    )
    wanted = None
    for name in ("lists", "masked", "gradients", "narrow"):
        data = load_data(study_of(tmp_path, f"fair:{name}"))
        wanted = wanted or data.fingerprint
        assert data.fingerprint == wanted, name


def test_user_source_may_return_names_of_classes(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text(
        "import numpy as np\n"
        "X = np.arange(120, dtype=np.float32).reshape(40, 3)\nY = ['cat', 'dog'] * 20\n"
        "def lists(): return {'x_train': X, 'y_train': Y}\n"
        "def objects(): return {'x_train': X, 'y_train': np.array(Y, dtype=object)}\n"
        "def variable(): return {'x_train': X, 'y_train': np.array(Y, np.dtypes.StringDType())}\n"
        "def mixed(): return {'x_train': X, 'y_train': np.array([None, *Y[1:]], dtype=object)}\n"
    )
    for name in ("lists", "objects", "variable"):
        data = load_data(study_of(tmp_path, f"named:{name}"))
        assert data.class_names == ("cat", "dog"), name
        assert data.train.y.tolist() == (data.train.x[:, 0] % 2).tolist()
    assert said(study_of(tmp_path, "named:mixed")) == (
        "data.source: 'named:mixed': y_train[0]: should be text as others are, found NoneType"
    )


def test_ctrl_c_interrupts_user_source(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text("def function():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_data(study_of(tmp_path, "stopped:function"))


def test_source_reports_data_beyond_memory(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(
        "import numpy as np\ndef function():\n    return {'x_train': np.zeros((10**9, 10**9))}\n"
    )
    study = study_of(tmp_path, "large:function")
    assert said(study) == "large:function: does not fit into memory"
    with pytest.raises(DataError) as error:
        load_test(study)
    assert str(error.value) == "large:function: does not fit into memory"
