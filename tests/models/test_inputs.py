"""Samples of the data, made into those that a loaded teacher expects."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tasearch
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.errors import ModelError, StudyError
from tasearch.models import Models
from tasearch.profiling.onnx import onnx_outputs, to_onnx
from tasearch.search.prepare import prepare
from tests.helpers.studies import tiny

OWN = """
import torch
from torch import nn

class Seen(nn.Module):
    last = None
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3, classes)
    def forward(self, x):
        Seen.last = x
        return self.head(x.float().flatten(2).mean(2).expand(-1, 3) if x.ndim == 4 else x[:, :3])

def make(*, in_shape, num_classes):
    return Seen(num_classes)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    pixels = rng.integers(0, 256, (60, 6, 10, 3), dtype=np.uint8)
    np.savez(tmp_path / "rgb.npz", x_train=pixels, y_train=labels)
    np.savez(tmp_path / "grey.npz", x_train=pixels[..., 0], y_train=labels)
    np.savez(tmp_path / "real.npz", x_train=pixels[..., 0] / np.float32(7), y_train=labels)
    np.savez(tmp_path / "flat.npz", x_train=pixels[:, 0, :3, 0], y_train=labels)
    return tmp_path


def study_of(root: Path, data: str, **teacher: Any) -> Study:
    study = tiny(
        data={"source": "npz", "path": f"{data}.npz"},
        teacher={"width": 64, "factory": "own:make", "epochs": 0, **teacher},
        assistants={"max": 0},
        student={"widths": [4], "epochs": 1},
        search={"trials": 1, "rungs": 1},
    )
    return study.model_copy(update={"root": str(root)})


def seen(study: Study) -> tuple[Tensor, Tensor]:
    """Raw samples, and what the teacher gets for them."""
    data = load_data(study)
    models = Models.for_study(study, data)
    raw = torch.tensor(data.validation.x).float()
    models.build(64)((raw - models.mean) / models.std)
    import own  # type: ignore[import-not-found]

    return raw, own.Seen.last


def columns(*numbers: float) -> Tensor:
    return torch.tensor(numbers).reshape(-1, 1, 1)


def test_teacher_gets_bytes_in_its_own_units(root: Path) -> None:
    raw, got = seen(study_of(root, "rgb", mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0]))
    expected = (raw / 255 - columns(0.1, 0.2, 0.3)) / columns(0.5, 0.25, 1.0)
    torch.testing.assert_close(got, expected)
    raw, got = seen(study_of(root, "rgb", mean=0, std=1))
    torch.testing.assert_close(got, raw / 255)


def test_teacher_gets_real_numbers_in_units_of_the_data(root: Path) -> None:
    raw, got = seen(study_of(root, "real", mean=10.0, std=5.0))
    torch.testing.assert_close(got, (raw - 10) / 5, rtol=1e-4, atol=1e-5)
    raw, got = seen(study_of(root, "flat", mean=[1.0, 2.0, 3.0], std=[1.0, 2.0, 4.0]))
    parts = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0])
    torch.testing.assert_close(got, (raw / 255 - parts[0]) / parts[1])


def test_means_of_three_channels_make_three_of_grey_images(root: Path) -> None:
    raw, got = seen(study_of(root, "grey", mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0]))
    expected = (raw / 255 - columns(0.1, 0.2, 0.3)) / columns(0.5, 0.25, 1.0)
    assert got.shape == (len(raw), 3, 6, 10)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("size", [12, [3, 5], [9, 4]])
def test_teacher_gets_resized_images(root: Path, size: Any) -> None:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    raw, got = seen(study_of(root, "rgb", size=size))
    resized = F.interpolate(raw, sides, mode="bilinear", antialias=True)
    assert torch.equal(got, resized)
    assert torch.equal(seen(study_of(root, "rgb", size=size))[1], got)
    raw, got = seen(study_of(root, "rgb", size=size, inputs="standardized"))
    study = study_of(root, "rgb")
    models = Models.for_study(study, load_data(study))
    standardized = (raw - models.mean) / models.std
    assert torch.equal(got, F.interpolate(standardized, sides, mode="bilinear", antialias=True))


def test_size_of_the_data_changes_nothing(root: Path) -> None:
    raw, got = seen(study_of(root, "rgb", size=[6, 10]))
    assert torch.equal(got, raw)


def test_teacher_with_its_own_input_is_another_teacher(root: Path) -> None:
    def origin(**teacher: Any) -> str | None:
        study = study_of(root, "rgb", **teacher)
        return Models.for_study(study, load_data(study)).teacher().origin

    own = {"mean": [0.5], "std": [0.5]}
    found = [origin(), origin(size=8), origin(size=[8, 9]), origin(**own), origin(size=8, **own)]
    assert len({*found}) == len(found)
    assert found[0] is not None and found[0].endswith("+raw")
    line = Models.for_study(
        study_of(root, "rgb", size=8, **own), load_data(study_of(root, "rgb"))
    ).describe_teacher()
    assert line.endswith(": loaded, frozen, raw samples, resized to 8 x 8, mean 0.5, std 0.5")


