"""Views by a function of the user's: drawn once, the same for everyone, and shown in order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasearch.chains.keys import derived_seed
from tasearch.config.cache_folder import cache_folder
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.errors import DataError, StudyError
from tasearch.runs.store import Store
from tasearch.train import own_views
from tasearch.train.archive import HopArchive
from tasearch.train.own_views import DrawnData, OwnViews
from tests.helpers.studies import tiny
from tests.helpers.training import files, hops, image_study, train_all, train_in_parts, trainer

NOISY = """
import random
import numpy as np
import torch

calls = []

def noisy(x):
    calls.append(x.shape)
    x += (torch.randint(9, x.shape, dtype=torch.float32) * random.random()).to(x.dtype)
    return np.roll(x.numpy(), np.random.randint(3), axis=-1)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noisy(folder: Path, text: str = NOISY, **sections: Any) -> Study:
    """A study of images with an augmentation of the user's."""
    (folder / "mine.py").write_text(text)
    own = {"views": 3, **sections.pop("training", {})}
    return image_study(folder, "mine:noisy", training=own, **sections)


def views_of(study: Study) -> OwnViews:
    found = OwnViews.of(study)
    assert found is not None
    return found


def by_hand(views: OwnViews, sample: np.ndarray, index: int, number: int) -> np.ndarray:
    seed = derived_seed("view", views.seed, index, number)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    return np.asarray(views.augment.function(torch.tensor(sample)))


def test_view_depends_on_seed_sample_and_number_alone(tmp_path: Path) -> None:
    study = noisy(tmp_path)
    views, data = views_of(study), load_data(study)
    drawn = views.drawn(data)
    assert isinstance(drawn, np.memmap)
    assert drawn.dtype == data.train.x.dtype == np.uint8
    assert drawn.shape == (len(data.train), 3, 16, 16, 2)
    before = data.train.x.copy()
    for index, number in ((5, 2), (0, 0), (200, 1)):
        view = np.moveaxis(drawn[index, number], -1, 0)
        assert np.array_equal(view, by_hand(views, data.train.x[index], index, number))
    assert np.array_equal(data.train.x, before)  # the function changes its argument
    assert not np.array_equal(drawn[0, 0], drawn[0, 1])


