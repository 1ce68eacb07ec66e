"""Families of models, and the teacher.

A family is a function `build(width, *, in_shape, num_classes) -> nn.Module` whose model maps
float32 (samples, *in_shape) to logits (samples, num_classes) and grows with its width.
`resnet` takes a multiplier of its channels too.
"""

from tasearch.models.build import FAMILIES, Models
from tasearch.models.wrappers import Standardized

__all__ = ["FAMILIES", "Models", "Standardized"]
