"""Families of models, and the teacher.

A family is a function `build(width, *, in_shape, num_classes) -> nn.Module`. Its models map float32
(samples, *in_shape) to logits (samples, num_classes) and grow with the width. The family `resnet`
also takes a multiplier of its numbers of channels.
"""

from tasearch.models.build import Models
from tasearch.models.families import FAMILIES
from tasearch.models.wrappers import Standardized

__all__ = ["FAMILIES", "Models", "Standardized"]
