"""What a function of the user's may return."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tasearch
from tasearch.data import load_data, load_test
from tasearch.data.returned import returned_arrays
from tasearch.errors import DataError
from tests.helpers.arrays import study_of
from tests.helpers.studies import SMALL, tiny

OWN = """
import numpy as np, torch
from torch.utils.data import Dataset, TensorDataset

X = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), dtype=np.uint8)
Y = np.arange(60) % 3

class Images(Dataset):  # of PIL's images, as torchvision's datasets are
    def __init__(self, rows=range(60)):
        self.rows = rows
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, i):
        from PIL import Image
        return Image.fromarray(X[self.rows[i]]), int(Y[self.rows[i]])

def arrays(): return {"x_train": X, "y_train": Y}
def pair(): return X, Y
def tensors(): return torch.from_numpy(X), torch.from_numpy(Y)
def lists(): return X.tolist(), ["abc"[k] for k in Y]
def images(): return Images()
def by_part(): return {"train": Images(range(40)), "validation": (X[40:50], Y[40:50]),
                       "test": TensorDataset(torch.from_numpy(X[50:]), torch.from_numpy(Y[50:]))}
def broken():
    class Broken(Images):
        def __getitem__(self, i):
            return (X[i], 0) if i < 7 else 1 / 0
    return Broken()
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path) -> None:
    (tmp_path / "mydata.py").write_text(OWN)


@pytest.mark.parametrize("name", ["pair", "tensors", "lists", "images"])
def test_function_may_return_a_pair_or_a_dataset(tmp_path: Path, name: str) -> None:
    arrays, found = (load_data(study_of(tmp_path, f"mydata:{n}")) for n in ("arrays", name))
    assert np.array_equal(found.train.x, arrays.train.x)
    assert np.array_equal(found.train.y, arrays.train.y)
    assert found.class_names == (("a", "b", "c") if name == "lists" else ("0", "1", "2"))


def test_function_may_return_pairs_and_datasets_by_part(tmp_path: Path) -> None:
    study = study_of(tmp_path, "mydata:by_part")
    data, whole = load_data(study), load_data(study_of(tmp_path, "mydata:arrays"))
    assert (len(data.train), len(data.validation), len(load_test(study))) == (40, 10, 10)
    assert data.in_shape == whole.in_shape == (3, 5, 4)


def test_reading_a_dataset_tells_its_progress(tmp_path: Path) -> None:
    """So that a worker that reads a large one does not seem to hang."""
    told: list[tuple[int, int]] = []
    load_data(study_of(tmp_path, "mydata:images"), lambda *done: told.append(done))
    assert told == [(i, 60) for i in range(1, 61)]


def test_item_that_raises_is_named(tmp_path: Path) -> None:
    words = r"data.source: 'mydata:broken'\[7\] raised ZeroDivisionError"
    with pytest.raises(DataError, match=words):
        load_data(study_of(tmp_path, "mydata:broken"))


def test_names_of_arrays_are_no_parts() -> None:
    """A mapping that mixes both is one of arrays, with an unknown name."""
    found = returned_arrays(lambda: {"x_train": [[1.0]], "y_train": [0], "test": [1]}, "m:f")
    assert [*found] == ["x_train", "y_train", "test"]


@pytest.mark.slow
def test_study_trains_on_a_dataset_of_a_function(tmp_path: Path) -> None:
    content = SMALL | {"data": {"source": "mydata:by_part"}, "search": {"trials": 1}}
    study = tiny(**content).model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert run.trials[0].state == "complete"
