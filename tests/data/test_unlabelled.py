"""The array of samples without labels: its rules, and the way to workers."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasearch
from tasearch.config.data_section import DataSection
from tasearch.config.study import Study
from tasearch.data import Split, load_data, taken, unlabelled
from tasearch.data.given import Given
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import DataError
from tests.helpers.studies import tiny

X = np.random.default_rng(0).integers(256, size=(90, 8, 8), dtype=np.uint8)
Y = np.arange(60) % 3


def study_of(folder: Path, **arrays: Any) -> Study:
    np.savez(folder / "d.npz", **{"x_train": X[:60], "y_train": Y, **arrays})
    study = tiny(data={"source": "npz", "path": "d.npz"})
    return study.model_copy(update={"root": str(folder)})


def test_samples_without_labels_come_to_workers(tmp_path: Path) -> None:
    data = load_data(study_of(tmp_path, x_unlabelled=X[60:]))
    assert data.unlabelled is not None
    assert np.array_equal(data.unlabelled, X[60:, None])
    assert np.array_equal(data.inputs, np.concatenate([data.train.x, X[60:, None]]))
    with closing(SharedDataset(data)) as shared:
        read = read_shared(shared.path)
    assert read.unlabelled is not None and np.array_equal(read.unlabelled, data.unlabelled)
    assert read.unlabelled_digest == data.unlabelled_digest != ""


@pytest.mark.parametrize("large", [False, True])
def test_samples_with_and_without_labels_are_one_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Here and in workers, in memory or in a file, so that no process has a copy of both."""
    if large:
        monkeypatch.setattr(taken, "LARGE", 1)
    data = load_data(study_of(tmp_path, x_unlabelled=X[60:]))
    assert (data.file is not None) == large
    with closing(SharedDataset(data)) as shared:
        for one in (data, read_shared(shared.path)):
            assert one.unlabelled is not None
            assert np.array_equal(one.inputs[len(one.train) :], X[60:, None])
            assert np.shares_memory(one.inputs, one.train.x)
            assert np.shares_memory(one.inputs, one.unlabelled)
        assert read_shared(shared.path).fingerprint == data.fingerprint
    if data.file is not None:
        assert "x_train" not in data.file.names and "x_unlabelled" not in data.file.names


def test_labelled_data_are_the_same_without(tmp_path: Path) -> None:
    data, plain = load_data(study_of(tmp_path, x_unlabelled=X[60:])), load_data(study_of(tmp_path))
    assert (plain.unlabelled, plain.unlabelled_digest) == (None, "")
    assert plain.inputs is plain.train.x
    assert plain.fingerprint == data.fingerprint
    assert np.array_equal(plain.mean, data.mean)
    other = load_data(study_of(tmp_path, x_unlabelled=X[61:]))
    assert other.unlabelled_digest != data.unlabelled_digest


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"x_unlabelled": X[60:, :4]},
            "should have samples of uint8 and shape (1, 8, 8) as x_train has, found uint8 and "
            "(1, 4, 8)",
        ),
        (
            {"x_unlabelled": X[60:] / 255},
            "should have samples of uint8 and shape (1, 8, 8) as x_train has, found float32 and "
            "(1, 8, 8)",
        ),
        ({"x_unlabelled": X[60:].astype(str)}, "samples should be real numbers, found <U3"),
        (
            {"x_unlabelled": X[60:], "x_test": X[61:64], "y_test": Y[:3]},
            "3 of 30 samples are exact copies of held-out ones (test), which no model should learn "
            "from: take them out; numbers 1, 2, 3",
        ),
    ],
    ids=["shape", "dtype", "text", "copies"],
)
def test_rules(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as error:
        load_data(study_of(tmp_path, **arrays))
    assert str(error.value) == f"d.npz: x_unlabelled: {words}"


def test_samples_that_are_split_off_count_as_held_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"24 of 60 samples are exact copies .*\(val and test\)"):
        load_data(study_of(tmp_path, x_unlabelled=X[:60]))


def test_bytes_are_made_floats_where_labelled_samples_are(tmp_path: Path) -> None:
    data = load_data(study_of(tmp_path, x_train=X[:60] / 2, x_unlabelled=X[60:]))
    assert data.unlabelled is not None and data.unlabelled.dtype == np.float32


