"""Models of smaller images than those of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasearch.chains.sizes import Size
from tasearch.errors import ModelError
from tasearch.models import cnn, vit
from tasearch.models.functions import ModelFunction, ReturnedParameters
from tasearch.models.resized import Resized
from tasearch.profiling.counts import forward_flops
from tasearch.profiling.onnx import timed_models
from tasearch.train.fast.stacking import side_by_side, stacked_model, tensor_pairs

SHAPE = (3, 12, 8)


def function(build: Any, sizes: dict[int, dict[str, Any]]) -> ModelFunction:
    return ModelFunction(
        path="model.family",
        name="own",
        function=build,
        takes_width=True,
        options={"in_shape": SHAPE, "num_classes": 5},
        returned=ReturnedParameters(),
        sizes=sizes,
    )


def test_model_takes_images_of_its_resolution() -> None:
    """A transformer has as many positions as its images have patches."""
    sizes = {
        3: {"width": 4},
        2: {"width": 4, "resolution": [6, 4]},
        1: {"width": 4, "resolution": 4},
    }
    made = function(vit.build, sizes)
    large, middle, small = (made(place, 0) for place in (3, 2, 1))
    assert not isinstance(large, Resized)
    assert isinstance(middle, Resized)
    x = torch.randn(2, *SHAPE)
    smaller = F.interpolate(x, (6, 4), mode="bilinear", antialias=True)
    assert torch.equal(middle.eval()(x), middle.net(smaller))
    assert small(x).shape == (2, 5)
    flops = [forward_flops(net, SHAPE, pytest.fail) for net in (large, middle, small)]
    assert flops == sorted(flops, reverse=True)


def test_build_may_take_the_resolution_itself() -> None:
    def build(*, in_shape: tuple[int, ...], num_classes: int, resolution: int) -> nn.Module:
        assert (in_shape, resolution) == (SHAPE, 6)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 8, num_classes))

    assert not isinstance(function(build, {1: {"resolution": 6}})(1, 0), Resized)


def test_models_of_smaller_images_stack_and_export() -> None:
    made = function(cnn.build, {1: {"width": 4, "resolution": 6}})
    nets = [made(1, seed).eval() for seed in (0, 1)]
    wide = stacked_model(nets[0], 2).eval()
    for stacked, own, _ in tensor_pairs(wide, nets):
        stacked.data.copy_(torch.stack(own) if stacked.ndim else own[0])
    x = torch.randn(7, *SHAPE)
    found: Tensor = wide(side_by_side([x, x]))
    torch.testing.assert_close(found, torch.cat([net(x) for net in nets], dim=1))
    assert timed_models({1: nets[0]}, SHAPE, 1)[1]


WRONG = "resolution should be an integer of 1 or more, or [height, width], found "


@pytest.mark.parametrize("value", [0, 2.5, "a", [4], [4, 0], True])
def test_resolution_is_a_size_in_pixels(value: Any) -> None:
    with pytest.raises(ModelError) as error:
        function(cnn.build, {Size(1, "s"): {"width": 4, "resolution": value}})(1, 0)
    assert str(error.value).startswith(f"model.family: 'own' at size s: {WRONG}")


def test_resolution_goes_with_images() -> None:
    made = function(cnn.build, {1: {"width": 4, "resolution": 4}})
    flat = replace(made, options={"in_shape": (20,), "num_classes": 5})
    with pytest.raises(ModelError, match=r"goes with images, found samples of shape \(20,\)"):
        flat(1, 0)


def test_function_that_lacks_an_argument_of_a_size_is_told_so() -> None:
    with pytest.raises(ModelError) as error:
        function(cnn.build, {Size(1, "s"): {"width": 4, "depth": 2}})(1, 0)
    assert str(error.value) == (
        "model.family: 'own' at size s should take (*, in_shape, num_classes, width, depth), takes "
        "(width: 'int', *, in_shape: 'tuple[int, ...]', num_classes: 'int') -> 'nn.Module': "
        "got an unexpected keyword argument 'depth'"
    )
