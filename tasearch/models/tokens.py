"""Token ids: what they mean, and which of them are tokens of a text."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.data.ids import Ids, Tokens
from tasearch.errors import ModelError

NAME = "attention_mask"  # of an argument, as models of the package transformers have it


def tokens_of(ids: Ids | None, in_shape: tuple[int, ...], pad: int) -> Tokens | None:
    """What samples of integers mean as token ids.

    Where the data do not say it, the vocabulary ends with the greatest id.

    Args:
        ids: What the samples hold; None for numbers to compute with.
        in_shape: Shape of a sample, (length,).
        pad: Id of what fills a sample behind its text, where the data do not say it.

    Raises:
        ModelError: An id is negative.
    """
    if ids is None or ids.tokens is not None:
        return None if ids is None else ids.tokens
    if ids.low < 0:
        raise ModelError(f"token ids should be 0 or more, found {ids.low}")
    (length,) = in_shape
    return Tokens(vocabulary=max(ids.high, pad) + 1, pad=pad, cls=None, sep=None, length=length)


def mask_of(ids: Tensor, pad: int) -> Tensor:
    """Which ids are tokens of a text, bool (samples, length) as the ids.

    The first one always is, so that there is one in an empty text, too.

    Args:
        ids: Integers, (samples, length).
        pad: Id of what fills a sample behind its text.
    """
    return torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool), ids[:, 1:] != pad], dim=1)


def second_text(ids: Tensor, mask: Tensor, sep: int) -> Tensor:
    """1 for the tokens behind the first separator of a text, 0 for others: int64 (samples, length).

    Args:
        ids: Token ids, integers (samples, length).
        mask: Whether an id is a token, bool of the same shape.
        sep: Id of the separator behind each text of a pair.
    """
    ends = (ids == sep).long()
    return ((ends.cumsum(dim=1) - ends) > 0).long() * mask


class WithMask(nn.Module):
    """Calls a model of token ids and their mask with the ids alone.

    Args:
        net: The model. It is called as `net(ids, mask)`, and the mask is True where there is a
            token; or as `net(ids, attention_mask=mask)`, and it is 1 there and 0 elsewhere.
        pad: Id of what fills a sample behind its text.
        named: Whether it is called in the second way.
    """

    def __init__(self, net: nn.Module, pad: int, *, named: bool) -> None:
        super().__init__()
        self.net, self.pad, self.named = net, pad, named

    def forward(self, ids: Tensor) -> Any:
        """Integers (samples, length) to what the model returns."""
        mask = mask_of(ids, self.pad)
        return self.net(ids, **{NAME: mask.long()}) if self.named else self.net(ids, mask)


def masked(net: nn.Module, tokens: Tokens) -> nn.Module:
    """A model of token ids alone: with a mask of them if it requires two arguments or names it.

    Args:
        net: The model, which takes ids, or ids and their mask.
        tokens: What the ids mean.
    """
    with contextlib.suppress(TypeError, ValueError):  # a builtin may have no signature
        given = inspect.signature(net.forward).parameters.values()
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        required = [one for one in given if one.default is one.empty and one.kind in positional]
        named = any(one.name == NAME for one in given)
        if named or len(required) == 2:
            return WithMask(net, tokens.pad, named=named)
    return net


def known_tokens(tokens: Tokens | None, in_shape: tuple[int, ...]) -> Tokens:
    """What token ids mean, for a model that takes nothing else.

    Args:
        tokens: What is known of them; None for other samples.
        in_shape: Shape of one sample.

    Raises:
        ModelError: The samples are no rows of token ids.
    """
    if tokens is None or len(in_shape) != 1:
        raise ModelError(
            f'takes token ids: texts (data.source = "text"), or integers (samples, length) with '
            f"data.standardize = false; found samples of shape {in_shape}"
        )
    return tokens