def test_outputs_alone_go_with_labelled_samples_alone(tmp_path: Path) -> None:
    logits = np.eye(3)[Y] * 5
    study = study_of(tmp_path, x_unlabelled=X[60:], teacher_train=logits)
    teacher = study.teacher.model_copy(update={"outputs": "logits"})
    parts = {"x_val": X[:9], "y_val": Y[:9], "teacher_val": logits[:9]}
    np.savez(
        tmp_path / "d.npz",
        x_train=X[9:60], y_train=Y[9:], teacher_train=logits[9:], x_unlabelled=X[60:], **parts,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"'x_unlabelled' goes without teacher\.outputs"):
        load_data(study.model_copy(update={"teacher": teacher}))


def test_given_samples_are_checked() -> None:
    given = Given(x=X[:60], y=Y, validation=None, test=None, unlabelled=X[60:])
    content, _ = given.content(DataSection())
    with np.load(io.BytesIO(content)) as arrays:
        assert np.array_equal(arrays["x_unlabelled"], X[60:, None])
    pairs = [(x, 0) for x in X[60:]]

    class Pairs:
        def __len__(self) -> int:
            return len(pairs)

        def __getitem__(self, i: int) -> Any:
            return pairs[i]

    for wrong, words in (
        (Pairs(), "unlabelled: should be an array, a tensor or lists of samples, found a dataset"),
        (X[60:, :3], "search: x_unlabelled: should have samples of uint8 and shape"),
        (iter(X), "unlabelled: is a"),
    ):
        with pytest.raises(DataError, match=words):
            Given(x=X[:60], y=Y, validation=None, test=None, unlabelled=wrong).content(
                DataSection()
            )
    with pytest.raises(DataError, match="unlabelled: goes with x, which is not given"):
        _ = Given(x=None, y=None, validation=None, test=None, unlabelled=X).there


@pytest.mark.slow
def test_search_learns_from_samples_without_labels(tmp_path: Path) -> None:
    said = list[Any]()
    run = tasearch.search(
        X[:60],
        Y,
        unlabelled=X[60:],
        build="mlp",
        widths=[8, 4],
        epochs=1,
        trials=1,
        study={"training": {"precision": "fp32"}, "latency": {"backend": "torch"}},
        runs_dir=tmp_path,
        progress=False,
        on_event=said.append,
    )
    assert "digest of unlabelled" in run.manifest.inputs
    assert any("30 samples without labels" in getattr(event, "message", "") for event in said)


def test_copies_of_training_samples_are_told_and_no_others(tmp_path: Path) -> None:
    """Those of the parts that are given; a set that is split may hold equal samples."""
    x = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    y = np.arange(60) % 2
    notices: dict[str, list[str]] = {}
    for name, arrays in {
        "apart": {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]},
        "copied": {"x_train": x, "y_train": y, "x_test": x[:3], "y_test": y[:3]},
        "one set": {"x_train": np.concatenate([x, x]), "y_train": np.concatenate([y, y])},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        study = tiny(data={"source": "npz", "path": str(tmp_path / f"{name}.npz")})
        load_data(study, warn=notices.setdefault(name, []).append)
    assert notices == {
        "apart": [],
        "copied": [
            "3 of 3 samples of x_test are exact copies of training samples, so accuracies on them "
            "are too high"
        ],
        "one set": [],
    }


@pytest.mark.parametrize("shape", [(1,), (5,), (8,), (3, 3, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int64])
def test_copies_are_found_among_samples_of_any_size(shape: tuple[int, ...], kind: Any) -> None:
    """Few values, so that many samples share a value, and some are equal."""
    random = np.random.default_rng(0)
    x, held = (random.integers(0, 2, (40, *shape)).astype(kind) for _ in range(2))
    expected = [i for i, one in enumerate(x) if any(np.array_equal(one, other) for other in held)]
    found, _ = unlabelled._copies(x, {"train": Split(x=held, y=np.zeros(40, np.int64))})
    assert found == expected


def test_few_samples_need_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    x, digests = np.random.default_rng(0).integers(256, size=(2_000, 50), dtype=np.uint8), []

    def counted(sample: np.ndarray) -> bytes:
        digests.append(sample)
        return digest(sample)

    digest = unlabelled._digest
    monkeypatch.setattr(unlabelled, "_digest", counted)
    parts = {"train": Split(x=x, y=np.zeros(2_000, np.int64))}
    assert unlabelled._copies(x[:3] + 1, parts) == ([], "")
    assert unlabelled._copies(x[:3], parts) == ([0, 1, 2], "train")
    assert len(digests) == 6
