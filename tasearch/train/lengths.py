"""Batches of texts that are alike in length, cut to their longest: no time goes into padding.

The order is a function of a seed alone. A window of the shuffled samples is sorted by length and
divided into batches, and the batches of all windows are shuffled: so the samples of a batch differ
from epoch to epoch, and short and long batches are mixed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.runs import heartbeat
from tasearch.train.layout import evaluation_batch

WINDOW = 32  # batches of a window; more leave less padding, and mix batches less
MULTIPLE = 8  # that lengths of batches are rounded up to, so that there are few shapes


def text_lengths(study: Study, data: Dataset) -> Tensor | None:
    """The length of each text of the training set in ids, int64 (samples,), on CPU.

    Returns:
        The lengths; None for other data, and where texts are shown in views that may be longer.
    """
    training = study.training
    if data.tokens is None or training.augment != "none" or training.mixup is not None:
        return None
    return torch.from_numpy(lengths_of(data.train.x, data.tokens.pad))


def lengths_of(x: np.ndarray, pad: int) -> np.ndarray:
    """Number of ids up to the last one that is no padding, int64 (samples,).

    Args:
        x: Token ids, (samples, length).
        pad: The id behind the end of each text.
    """
    behind = np.flip(x != pad, axis=1)
    found: np.ndarray = np.where(behind.any(axis=1), x.shape[1] - behind.argmax(axis=1), 0)
    return found


def by_length(order: Tensor, lengths: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """An order of samples in which the samples of a batch are alike in length.

    Args:
        order: Shuffled samples of whole batches, int64 (batches * size,).
        lengths: Length of each sample of the training set, int64 (samples,).
        size: Samples of a batch.
        generator: What the order of the batches is drawn from.

    Returns:
        The same samples, int64 (batches * size,).
    """
    windows = torch.split(order, WINDOW * size)
    ranked = [own[torch.argsort(lengths[own], stable=True)] for own in windows]
    batches = torch.cat(ranked).view(-1, size)
    return batches[torch.randperm(len(batches), generator=generator)].view(-1)


def batch_lengths(order: Tensor, lengths: Tensor, size: int, longest: int) -> list[int]:
    """The length that each batch is cut to.

    Args:
        order: Samples of whole batches, int64 (batches * size,).
        lengths: Length of each sample of the training set, int64 (samples,).
        size: Samples of a batch.
        longest: Length of all samples with their padding.
    """
    return [cut_length(own, longest) for own in lengths[order].view(-1, size).amax(dim=1).tolist()]


def cut_length(longest_text: int, longest: int) -> int:
    """The length that a batch is cut to: that of its longest text, rounded up.

    Args:
        longest_text: Length of the longest text in the batch.
        longest: Length of all samples with their padding.
    """
    return min(max(-(-longest_text // MULTIPLE), 1) * MULTIPLE, longest)


@torch.no_grad()
def predict_texts(net: nn.Module, x: Tensor, pad: int) -> Tensor:
    """Logits (samples, classes) of a model in eval mode, in batches of texts alike in length.

    Args:
        net: The model.
        x: Token ids, (samples, length), on the model's device.
        pad: The id behind the end of each text.
    """
    places = torch.arange(1, x.shape[1] + 1, device=x.device)
    lengths = ((x != pad) * places).amax(dim=1)
    order = torch.argsort(lengths, stable=True)
    size = evaluation_batch(x.device)
    batches = torch.split(order, size)
    longest = lengths[order][[min(i + size, len(x)) - 1 for i in range(0, len(x), size)]].tolist()
    parts = [
        net(x[own, : cut_length(most, x.shape[1])])
        for own, most in heartbeat.each([*zip(batches, longest, strict=True)])
    ]
    logits = torch.cat(parts)
    return torch.empty_like(logits).index_copy_(0, order, logits)