def test_identity_of_a_study_without_these_keys_stays(root: Path) -> None:
    plain = study_of(root, "rgb").identity()
    assert not {"teacher.size", "teacher.mean", "teacher.std", "teacher.pretrained"} & plain.keys()
    assert study_of(root, "rgb", size=8).identity()["teacher.size"] == [8, 8]


def test_onnx_resizes_as_torch_does(root: Path) -> None:
    study = study_of(root, "rgb", size=[9, 4], mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0])
    data = load_data(study)
    net = Models.for_study(study, data).build(64)
    x = torch.randn(5, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    found = onnx_outputs(to_onnx(net, (3, 6, 10)), [{"x": x.numpy()}])[0]
    torch.testing.assert_close(torch.tensor(found), net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_run_and_export_see_the_same_teacher(root: Path) -> None:
    study = study_of(root, "rgb", size=[9, 4], mean=0.5, std=0.25)
    run = tasearch.run(study, runs_dir=root / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    tasearch.export(run, root / "out", trust=True)
    with closing(prepare(study, RunOptions(runs_dir=root / "runs"))) as prepared:
        assert prepared.before is None  # the same run goes on
    assert "size = [9, 4]" in (root / "out" / "chain.toml").read_text()


MISFITS: dict[str, tuple[str, dict[str, Any], str]] = {
    "size of features": (
        "flat",
        {"size": 8},
        "teacher.size: goes with images, found samples of shape (3,)",
    ),
    "two means": (
        "rgb",
        {"mean": [0.1, 0.2], "std": [1.0, 1.0]},
        "teacher.mean: should be one number, or one for each of 3 channels, found 2",
    ),
    "means of features": (
        "flat",
        {"mean": [0.1, 0.2], "std": [1.0, 1.0]},
        "teacher.mean: should be one number, or one for each of 3 features, found 2",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_input_that_does_not_fit_the_data_is_refused(root: Path, case: str) -> None:
    data, teacher, words = MISFITS[case]
    study = study_of(root, data, **teacher)
    with pytest.raises(ModelError) as error:
        Models.for_study(study, load_data(study)).teacher()
    assert str(error.value) == words


LOADED = (
    "goes with a loaded teacher, which has teacher.checkpoint, teacher.pretrained = true, or "
    "teacher.factory with teacher.epochs = 0"
)
NAMED = '"torchvision:..." or "timm:..." or "hf:..."'
CONFLICTS: list[tuple[dict[str, Any], str]] = [
    ({"size": 8}, f"teacher.size: {LOADED}"),
    ({"checkpoint": "t", "size": [1, 2, 3]}, "teacher.size: should be an integer of 1 to 65,535"),
    ({"checkpoint": "t", "size": 0}, "teacher.size: should be an integer of 1 to 65,535"),
    ({"checkpoint": "t", "mean": 0.5}, "teacher.std: is required with teacher.mean"),
    ({"checkpoint": "t", "std": 0.5}, "teacher.mean: is required with teacher.std"),
    ({"checkpoint": "t", "mean": 0.5, "std": 0}, "teacher.std: should be greater than 0"),
    (
        {"checkpoint": "t", "mean": [0.5, 0.5], "std": [1.0]},
        "teacher.std: should have as many numbers as teacher.mean, found 1 and 2",
    ),
    (
        {"checkpoint": "t", "mean": 0.5, "std": 1.0, "inputs": "standardized"},
        'teacher.mean: goes with inputs = "raw", found "standardized"',
    ),
    ({"pretrained": True}, f"teacher.pretrained: goes with factory = {NAMED}, found None"),
    (
        {"pretrained": True, "factory": "timm:a", "checkpoint": "t"},
        "teacher.pretrained: goes without teacher.checkpoint, which has other weights",
    ),
    (
        {"pretrained": True, "factory": "timm:a", "inputs": "standardized"},
        'teacher.inputs: should be "raw" with teacher.pretrained = true: the package states mean '
        "and std, found 'standardized'",
    ),
    (
        {"factory": "timm:a", "epochs": 0},
        "teacher.epochs: should be at least 1 with 'timm:a', whose weights are random without "
        "teacher.checkpoint or teacher.pretrained = true, found 0",
    ),
]


@pytest.mark.parametrize(("teacher", "words"), CONFLICTS)
def test_keys_of_the_teacher_that_do_not_go_together(teacher: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"teacher": teacher})
    assert str(error.value).startswith(f"study: {words}")
