"""The built-in families of models, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tasearch.data.ids import Ids
from tasearch.errors import ModelError
from tasearch.models import cnn, mlp, mobile, plain, resnet, transformer, vit

Build = Callable[..., nn.Module]

FAMILIES: dict[str, Build] = {
    "cnn": cnn.build,
    "mlp": mlp.build,
    "mobile": mobile.build,
    "plain": plain.build,
    "resnet": resnet.build,
    "transformer": transformer.build,
    "vit": vit.build,
}
TAKE_IDS = ("transformer",)  # these have an embedding of token ids


def check_takes(family: str, ids: Ids | None) -> None:
    """Refuse samples that a built-in family does not take.

    Args:
        family: Name of the family.
        ids: What samples of integers hold; None for numbers to compute with.

    Raises:
        ModelError: Integers stay so, and the family has no embedding; or they do not, and it has
            one.
    """
    if ids is None and family in TAKE_IDS:
        raise ModelError(
            f'model.family: {family!r} takes token ids: texts (data.source = "text"), or integers '
            f"(samples, length) with data.standardize = false; the samples of the data are others"
        )
    if ids is not None and family in FAMILIES and family not in TAKE_IDS:
        raise ModelError(
            f"model.family: {family!r} computes with its samples, which are integers that stay so "
            f"({ids.dtype}, data.standardize = false); take "
            f"{' or '.join(map(repr, TAKE_IDS))}, bring a family with an embedding, or floats"
        )
