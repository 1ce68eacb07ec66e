"""Token ids: what they mean, and which of them are tokens of a text."""

from __future__ import annotations

import torch
from torch import Tensor

from tasearch.data.ids import Ids, Tokens
from tasearch.errors import ModelError

PAD = 0  # id of what fills a sample of integers, where nothing says which one does


def tokens_of(ids: Ids | None, in_shape: tuple[int, ...]) -> Tokens | None:
    """What samples of integers mean as token ids.

    Where the data do not say it, the vocabulary ends with the greatest id, and id 0 fills samples.

    Args:
        ids: What the samples hold; None for numbers to compute with.
        in_shape: Shape of a sample, (length,).

    Raises:
        ModelError: An id is negative.
    """
    if ids is None or ids.tokens is not None:
        return None if ids is None else ids.tokens
    if ids.low < 0:
        raise ModelError(f"token ids should be 0 or more, found {ids.low}")
    (length,) = in_shape
    return Tokens(vocabulary=ids.high + 1, pad=PAD, cls=None, sep=None, length=length)


def mask_of(ids: Tensor, pad: int) -> Tensor:
    """Which ids are tokens of a text, bool (samples, length) as the ids.

    The first one always is, so that there is one in an empty text, too.

    Args:
        ids: Integers, (samples, length).
        pad: Id of what fills a sample behind its text.
    """
    return torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool), ids[:, 1:] != pad], dim=1)
