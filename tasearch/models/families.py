"""The built-in families of models, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

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
