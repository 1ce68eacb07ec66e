"""Teachers by name: models of torchvision and timm, where these are installed."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import tasearch
from tasearch.cli.early_checks import check_early
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.errors import ModelError
from tasearch.models import Models
from tasearch.search.prepare import prepare
from tests.helpers.packages import package
from tests.helpers.studies import tiny

pytestmark = pytest.mark.packages
SMALL = {"torchvision": "torchvision:shufflenet_v2_x0_5", "timm": "timm:test_resnet"}
EACH = pytest.mark.parametrize("name", SMALL)


def study_of(root: Path, factory: str, **teacher: Any) -> Study:
    teacher = {"width": 64, "factory": factory, **teacher}
    study = tiny(
        teacher=teacher,
        assistants={"max": 0},
        student={"widths": [4], "epochs": 1},
        search={"trials": 2, "rungs": 1},
    )
    return study.model_copy(update={"root": str(root)})


def models(
    root: Path, factory: str, shape: tuple[int, ...], classes: int, **teacher: Any
) -> Models:
    return Models(
        study=study_of(root, factory, **teacher),
        in_shape=shape,
        num_classes=classes,
        mean=torch.full((shape[0], 1, 1), 100.0),
        std=torch.full((shape[0], 1, 1), 50.0),
        whole=True,
        unit=255.0,
    )


def built(factory: str, classes: int) -> Any:
    name, _, model = factory.partition(":")
    module = package(name)
    torch.manual_seed(1)
    if name == "timm":
        return module.create_model(model, num_classes=classes).eval()
    return module.models.get_model(model, weights=None, num_classes=classes).eval()


@EACH
def test_named_teacher_gives_the_logits_of_its_package(name: str, tmp_path: Path) -> None:
    net = built(SMALL[name], 7)
    save_file(net.state_dict(), tmp_path / "t.safetensors")
    own = {
        "checkpoint": "t.safetensors",
        "size": 48,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.3, 0.4],
    }
    made = models(tmp_path, SMALL[name], (3, 32, 32), 7, **own)
    raw = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    found = made.build(64)((raw - made.mean) / made.std)
    images = torch.nn.functional.interpolate(raw / 255, (48, 48), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(own[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(found, net((images - mean) / std), rtol=1e-4, atol=1e-4)


@EACH
def test_named_teacher_gets_grey_images_three_times(name: str, tmp_path: Path) -> None:
    net = built(SMALL[name], 10)
    torch.save({"model": net.state_dict()}, tmp_path / "t.pt")
    study = study_of(tmp_path, SMALL[name], checkpoint="t.pt", size=32)
    data = load_data(study)
    made = Models.for_study(study, data)
    line = made.describe_teacher()
    assert line.endswith(
        ": loaded, frozen, raw samples, resized to 32 x 32; grey images as three equal channels; "
        "the file's model"
    )
    raw = torch.tensor(data.validation.x[:8]).float()
    images = torch.nn.functional.interpolate(raw, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = net(images.expand(-1, 3, -1, -1))
        found = made.build(64)((raw - made.mean) / made.std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@EACH
def test_run_takes_a_named_teacher(name: str, tmp_path: Path) -> None:
    """Trained here, and loaded from a file; a student agrees with it to some extent."""
    built(SMALL[name], 10)
    study = study_of(tmp_path, SMALL[name], epochs=1)
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    torch.save({"net": built(SMALL[name], 10).state_dict()}, tmp_path / "t.pt")
    loaded = study_of(tmp_path, SMALL[name], checkpoint="t.pt", size=[16, 24])
    again = tasearch.run(loaded, runs_dir=tmp_path / "again")
    assert {trial.state for trial in again.trials} == {"complete"}
    with closing(prepare(loaded, RunOptions(runs_dir=tmp_path / "onnx"))) as prepared:
        assert prepared.manifest.measured[64].params > 0


@EACH
def test_unknown_name_of_a_package_is_refused(name: str, tmp_path: Path) -> None:
    package(name)
    with pytest.raises(ModelError) as error:
        models(tmp_path, f"{name}:resnet188", (3, 32, 32), 10, epochs=1).build(64)
    said = f"teacher.factory: '{name}:resnet188': there is no such model for classification; did "
    assert str(error.value).startswith(f"{said}you mean 'resnet18'")


def test_package_is_asked_for_classifiers_only(tmp_path: Path) -> None:
    package("torchvision")
    with pytest.raises(ModelError, match="there is no such model for classification"):
        models(tmp_path, "torchvision:ssd300_vgg16", (3, 32, 32), 10, epochs=1).build(64)


@EACH
def test_weights_of_a_package_must_be_for_the_classes(name: str, tmp_path: Path) -> None:
    package(name)
    with pytest.raises(ModelError) as error:
        models(tmp_path, f"{name}:resnet18", (3, 32, 32), 10, pretrained=True).teacher()
    assert str(error.value) == (
        f"teacher.factory: '{name}:resnet18': its own weights are for 1,000 classes, the data have "
        "10; train it on the data, and give its weights as teacher.checkpoint"
    )


@EACH
def test_weights_that_cannot_be_downloaded_are_one_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = package(name)

    def unreachable(*args: Any, **options: Any) -> Any:
        raise OSError("no route to host")

    owner = module.models._api if name == "torchvision" else module.models._builder
    loader = "load_state_dict_from_url" if name == "torchvision" else "load_pretrained"
    monkeypatch.setattr(owner, loader, unreachable)
    monkeypatch.setattr("tasearch.data.network.unreachable", lambda url: "")  # the Hub is there
    with pytest.raises(ModelError) as error:
        models(tmp_path, f"{name}:resnet18", (3, 32, 32), 1000, pretrained=True).teacher()
    assert str(error.value) == (
        f"teacher.factory: '{name}:resnet18': its own weights cannot be had: OSError: no route to "
        "host; where there is no network, give a file of them as teacher.checkpoint"
    )


@EACH
def test_weights_of_a_package_bring_their_input(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the package would download is given here; its mean, deviation and size are its own."""
    module = package(name)
    factory = "torchvision:shufflenet_v2_x0_5" if name == "torchvision" else "timm:test_resnet"
    net = built(factory, 1000)
    if name == "torchvision":
        monkeypatch.setattr(
            module.models._api, "load_state_dict_from_url", lambda *a, **k: net.state_dict()
        )
    else:

        def load(model: torch.nn.Module, *args: Any, **options: Any) -> None:
            model.load_state_dict(net.state_dict())

        monkeypatch.setattr(module.models._builder, "load_pretrained", load)
    made = models(tmp_path, factory, (1, 32, 32), 1000, pretrained=True)
    size, mean, std = {
        "torchvision": ("224 x 224", "0.485 0.456 0.406", "0.229 0.224 0.225"),
        "timm": ("160 x 160", "0.5 0.5 0.5", "0.5 0.5 0.5"),
    }[name]
    line = f"raw samples, resized to {size}, mean {mean}, std {std}; grey images as three equal "
    assert line in made.describe_teacher()
    origin = made.teacher().origin
    assert origin is not None and origin.endswith(
        f"+raw, resized to {size}, mean {mean}, std {std}"
    )
    raw = torch.full((2, 1, 32, 32), 51.0)
    seen: list[Tensor] = []
    expected = [(0.2 - float(m)) / float(s) for m, s in zip(mean.split(), std.split(), strict=True)]
    loaded = made.build(64)
    inner = loaded.net.net  # type: ignore[union-attr]
    inner.register_forward_pre_hook(lambda m, x: seen.append(x[0]))  # type: ignore[union-attr, operator]
    loaded((raw - made.mean) / made.std)
    side = int(size.partition(" ")[0])
    assert seen[0].shape == (2, 3, side, side)
    np.testing.assert_allclose(seen[0][0, :, 5, 7].numpy(), expected, rtol=1e-5)
    smaller = models(tmp_path, factory, (1, 32, 32), 1000, pretrained=True, size=64)
    assert "resized to 64 x 64, mean" in smaller.describe_teacher()


