"""The built-in families of models, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tasearch.data.ids import Ids
from tasearch.errors import ModelError
from tasearch.models import cnn, mlp, mobile, plain, resnet, vit

Build = Callable[..., nn.Module]

FAMILIES: dict[str, Build] = {
    "cnn": cnn.build,
    "mlp": mlp.build,
    "mobile": mobile.build,
    "plain": plain.build,
    "resnet": resnet.build,
    "vit": vit.build,
}


def check_takes(family: str, ids: Ids | None) -> None:
    """Refuse integers that stay so for a family that computes with its samples.

    Args:
        family: Name of the family.
        ids: What samples of integers hold; None for numbers to compute with.

    Raises:
        ModelError: The family is one of these here, which have no embedding.
    """
    if ids is not None and family in FAMILIES:
        raise ModelError(
            f"model.family: {family!r} computes with its samples, which are integers that stay so "
            f"({ids.dtype}, data.standardize = false); bring a family with an embedding, or floats"
        )
