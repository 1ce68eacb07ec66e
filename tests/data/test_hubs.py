"""Sets by their names: downloaded once, kept as parquet files, read like a user's own."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from sklearn.utils import Bunch

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import load_data, load_test
from tasearch.errors import DataError, StudyError
from tests.helpers.arrays import study_of
from tests.helpers.packages import package
from tests.helpers.sets import write_mnist
from tests.helpers.studies import SMALL, tiny

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 9, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


def hub_study(folder: Path, source: str, **keys: Any) -> Study:
    return study_of(folder, source, path="kept", **keys)


class Images:
    """A dataset of torchvision's kind, which exists in this module alone."""

    classes = ["dog", "cat", "ant"]  # noqa: RUF012

    def __init__(self, root: str, count: int = 30) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[Any, int]:
        if i >= self.count:
            raise IndexError(i)
        return Image.fromarray(PIXELS[i]), i % 3


class ByTrain(Images):
    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        assert download
        super().__init__(root, 30 if train else 12)


class BySplit(Images):
    def __init__(self, root: str, split: str = "trainval", download: bool = False) -> None:
        if split not in ("trainval", "test"):
            raise ValueError(f"unknown value {split!r} for argument split")
        super().__init__(root, 30 if split == "trainval" else 12)


class Boxes(Images):
    def __getitem__(self, i: int) -> tuple[Any, Any]:  # type: ignore[override]
        return super().__getitem__(i)[0], {"boxes": []}


class Unreachable(Images):
    def __init__(self, root: str, download: bool = False) -> None:
        raise URLError("[Errno -2] Name or service not known")


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's part that is used, with sets of its kinds."""
    module = types.ModuleType("torchvision.datasets")
    for kind in (Images, ByTrain, BySplit, Boxes, Unreachable):
        setattr(module, kind.__name__, kind)
    module.__all__ = [n for n in vars(module) if n[0].isupper()]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


@pytest.mark.parametrize(("name", "test"), [("Images", 6), ("ByTrain", 12), ("BySplit", 12)])
def test_set_of_torchvision_has_the_parts_of_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torchvision: None, name: str, test: int
) -> None:
    study, told = hub_study(tmp_path, f"torchvision:{name}"), list[tuple[int, int]]()
    data = load_data(study, lambda *done: told.append(done))
    assert data.class_names == ("dog", "cat", "ant")
    assert data.in_shape == (3, 9, 8)
    assert len(load_test(study)) == test
    assert (30, 30) in told
    whole = {x.tobytes() for x in PIXELS[:30].transpose(0, 3, 1, 2)}
    assert {x.tobytes() for x in data.train.x} <= whole  # no pixel has changed
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # type: ignore[arg-type]
    assert load_data(study).fingerprint == data.fingerprint  # without the package and a network
    assert (tmp_path / f"kept/torchvision/{name}/train.parquet").is_file()


def test_keys_of_images_go_with_a_set(tmp_path: Path, torchvision: None) -> None:
    study = hub_study(tmp_path, "torchvision:Images", size=[4, 6], channels="grey")
    assert load_data(study).in_shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ByTrian", "torchvision has no set 'ByTrian'; did you mean 'ByTrain'?"),
        ("Boxes", "'torchvision:Boxes' should hold images of one class each"),
        (
            "Unreachable",
            "'torchvision:Unreachable' cannot be had here: its host cannot .* network, or",
        ),
    ],
)
def test_set_that_cannot_be_had_is_told(
    tmp_path: Path, torchvision: None, name: str, message: str
) -> None:
    for _ in range(2):  # nothing is left that a second start could take for the set
        with pytest.raises(DataError, match=message):
            load_data(hub_study(tmp_path, f"torchvision:{name}"))
    assert not (tmp_path / f"kept/torchvision/{name}").exists()


def test_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing, source in (("datasets", "hf:own/set"), ("torchvision", "torchvision:MNIST")):
        for module in [name for name in sys.modules if name.startswith(f"{missing}.")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, missing, None)  # type: ignore[arg-type]
        extra = source.partition(":")[0]
        words = rf"needs {missing}, which is not installed: .*\[{extra}\]"
        with pytest.raises(DataError, match=words):
            load_data(hub_study(tmp_path, source))


@pytest.mark.packages
def test_real_torchvision_reads_its_own_files(tmp_path: Path) -> None:
    """MNIST in the package's format, so that nothing is downloaded."""
    package("torchvision.datasets")
    parts = {
        part: (RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count) % 5)
        for part, count in (("train", 40), ("t10k", 10))
    }
    write_mnist(tmp_path / "kept/torchvision/files", parts)
    study = hub_study(tmp_path, "torchvision:MNIST")
    assert load_data(study).in_shape == (1, 28, 28)
    assert load_data(study).class_names[:2] == ("0 - zero", "1 - one")
    assert len(load_test(study)) == 10