@pytest.mark.parametrize("shape", [(64,), (4, 8, 8)])
def test_named_teacher_takes_images_of_one_or_three_channels(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as error:
        models(tmp_path, "timm:resnet18", shape, 10, epochs=1).build(64)
    assert str(error.value) == (
        "teacher.factory: 'timm:resnet18': takes images of 1 or 3 channels, found samples of shape "
        f"{shape}"
    )


@EACH
def test_missing_package_is_one_message_with_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    said = (
        f"teacher.factory: '{name}:resnet18': needs {name}, which is not installed: "
        f"pip install 'tasearch[{name}]'"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    study = study_of(tmp_path, f"{name}:resnet18", epochs=1)
    for act in (
        lambda: check_early(study, RunOptions(runs_dir=tmp_path / "runs")),
        models(tmp_path, f"{name}:resnet18", (3, 32, 32), 10, epochs=1).describe_teacher,
    ):
        with pytest.raises(ModelError) as error:
            act()
        assert str(error.value) == said


@pytest.mark.parametrize("name", ["torchvision", "timm"])  # timm imports torchvision
def test_package_of_another_torch_is_one_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(package: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ModelError) as error:
        models(tmp_path, f"{name}:resnet18", (3, 32, 32), 10, epochs=1).build(64)
    assert str(error.value) == (
        f"teacher.factory: '{name}:resnet18': importing {name} raised RuntimeError: "
        "operator torchvision::nms does not exist; install the build of torchvision for torch "
        f"{torch.__version__}"
    )
