"""A multilayer perceptron: two hidden layers with batch norm; images are flattened."""

from __future__ import annotations

import math

from torch import nn


def build(width: int, *, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A network with `width` units in each hidden layer.

    Args:
        width: Number of units of a hidden layer.
        in_shape: Shape of one sample, of any length; its product is the number of inputs.
        num_classes: Number of classes.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(in_shape)
    for _ in range(2):
        layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, num_classes))
