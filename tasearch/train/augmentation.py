"""Augmentation as a finite set of views of each sample.

Because the number of views is finite, an ancestor's logits on them can be stored. Each epoch shows
one view of a sample, in a seeded order of the sample's own, which begins again after the last view.
The order is the same for all models of a replicate, ancestors included.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.errors import StudyError

BY_BATCH = (torch.uint8, torch.float32)  # types of samples that may stay where they are
SMALLEST = 16  # least height and width of an image that may be shifted, in pixels


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """A set of views: shifts of an image, and their mirror images.

    A shifted view is cut from the image with a black border of `pad` pixels.

    Args:
        pad: Largest shift in each direction, in pixels; 0 for no shifts.
        flip: Whether mirror images are in the set.
    """

    pad: int
    flip: bool

    @property
    def count(self) -> int:
        """Number of views of one sample.

        >>> Augmentation(pad=4, flip=True).count
        162
        """
        return (2 * self.pad + 1) ** 2 * (1 + self.flip)


AUGMENTATIONS = {
    "none": Augmentation(pad=0, flip=False),
    "flip": Augmentation(pad=0, flip=True),
    "crop4+flip": Augmentation(pad=4, flip=True),
}


def check_augmentation(name: str, in_shape: tuple[int, ...]) -> None:
    """Check that samples of a shape can be augmented.

    Args:
        name: Name of the augmentation, a key of `AUGMENTATIONS`.
        in_shape: Shape of a sample.

    Raises:
        StudyError: If the samples are not images, or too small to be shifted.
    """
    views = AUGMENTATIONS[name]
    if views.count > 1 and len(in_shape) != 3:
        raise StudyError(f"training.augment: {name!r} needs images, found samples of {in_shape}")
    if views.pad and min(in_shape[1:]) < SMALLEST:
        raise StudyError(
            f"training.augment: {name!r} needs images of {SMALLEST} pixels a side, "
            f"found {in_shape[1]}x{in_shape[2]}"
        )


class ViewedData:
    """The samples of a data set and their views, on the device.

    A subclass gathers views, in `views`.

    Args:
        shape: Shape of all samples, (samples, *in_shape).
        count: Number of views of one sample.
        device: The device.
        seed: Seed of the order of views.

    Attributes:
        on_host: Whether code on the host takes part in each view, so that no CUDA graph can.
    """

    on_host = False

    def __init__(
        self, shape: tuple[int, ...], count: int, device: torch.device, *, seed: int
    ) -> None:
        self._samples, self._shape, self.count = shape[0], tuple(shape[1:]), count
        self.device = device
        self._draw(seed)

    def reseeded(self, seed: int) -> Self:
        """The same samples, in shared memory, with another order of views."""
        other = copy.copy(self)
        other._draw(seed)
        return other

    def _draw(self, seed: int) -> None:
        count, generator = self.count, torch.Generator().manual_seed(seed)
        units = torch.tensor([n for n in range(count) if math.gcd(n, count) == 1])
        picked = torch.randint(len(units), (self._samples,), generator=generator)
        self._stride = units[picked].to(self.device)
        self._start = torch.randint(count, (self._samples,), generator=generator).to(self.device)

    def __len__(self) -> int:
        return self._samples

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return self._shape

    def phase(self, epoch: int) -> int:
        """The phase of an epoch, 0 to count - 1; epochs of one phase show the same views."""
        return epoch % self.count

    def numbers(self, phase: int) -> Tensor:
        """The number of the view that each sample shows in a phase, int64 (samples,).

        Over all phases a sample shows each of its views once.
        """
        return (self._start + self._stride * phase) % self.count

    def batch(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """A batch of samples, each in its view.

        Args:
            samples: Indices of the samples, int64 (batch,).
            numbers: The views of all samples of the data set, int64 (samples,), from `numbers`.

        Returns:
            Standardized samples, float32 (batch, *in_shape); images in channels_last format.
        """
        return self.views(samples, numbers[samples])

    def views(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Some views of samples, as `batch` returns them.

        Args:
            samples: Indices of the samples, int64 (batch,).
            numbers: The number of the view of each, int64 (batch,).
        """
        raise NotImplementedError

    def labels(self, y: Tensor, samples: Tensor, numbers: Tensor) -> Tensor:
        """The labels of some samples in their views.

        Args:
            y: Labels of all samples, int64 (samples,).
            samples: Indices of the samples, int64 (batch,).
            numbers: The views of all samples of the data set, int64 (samples,), from `numbers`.

        Returns:
            Classes, int64 (batch,); of mixes their shares, float32 (batch, classes).
        """
        return y[samples]