def frame() -> Any:
    pandas = pytest.importorskip("pandas")
    plan = pandas.Categorical(["a", "b", None] * 20)
    target = pandas.Categorical(["yes", "no", "yes"] * 20)
    return pandas.DataFrame({"age": np.arange(60.0), "plan": plan, "left": target})


def test_set_of_openml_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def fetched(**options: Any) -> Bunch:
        asked.append(options)
        return Bunch(frame=frame(), target_names=["left"])

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetched)
    files = str(tmp_path / "kept/openml/files")
    for source, which in (
        ("openml:churn", {"name": "churn", "version": "active"}),
        ("openml:churn:2", {"name": "churn", "version": 2}),
        ("openml:1590", {"data_id": 1590}),
    ):
        data = load_data(hub_study(tmp_path, source))
        assert asked[-1] == {**which, "data_home": files, "as_frame": True, "n_retries": 1}
        assert data.class_names == ("no", "yes")
        assert data.table is not None
        assert data.table.features.names == ["age", "plan=a", "plan=b", "plan missing"]
        assert load_data(hub_study(tmp_path, source)).fingerprint == data.fingerprint
    assert len(asked) == 3
    other = load_data(hub_study(tmp_path, "openml:churn", drop="plan"))
    assert other.table is not None and other.table.features.names == ["age"]


def test_openml_without_a_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**options: Any) -> Bunch:
        raise URLError("[Errno -3] Temporary failure in name resolution")

    frame()
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", unreachable)
    place = tmp_path / "kept/openml/churn--2"
    with pytest.raises(DataError, match=rf"'openml:churn:2' cannot be had .* copy {place} from"):
        load_data(hub_study(tmp_path, "openml:churn:2"))


@pytest.mark.packages
def test_set_of_the_hub_keeps_its_images_parts_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set in a local folder, which the package reads in the place of one on the Hub."""
    datasets = package("datasets")
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat", "ant"])}
    features = datasets.Features(kinds)
    (tmp_path / "own/set").mkdir(parents=True)
    for part, rows, labels in (
        ("train", range(40), [i % 3 for i in range(40)]),
        ("validation", range(40, 50), [i % 3 for i in range(10)]),
        ("test", range(50, 60), [-1] * 10),  # its classes are kept secret
    ):
        images = [Image.fromarray(PIXELS[i]) for i in rows]
        made = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
        made.to_parquet(str(tmp_path / f"own/set/{part}.parquet"))
    load = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, *a, **b: load(str(tmp_path / name), *a, **b)
    )
    study = hub_study(tmp_path, "hf:own/set")
    data = load_data(study)
    assert data.class_names == ("dog", "cat", "ant")
    assert (len(data.train), len(data.validation), len(load_test(study))) == (32, 10, 8)
    assert {x.tobytes() for x in data.validation.x} == {
        x.tobytes() for x in PIXELS[40:50].transpose(0, 3, 1, 2)
    }
    monkeypatch.setitem(sys.modules, "datasets", None)  # type: ignore[arg-type]
    assert load_data(study).fingerprint == data.fingerprint
    with pytest.raises(DataError, match="needs datasets, which is not installed"):
        load_data(hub_study(tmp_path, "hf:own/other"))


@pytest.mark.packages
def test_set_of_the_hub_is_not_taken_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("datasets")
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    place = re.escape(str(tmp_path / "mnist"))
    with pytest.raises(DataError, match=f"'hf:mnist:plain': {place} would be read in its place"):
        load_data(hub_study(tmp_path, "hf:mnist:plain"))


@pytest.mark.packages
def test_hub_without_a_network_is_told(tmp_path: Path) -> None:
    package("datasets")
    with pytest.raises(DataError, match=r"'hf:no/such' cannot be had here: .* from there"):
        load_data(hub_study(tmp_path, "hf:no/such"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf:", 'should be "hf:NAME" or "hf:NAME:CONFIG", found "hf:"'),
        ("hf:../etc", 'should be "hf:NAME"'),
        ("openml:adult:new", 'should be "openml:NAME" or "openml:NAME:VERSION"'),
        ("torchvision:a.b", 'should be "torchvision:NAME", found'),
    ],
)
def test_names_that_no_hub_has_are_refused(source: str, message: str) -> None:
    with pytest.raises(StudyError, match=r"data\.source: ") as error:
        parse_study({"data": {"source": source}})
    assert message in str(error.value)


@pytest.mark.slow
def test_run_of_a_set_needs_no_trust(tmp_path: Path, torchvision: None) -> None:
    """A set is no code of the user's: it is loaded here, and an export asks for no trust."""
    content = SMALL | {"data": {"source": "torchvision:ByTrain"}, "search": {"trials": 1}}
    study = tiny(**content).model_copy(update={"root": str(tmp_path)})
    assert study.own_functions == ()
    tasearch.run(study, runs_dir=tmp_path / "runs")
    tasearch.export(tmp_path / "runs/tiny", tmp_path / "winner")
    assert (tmp_path / "cache/downloads/torchvision/ByTrain/test.parquet").is_file()
