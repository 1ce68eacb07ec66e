"""AugmentedData: augmentation as a finite set of looks at each sample.

Because the views can be counted, an ancestor's logits on them can be kept. A sample goes through
its views in a seeded order of its own, one an epoch, the same for every model of a study and their
ancestors; after the last it begins again.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tasearch.errors import StudyError

SMALLEST = 16  # pixels of a side that may be shifted by 4


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Shifts by up to `pad` pixels either way (cut from an image with a black border), and flips.

    Args:
        pad: 0 for no shifts.
        flip: whether mirrored views are in the set.
    """

    pad: int
    flip: bool

    @property
    def count(self) -> int:
        """AugmentedData of one sample."""
        return (2 * self.pad + 1) ** 2 * (1 + self.flip)


AUGMENTATIONS = {
    "none": Augmentation(pad=0, flip=False),
    "flip": Augmentation(pad=0, flip=True),
    "crop4+flip": Augmentation(pad=4, flip=True),
}


def check_augmentation(name: str, in_shape: tuple[int, ...]) -> None:
    """Whether samples of a shape have such views.

    Raises:
        StudyError: where they are no images, or too small to be shifted.
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
    """The samples of a training part under one set of views, on the device.

    Args:
        x: uint8 or float32 (samples, *in_shape), raw, on the device; mirrored ones are kept beside
            them where they are shown, and scaled ones in their place if they are no bytes.
        mean: of raw samples, broadcastable to one.
        std: likewise.
        views: the set.
        seed: of the order of views.
    """

    def __init__(
        self, x: Tensor, mean: Tensor, std: Tensor, views: Augmentation, seed: int
    ) -> None:
        self._views, self._samples, self._shape = views, len(x), x.shape[1:]
        scale, shift = _channels_last(1 / std), _channels_last(-mean / std)
        pad = views.pad
        x = _channels_last(F.pad(x, (pad, pad, pad, pad)) if pad else x).contiguous()
        if x.dtype != torch.uint8:  # small, so scaled once
            x = torch.addcmul(shift, x, scale)
        if x.ndim == 4:  # a row of an image at once, for a loop over its channels is a short one
            scale, shift = (s.expand(1, self._shape[-1], -1).contiguous() for s in (scale, shift))
        self._scale, self._shift = scale, shift
        self._x = torch.stack([x, x.flip(2)]) if views.flip else x
        self._draw(seed)

    def reseeded(self, seed: int) -> AugmentedData:
        """The same samples, shared, in another order of views."""
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
        """Of a sample."""
        return tuple(self._shape)

    @property
    def device(self) -> torch.device:
        return self._x.device

    def phase(self, epoch: int) -> int:
        """Epochs of one phase show the same views; phases are 0 .. count - 1."""
        return epoch % self._views.count

    def numbers(self, phase: int) -> Tensor:
        """int64 (samples,): the view of each sample. Over all phases each comes once."""
        return (self._start + self._stride * phase) % self._views.count

    def batch(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """These samples, each in its view.

        Args:
            samples: int64 (batch,), places in the part.
            numbers: int64 (samples of the part,), as those of a phase.

        Returns:
            float32 (batch, *in_shape), standardized; images in channels_last format.
        """
        if self._views.count == 1:
            x = self._x.index_select(0, samples)
        else:
            x = self._shown(samples, numbers[samples])
        if x.dtype == torch.uint8:
            x = torch.addcmul(self._shift, x.float(), self._scale)
        return x.movedim(-1, 1) if x.ndim == 4 else x

    def _shown(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """AugmentedData of images by their numbers: (batch, height, width, channels)."""
        flip, place = numbers % 2, numbers // 2
        side, (channels, height, width) = 2 * self._views.pad + 1, self._shape
        f, n, h, w, c = self._x.stride()
        windows = self._x.as_strided(
            (2, self._samples, side, side, height, width, channels), (f, n, h, w, h, w, c)
        )
        row, column = place // side, place % side
        column = torch.where(flip == 1, side - 1 - column, column)  # in the mirror, from there
        return windows[flip, samples, row, column]


def _channels_last(x: Tensor) -> Tensor:
    """Channels as the last axis of images or of one image; features as they are."""
    return x.movedim(-3, -1) if x.ndim > 2 else x
