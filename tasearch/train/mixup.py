"""Mixup in a fixed number of views: each is a mix of a sample with another one.

Zhang et al., 1710.09412: x = l x_i + (1 - l) x_j and y = l y_i + (1 - l) y_j with l drawn from
Beta(alpha, alpha). Here j and l are drawn once for each view of each sample, not in each step, so
that an ancestor's logits on the views can be stored.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tasearch.train.augmentation import ViewedData


class MixedData(ViewedData):
    """Mixes of views of data, with mixed labels.

    Args:
        data: The samples and the views that are mixed.
        labelled: Number of the samples with labels, the first ones, which are mixed with one
            another alone.
        classes: Number of classes.
        count: Number of mixes of each sample.
        alpha: Both parameters of the Beta distribution of the shares.
        seed: Seed of the mixes; their order has another one, from `reseeded`.
    """

    def __init__(
        self, data: ViewedData, labelled: int, classes: int, *, count: int, alpha: float, seed: int
    ) -> None:
        super().__init__((len(data), *data.shape), count, data.device, seed=0)
        self._data, self._classes = data, torch.arange(classes, device=data.device)
        draw = np.random.default_rng(seed)
        shape = (2, len(data), count)
        own = np.arange(len(data))[:, None]
        among = np.where(own < labelled, labelled, len(data))  # a label is mixed with another one
        samples = np.stack(np.broadcast_arrays(own, draw.integers(among, size=shape[1:])))
        numbers = draw.integers(data.count, size=shape, dtype=np.int32)
        given = (
            samples.astype(np.int32),
            numbers,
            draw.beta(alpha, alpha, size=shape[1:]).astype(np.float32),
        )
        self._parts, self._numbers, self._shares = (
            torch.from_numpy(part).to(data.device).flatten(-2) for part in given
        )

    def views(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Some views of samples; see `ViewedData.views`."""
        places = samples * self.count + numbers
        one, other = (
            self._data.views(part[places].long(), number[places].long())
            for part, number in zip(self._parts, self._numbers, strict=True)
        )
        return mixed_samples(one, other, self._shares[places])

    def labels(self, y: Tensor, samples: Tensor, numbers: Tensor) -> Tensor:
        """The labels of some samples in their views.

        Returns:
            Shares of the classes, float32 (batch, classes); they sum to 1.
        """
        places = samples * self.count + numbers[samples]
        one, other = (y[part[places].long()] for part in self._parts)
        return mixed_labels(one, other, self._shares[places], self._classes)


def mixed_samples(one: Tensor, other: Tensor, shares: Tensor) -> Tensor:
    """Mixes of samples, (batch, *in_shape).

    Args:
        one: Samples, (batch, *in_shape).
        other: What they are mixed with, (batch, *in_shape).
        shares: Share of the former in each mix, (batch,).
    """
    share = shares.to(one.dtype).view(-1, *[1] * (one.ndim - 1))
    return share * one + (1 - share) * other


def mixed_labels(one: Tensor, other: Tensor, shares: Tensor, classes: Tensor) -> Tensor:
    """Mixes of labels: shares of the classes, float32 (batch, classes).

    Args:
        one: Labels, int64 (batch,).
        other: What they are mixed with, int64 (batch,).
        shares: Share of the former in each mix, (batch,).
        classes: All classes, int64 (classes,).
    """
    left, right = ((y[:, None] == classes).float() for y in (one, other))
    share = shares.float()[:, None]
    return share * left + (1 - share) * right
