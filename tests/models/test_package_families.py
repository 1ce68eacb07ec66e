"""Families by name: models of torchvision and timm whose sizes are arguments of their functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tasearch
from tasearch.config.study_file import load_study, parse_study
from tasearch.errors import ModelError, StudyError
from tasearch.models import Models
from tasearch.models.packages import package_family
from tasearch.models.resized import Resized
from tests.helpers.alone import logits_alone
from tests.helpers.packages import package

pytestmark = pytest.mark.packages
STUDY = Path(__file__).parents[2] / "studies" / "timm-family" / "study.toml"
VIT = "timm:vit_tiny_patch16_224"
SMALL = {"patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}


def made(family: str, shape: tuple[int, ...], **size: Any) -> nn.Module:
    sizes = [{"name": "s", **size}]
    study = parse_study(
        {"model": {"family": family, "sizes": sizes}, "teacher": {"factory": "mine:make"}}
    )
    models = Models(
        study=study,
        in_shape=shape,
        num_classes=5,
        mean=torch.zeros(shape[0], 1, 1),
        std=torch.ones(shape[0], 1, 1),
    )
    assert models.family == family
    return models.build(1)


def test_transformer_is_built_for_the_images_that_it_gets() -> None:
    package("timm")
    net = made(VIT, (1, 8, 8), **SMALL).eval()
    smaller = made(VIT, (1, 8, 8), **SMALL, resolution=6).eval()
    assert isinstance(smaller, Resized)
    assert [net.pos_embed.shape[1], smaller.net.pos_embed.shape[1]] == [17, 10]
    for one in (net, smaller):
        assert one(torch.randn(2, 1, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize(
    ("family", "shape", "size"),
    [
        ("timm:resnet18", (4, 16, 16), {"model_name": "test_resnet"}),
        ("torchvision:mobilenet_v2", (1, 16, 16), {"width_mult": 0.25}),
    ],
)
def test_size_chooses_arguments_or_another_model(
    family: str, shape: tuple[int, ...], size: dict[str, Any]
) -> None:
    package(family.partition(":")[0])
    default = package_family(family)(in_shape=(3, 16, 16), num_classes=5)
    net = made(family, shape, **size).eval()
    assert net(torch.randn(2, *shape)).shape == (2, 5)
    count, largest = (sum(p.numel() for p in one.parameters()) for one in (net, default))
    assert count < largest / 4


def test_what_a_package_does_not_have_is_told() -> None:
    package("timm")
    for size, message in (
        ({"model_name": "resnet188"}, "there is no such model for classification; did you mean"),
        ({"model_name": 3}, "there is no such model for classification"),
        ({"embed_dimm": 8}, "at size s raised TypeError: "),
    ):
        with pytest.raises(ModelError) as error:
            made(VIT, (3, 16, 16), **size)
        assert message in str(error.value)
        assert str(error.value).startswith(f"model.family: '{VIT}'")
    with pytest.raises(ModelError, match="takes images, found samples of shape"):
        package_family(VIT)(in_shape=(20,), num_classes=5)


def test_model_of_a_package_needs_sizes() -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"model": {"family": VIT}})
    assert str(error.value) == (
        "study: model.sizes: is required with a model of a package, which has no width, as "
        f"family, found '{VIT}'"
    )


@pytest.mark.slow
def test_study_of_timms_models_runs(tmp_path: Path) -> None:
    package("timm")
    study = load_study(STUDY)
    content = study.model_dump()
    for section, widths in (("teacher", {}), ("assistants", ["s"]), ("student", ["xs"])):
        content[section] |= {"epochs": 1} | ({"widths": widths} if widths else {})
    run = tasearch.run(parse_study(content), runs_dir=tmp_path, trials=2)
    assert {trial.state for trial in run.trials} == {"complete"}
    assert [t.label for t in run.trials if not t.free] == ["l → xs", "l → s → xs"]
    (compared,) = run.confirm(max_params=run.best(trial=0).params).comparisons
    assert compared.verdict.pairs >= 8 and compared.verdict.low is not None
    run.export(tmp_path / "winner", trial=0)
    student = tasearch.load(tmp_path / "winner")
    assert student.net.size == (6, 6)
    x = np.random.default_rng(0).integers(16, size=(3, 1, 8, 8)).astype(np.float32)
    found = torch.from_numpy(logits_alone(tmp_path / "winner", x, tmp_path)).softmax(dim=1)
    torch.testing.assert_close(found, student.predict(x).probabilities, atol=1e-3, rtol=0)