class AugmentedData(ViewedData):
    """The samples of a data set, and the views of an `Augmentation`.

    Mirror images are kept in memory if they are views. Samples of floats are standardized once;
    samples of bytes, which take a quarter of the memory, when they are in a batch. If they would
    take more memory than `most`, they stay where they are, such as in a mapped file, and go to the
    device by batch: with the same values, bit for bit. Other integers are passed on as they are.

    Args:
        x: Raw samples, uint8, float32, int32 or int64 (samples, *in_shape), on CPU for any device.
        mean: Mean of raw samples, broadcastable to a sample, on the device.
        std: Standard deviation of raw samples, broadcastable to a sample, on the device.
        views: The set of views.
        seed: Seed of the order of views.
        most: Largest size in bytes of samples of bytes or floats that are kept on the device.
    """

    def __init__(
        self,
        x: Tensor,
        mean: Tensor,
        std: Tensor,
        views: Augmentation,
        seed: int,
        most: float = math.inf,
    ) -> None:
        super().__init__(x.shape, views.count, mean.device, seed=seed)
        self._scale, self._shift = scale, shift = channels_last(1 / std), channels_last(-mean / std)
        self._pad, self._flip = views.pad, views.flip
        self.held = x.dtype not in BY_BATCH or self._size() * x.itemsize <= most
        self._x = self._laid_out(x.to(self.device)) if self.held else x
        if x.ndim == 4:  # whole lines of an image: its few channels make too short a loop
            scale, shift = (s.expand(1, self._shape[-1], -1).contiguous() for s in (scale, shift))
        self._lines = scale, shift

    def _size(self) -> int:
        """Number of values of all samples as they are laid out."""
        sides = [side + 2 * self._pad for side in self._shape[1:]]
        return self._samples * self._shape[0] * math.prod(sides) * (1 + self._flip)

    def _laid_out(self, x: Tensor) -> Tensor:
        """Samples with their borders, channels last; with mirror images, (2, samples, ...)."""
        pad = self._pad
        x = channels_last(F.pad(x, (pad, pad, pad, pad)) if pad else x).contiguous()
        if x.is_floating_point():
            x = standardized(x, self._scale, self._shift)
        return torch.stack([x, x.flip(2)]) if self._flip else x

    def views(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Some views of samples; see `ViewedData.views`. Integers are returned as they are."""
        x, places = self._x, samples
        if not self.held:
            x = self._laid_out(x.index_select(0, samples.cpu()).to(self.device))
            places = torch.arange(len(samples), device=self.device)
        one = self.count == 1
        x = x.index_select(0, places) if one else self._shown(x, places, numbers)
        if x.dtype == torch.uint8:
            x = standardized(x, *self._lines)
        return channels_first(x)

    def split(self, size: int) -> Iterator[Tensor]:
        """All samples in their views of the first phase, in batches of a size, in their order."""
        numbers = self.numbers(0)
        for samples in torch.split(torch.arange(self._samples, device=self.device), size):
            yield self.batch(samples, numbers)

    def _shown(self, x: Tensor, samples: Tensor, numbers: Tensor) -> Tensor:
        """Views of images by their numbers: (batch, height, width, channels).

        Args:
            x: Images as `_laid_out` gives them.
            samples: Their places in x, int64 (batch,).
            numbers: The number of each one's view, int64 (batch,).
        """
        flip, place = numbers % 2, numbers // 2
        side, (channels, height, width) = 2 * self._pad + 1, self._shape
        f, n, h, w, c = x.stride() if self._flip else (0, *x.stride())
        windows = x.as_strided(
            (2, x.shape[-4], side, side, height, width, channels), (f, n, h, w, h, w, c)
        )
        row, column = place // side, place % side
        column = torch.where(
            flip == 1, side - 1 - column, column
        )  # a mirror image is shifted the other way
        return windows[flip, samples, row, column]


def standardized(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Raw samples with the channels last, standardized; integers but uint8 as they are.

    Args:
        x: uint8, float or other integers, (samples, ..., channels).
        scale: 1 / std, with the channels last.
        shift: -mean / std, with the channels last.
    """
    if x.dtype == torch.uint8:
        x = x.float()
    return torch.addcmul(shift, x, scale) if x.is_floating_point() else x


def channels_last(x: Tensor) -> Tensor:
    """One image or several with the channels as the last axis; features unchanged."""
    return x.movedim(-3, -1) if x.ndim > 2 else x


def channels_first(x: Tensor) -> Tensor:
    """Several images with the channels before height and width; features unchanged."""
    return x.movedim(-1, 1) if x.ndim == 4 else x
