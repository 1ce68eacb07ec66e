"""Augmentation as a finite set of views of each sample.

Because the number of views is finite, an ancestor's logits on them can be stored. Each epoch shows
one view of a sample, in a seeded order of the sample's own, which begins again after the last view.
The order is the same for all models of a replicate, ancestors included.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.errors import StudyError

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


class AugmentedData:
    """The samples of a data set and their views, on the device.

    Mirror images are kept in memory if they are views. Samples of floats are standardized once;
    samples of bytes, which take a quarter of the memory, when they are in a batch.

    Args:
        x: Raw samples, uint8 or float32 (samples, *in_shape), on the device.
        mean: Mean of raw samples, broadcastable to a sample.
        std: Standard deviation of raw samples, broadcastable to a sample.
        views: The set of views.
        seed: Seed of the order of views.
    """

    def __init__(
        self, x: Tensor, mean: Tensor, std: Tensor, views: Augmentation, seed: int
    ) -> None:
        self._views, self._samples, self._shape = views, len(x), x.shape[1:]
        scale, shift = _channels_last(1 / std), _channels_last(-mean / std)
        pad = views.pad
        x = _channels_last(F.pad(x, (pad, pad, pad, pad)) if pad else x).contiguous()
        if x.dtype != torch.uint8:
            x = torch.addcmul(shift, x, scale)
        if (
            x.ndim == 4
        ):  # whole lines of an image: a loop over its few channels would be too short to be fast
            scale, shift = (s.expand(1, self._shape[-1], -1).contiguous() for s in (scale, shift))
        self._scale, self._shift = scale, shift
        self._x = torch.stack([x, x.flip(2)]) if views.flip else x
        self._draw(seed)

    def reseeded(self, seed: int) -> AugmentedData:
        """The same samples, in shared memory, with another order of views."""
        other = copy.copy(self)
        other._draw(seed)
        return other

    def _draw(self, seed: int) -> None:
        views, x = self._views, self._x
        generator = torch.Generator().manual_seed(seed)
        units = torch.tensor([n for n in range(views.count) if math.gcd(n, views.count) == 1])
        picked = torch.randint(len(units), (self._samples,), generator=generator)
        self._stride = units[picked].to(x.device)
        self._start = torch.randint(views.count, (self._samples,), generator=generator).to(x.device)

    def __len__(self) -> int:
        return self._samples

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return tuple(self._shape)

    @property
    def device(self) -> torch.device:
        return self._x.device

    def phase(self, epoch: int) -> int:
        """The phase of an epoch, 0 to count - 1; epochs of one phase show the same views."""
        return epoch % self._views.count

    def numbers(self, phase: int) -> Tensor:
        """The number of the view that each sample shows in a phase, int64 (samples,).

        Over all phases a sample shows each of its views once.
        """
        return (self._start + self._stride * phase) % self._views.count

    def batch(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """A batch of samples, each in its view.

        Args:
            samples: Indices of the samples, int64 (batch,).
            numbers: The views of all samples of the data set, int64 (samples,), from `numbers`.

        Returns:
            Standardized samples, float32 (batch, *in_shape); images in channels_last format.
        """
        if self._views.count == 1:
            x = self._x.index_select(0, samples)
        else:
            x = self._shown(samples, numbers[samples])
        if x.dtype == torch.uint8:
            x = torch.addcmul(self._shift, x.float(), self._scale)
        return x.movedim(-1, 1) if x.ndim == 4 else x

    def _shown(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Views of images by their numbers: (batch, height, width, channels)."""
        flip, place = numbers % 2, numbers // 2
        side, (channels, height, width) = 2 * self._views.pad + 1, self._shape
        f, n, h, w, c = self._x.stride()
        windows = self._x.as_strided(
            (2, self._samples, side, side, height, width, channels), (f, n, h, w, h, w, c)
        )
        row, column = place // side, place % side
        column = torch.where(
            flip == 1, side - 1 - column, column
        )  # a mirror image is shifted the other way
        return windows[flip, samples, row, column]


def _channels_last(x: Tensor) -> Tensor:
    """One image or several with the channels as the last axis; features unchanged."""
    return x.movedim(-3, -1) if x.ndim > 2 else x
