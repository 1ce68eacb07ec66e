"""The samples that a loaded teacher expects: of another size, and of a mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasearch.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The samples that a model expects.

    Args:
        size: Height and width of images; None for those of the data.
        mean: Mean of each channel or feature, one number for all; None for samples as they are.
        std: Standard deviation, like `mean`; given if and only if `mean` is.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether samples are taken as they are."""
        return self.size is None and self.mean is None

    @property
    def words(self) -> str:
        """Such as ", resized to 224 x 224, mean 0.5, std 0.25"; empty if it is plain."""
        words = "" if self.size is None else f", resized to {self.size[0]} x {self.size[1]}"
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None:
                words += f", {name} {' '.join(f'{number:.10g}' for number in numbers)}"
        return words

    def check(self, in_shape: tuple[int, ...], *, ids: bool = False) -> None:
        """Refuse a size of samples that are no images, and numbers of other channels.

        Args:
            in_shape: Shape of a sample: (channels, height, width) or (features,).
            ids: Whether samples are integers that stay so.

        Raises:
            ModelError: The samples of the data cannot be made into these.
        """
        if self.size is not None and len(in_shape) != 3:
            raise ModelError(f"teacher.size: goes with images, found samples of shape {in_shape}")
        if self.mean is not None and ids:
            raise ModelError("teacher.mean: goes with numbers to compute with, found integers")
        first = in_shape[0]
        grey = len(in_shape) == 3 and first == 1
        fitting = (1, 3) if grey else (1, first)
        if self.mean is not None and len(self.mean) not in fitting:
            what = "channel" if len(in_shape) == 3 else "feature"
            raise ModelError(
                f"teacher.mean: should be one number, or one for each of {fitting[1]} {what}s, "
                f"found {len(self.mean)}"
            )


class OwnInput(nn.Module):
    """Feeds samples of the data to a model that expects others.

    Images are resized bilinearly with antialiasing, as a whole: nothing is cropped. Means of three
    channels make three equal channels of grey images before they are subtracted.

    Args:
        net: The model.
        spec: The samples that it expects.
        unit: Value of a raw sample that is 1 in the units of `spec.mean`.
        dims: Number of axes of a sample.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, spec: InputSpec, unit: float, dims: int) -> None:
        super().__init__()
        self.net, self.size = net, spec.size
        self.normalized = spec.mean is not None
        shape = (-1, *(1,) * (dims - 1))
        # in the units of the data, so that raw samples are scaled, shifted and divided at once
        self.register_buffer("mean", torch.tensor(spec.mean or (0.0,)).reshape(shape) * unit)
        self.register_buffer("std", torch.tensor(spec.std or (1.0,)).reshape(shape) * unit)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 (samples, *in_shape) to what the model returns."""
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        if self.normalized:
            x = (x - self.mean) / self.std
        found: Tensor = self.net(x)
        return found
