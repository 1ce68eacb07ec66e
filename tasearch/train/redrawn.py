"""Samples whose views are drawn anew in each epoch: for teachers that are asked each time.

What a sample shows depends on the seed of a replicate, the epoch and the sample alone: not on the
batch, nor on the model that learns from it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tasearch.chains.keys import derived_seed
from tasearch.errors import StudyError, TrainingError
from tasearch.train.augmentation import (
    ViewedData,
    channels_first,
    channels_last,
    standardized,
)
from tasearch.train.mixup import mixed_labels, mixed_samples
from tasearch.train.own_augment import OwnAugment

PARTNER, OWN_VIEW, ITS_VIEW, SHARE = range(4)  # what a mix is made of


class _Redrawn(ViewedData):
    """Samples that have a phase of their own in each epoch."""

    def _draw(self, seed: int) -> None:
        self._seed = seed

    def phase(self, epoch: int) -> int:
        """The number of the epoch: no other one shows the same views."""
        return epoch


class RedrawnData(_Redrawn):
    """The samples of a data set, of which a user's function makes a view in each epoch.

    Args:
        x: Raw samples, (samples, *in_shape).
        augment: The function.
        mean: Mean of raw samples, broadcastable to a sample, on the device.
        std: Standard deviation of raw samples, broadcastable to a sample, on the device.
        seed: Seed of the views.
    """

    def __init__(
        self, x: np.ndarray, augment: OwnAugment, mean: Tensor, std: Tensor, seed: int
    ) -> None:
        super().__init__(x.shape, 1, mean.device, seed=seed)
        self._x, self._augment, self.on_host = x, augment, True
        self._scale, self._shift = channels_last(1 / std), channels_last(-mean / std)

    def numbers(self, phase: int) -> Tensor:
        """The number of the epoch for each sample, int64 (samples,)."""
        return torch.full((len(self),), phase, device=self.device)

    def views(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Some views of samples; see `ViewedData.views`.

        Raises:
            TrainingError: The function raises, or returns anything but a view.
        """
        calls = [
            (sample, derived_seed("view", self._seed, sample, number))
            for sample, number in zip(samples.tolist(), numbers.tolist(), strict=True)
        ]
        try:
            views = self._augment.views(self._x, calls)
        except StudyError as error:
            raise TrainingError(str(error)) from error
        x = channels_last(torch.from_numpy(views).to(self.device))
        return channels_first(standardized(x, self._scale, self._shift))


class RedrawnMixes(_Redrawn):
    """Mixes of samples in their views of an epoch, with mixed labels.

    Args:
        data: The samples and their views.
        labelled: Number of the samples with labels, the first ones, which are mixed with one
            another alone.
        classes: Number of classes.
        alpha: Both parameters of the Beta distribution of the shares.
        seed: Seed of the mixes and of the views.
    """

    def __init__(
        self, data: ViewedData, labelled: int, classes: int, *, alpha: float, seed: int
    ) -> None:
        self._data, self._alpha = data, alpha
        super().__init__((len(data), *data.shape), 1, data.device, seed=seed)
        self.on_host = data.on_host
        self._classes = torch.arange(classes, device=data.device)
        among = np.arange(len(data)) < labelled  # a label is mixed with another one
        self._among = np.where(among, labelled, len(data))

    def _draw(self, seed: int) -> None:
        super()._draw(seed)
        self._data = self._data.reseeded(seed)

    def numbers(self, phase: int) -> Tensor:
        """What each sample is mixed of in an epoch, int64 (samples, 4).

        In each line are the other sample, the views of both, and the share of the sample itself: a
        float32 by its bits.
        """
        draw = np.random.default_rng(derived_seed("mixup", self._seed, phase))
        partners = torch.from_numpy(draw.integers(self._among))
        shares = draw.beta(self._alpha, self._alpha, size=len(self)).astype(np.float32)
        bits = torch.from_numpy(shares.view(np.int32)).long()
        own = self._data.numbers(self._data.phase(phase))
        partners, bits = partners.to(self.device), bits.to(self.device)
        return torch.stack([partners, own, own[partners], bits], dim=1)

    def views(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Some views of samples; see `ViewedData.views`.

        Args:
            samples: Indices of the samples, int64 (batch,).
            numbers: Their lines of `numbers`, int64 (batch, 4).
        """
        one = self._data.views(samples, numbers[:, OWN_VIEW])
        other = self._data.views(numbers[:, PARTNER], numbers[:, ITS_VIEW])
        return mixed_samples(one, other, _shares(numbers))

    def labels(self, y: Tensor, samples: Tensor, numbers: Tensor) -> Tensor:
        """The labels of some samples in their views: shares of the classes, (batch, classes)."""
        own = numbers[samples]
        return mixed_labels(y[samples], y[own[:, PARTNER]], _shares(own), self._classes)


def _shares(numbers: Tensor) -> Tensor:
    """The share of each sample itself, float32 (batch,)."""
    return numbers[:, SHARE].int().view(torch.float32)
