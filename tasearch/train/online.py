"""Online teachers: models that are called on each batch as their student sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OnlineTeachers:
    """The models that teach one model in an epoch.

    They run in float32, as where soft targets are cached, and see one batch at a time: of which
    batches a call consists changes no rounding.

    Args:
        nets: The models, on the device and in eval mode, the oldest ancestor first.
    """

    nets: tuple[nn.Module, ...]

    def __len__(self) -> int:
        return len(self.nets)

    @torch.no_grad()
    def logits(self, x: Tensor, size: int) -> Tensor:
        """Their logits on whole batches, float32 (ancestors, samples, classes).

        Args:
            x: Standardized inputs, (batches * size, *in_shape).
            size: Samples of a batch.
        """
        parts = [part.clone() for part in torch.split(x, size)]  # aligned alike in memory
        found = [torch.cat([net(part).float() for part in parts]) for net in self.nets]
        return torch.stack(found)