def test_views_of_floats_stay_floats(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def double(x):\n    return 2 * x.double()\n")
    study = tiny(training={"augment": "mine:double", "views": 2})
    study = study.model_copy(update={"root": str(tmp_path)})
    data = load_data(study)
    drawn = views_of(study).drawn(data)
    assert drawn.dtype == data.train.x.dtype == np.float32
    assert np.array_equal(np.moveaxis(drawn[7, 1], -1, 0), 2 * data.train.x[7])


def test_views_are_drawn_once(tmp_path: Path) -> None:
    study = noisy(tmp_path)
    views, data = views_of(study), load_data(study)
    assert not views.are_drawn(data)
    first, calls = views.drawn(data), views.augment.function.__globals__["calls"]
    assert len(calls) == 3 * len(data.train)
    assert views.are_drawn(data)
    other = study.model_copy(update={"seed": 5})  # it decides when views are shown alone
    assert np.array_equal(views_of(other).drawn(data), first)
    assert len(calls) == 3 * len(data.train)


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"views": 4}},
        {"data": {"split_seed": 1}},
        {"text": NOISY.replace("randint(9", "randint(8")},
    ],
    ids=["number", "seed", "source"],
)
def test_views_and_keys_differ_with_what_decides_them(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    study = noisy(tmp_path)
    data = load_data(study)
    views_of(study).drawn(data)
    first = trainer(tmp_path / "run", study).setting.augment
    if text := change.pop("text", ""):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.py").write_text(text)
        study = study.model_copy(update={"root": str(tmp_path / "other")})
    given = study.model_dump()
    study = Study.model_validate(given | {n: given[n] | own for n, own in change.items()})
    assert not views_of(study).are_drawn(data)
    archive = HopArchive(
        study=study, data="", family="", device="cpu", modes={}, store=Store(tmp_path)
    )
    assert archive.setting.augment != first


def test_drawing_leaves_global_generators_as_they_were(tmp_path: Path) -> None:
    study = noisy(tmp_path)
    views, data = views_of(study), load_data(study)
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        if found:
            views.try_out(data.train.x[:2])
        found.append((torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()))
    assert found[0] == found[1]


def test_data_show_each_view_once_standardized(tmp_path: Path) -> None:
    study = noisy(tmp_path)
    data = load_data(study)
    drawn, own = views_of(study).drawn(data), trainer(tmp_path / "run", study)
    shown = own.views[0]
    assert isinstance(shown, DrawnData)
    assert (len(shown), shown.shape) == (len(data.train), (2, 16, 16))
    seen = torch.stack([shown.numbers(phase) for phase in range(3)])
    assert all(sorted(column) == [0, 1, 2] for column in seen.T.tolist())
    samples = torch.tensor([7, 0, 7, 99])
    batch = shown.batch(samples, seen[1])
    assert batch.dtype == torch.float32
    for row, i in zip(batch, samples.tolist(), strict=True):
        raw = np.moveaxis(drawn[i, seen[1][i]], -1, 0)
        assert torch.allclose(row, torch.tensor((raw - data.mean) / data.std), atol=1e-5)


def test_stopped_training_on_own_views_ends_the_same(tmp_path: Path) -> None:
    study = noisy(tmp_path)
    lineage = hops(study, 8, 4)
    train_all(trainer(tmp_path / "a", study), lineage)
    train_in_parts(tmp_path / "b", study, lineage, epochs=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")


WRONG = {
    "return x[..., :8]": r"should return uint8 of shape \(2, 16, 16\) as it was given, returned "
    r"uint8 of shape \(2, 16, 8\)",
    "return x / 255": r"returned float32 of shape \(2, 16, 16\); leave out what standardizes",
    "return None": "should be an array of numbers|is no array of numbers",
    "return x.unknown": "raised AttributeError",
    "raise SystemExit(3)": "raised SystemExit",
    "return np.random.default_rng().integers(9, size=x.shape).astype(np.uint8)": (
        "made two views with the same seed"
    ),
    "calls.append(1); return x + len(calls)": "made two views with the same seed",
}


@pytest.mark.parametrize("code", WRONG)
def test_wrong_functions_are_refused_in_words(tmp_path: Path, code: str) -> None:
    study = noisy(tmp_path, f"import numpy as np\ncalls = []\ndef noisy(x):\n    {code}\n")
    x = load_data(study).train.x
    with pytest.raises(StudyError, match=WRONG[code]) as caught:
        views_of(study).try_out(x)
    assert "training.augment: 'mine:noisy'" in str(caught.value)


def test_views_of_infinite_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def far(x):\n    return x / 0\n")
    study = tiny(training={"augment": "mine:far", "views": 2})
    study = study.model_copy(update={"root": str(tmp_path)})
    with pytest.raises(StudyError, match="'mine:far' of sample 0: should return finite numbers"):
        views_of(study).try_out(load_data(study).train.x)


def test_views_keep_to_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = noisy(tmp_path, training={"views_gb": 1e-4})
    data = load_data(study)
    rule = r"3 views of 216 samples take 0.000332 GB, more than training.views_gb = 0.0001; ask"
    with pytest.raises(StudyError, match=rule):
        views_of(study).try_out(data.train.x)
    free = own_views.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(own_views.shutil, "disk_usage", lambda path: free)
    with pytest.raises(
        DataError, match=r"views of samples cannot be written here: .* 1,000 are free"
    ):
        views_of(study).drawn(data)
    assert [*cache_folder().iterdir()] == []


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"augment": "mine:noisy"}, r"training.views: is required with an augmentation of yours"),
        (
            {"views": 3},
            r"training.views: goes with an augmentation of yours, or with training.mixup, found",
        ),
        ({"augment": "flop"}, "training.augment: unknown name 'flop'; did you mean 'flip'"),
        ({"augment": "a b:c", "views": 2}, "training.augment: .*found 'a b:c'"),
    ],
)
def test_rules_of_keys(training: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        tiny(training=training)
