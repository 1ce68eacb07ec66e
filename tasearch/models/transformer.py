"""Transformer encoders that classify texts of token ids (Vaswani et al., arXiv 1706.03762).

Tokens and their positions are embedded, pass blocks of attention and dense layers, and one vector
of a text is classified: the mean of its tokens, or the first one. What fills a text up to the
length of its batch is neither attended to nor counted.

As in the family `vit`, the last layer of each branch starts at zero, so that a block with norms
before its branches starts as the identity (Zhang et al., arXiv 1901.09321).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasearch.data.ids import Tokens
from tasearch.errors import ModelError, quoted
from tasearch.models.tokens import known_tokens, mask_of, second_text

LAYERS = 2  # blocks, where a size says no other number
HEAD = 32  # features of an attention head, where a size says no number of heads
RATIO = 4  # hidden units of a block's dense layers in widths, where a size says no number
NORMS = ("pre", "post")
POOLINGS = ("mean", "cls")
MOST_TOKENS = 2**24  # of a vocabulary: ids beyond are hardly those of tokens
SPREAD = 0.02  # standard deviation of embeddings at the start


def _attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """What tokens attend to, (samples, heads, tokens, features of a head).

    On CPU in float32, also under autocast: torch takes some twenty times as long for the gradients
    of attention in bfloat16, which is more than bfloat16 saves in all other layers.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Attention(nn.Module):
    """Self-attention of the tokens of a text.

    Args:
        width: Number of features of a token.
        heads: Number of heads, each of `width / heads` features.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)  # query, key and value
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(samples, tokens, width) to the same.

        Args:
            x: Features of tokens.
            mask: Whether a token is attended to, bool (samples, tokens).
        """
        query, key, value = (  # each (samples, heads, tokens, features of a head)
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.inputs(x).chunk(3, dim=2)
        )
        mixed = _attended(query, key, value, mask[:, None, None, :])
        y: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """Attention, then two dense layers, each added to its input.

    Args:
        width: Number of features of a token.
        heads: Number of heads.
        feed_forward: Number of hidden units of the dense layers.
        post: Whether norms come after the sums, and not before the branches.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, *, post: bool) -> None:
        super().__init__()
        self.post = post
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = Attention(width, heads)
        self.wide, self.narrow = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)
        for layer in (self.attention.output, self.narrow):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(samples, tokens, width) to the same; the mask is that of `Attention`."""
        first, second = self.norms
        if self.post:
            x = first(x + self.attention(x, mask))
            y: Tensor = second(x + self._dense(x))
            return y
        x = x + self.attention(first(x), mask)
        return x + self._dense(second(x))

    def _dense(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(F.gelu(self.wide(x)))
        return y


class Transformer(nn.Module):
    """An encoder of texts with a linear classifier.

    Args:
        tokens: What ids mean.
        length: Most tokens of a text.
        classes: Number of classes.
        width: Number of features of a token.
        layers: Number of blocks.
        heads: Number of heads of each.
        feed_forward: Number of hidden units of the dense layers of each.
        post: Whether norms come after the sums.
        first: Whether the first token is classified, and not the mean of all.
        segments: Whether the tokens of the second text of a pair are told from those of the first.
    """

    def __init__(
        self,
        tokens: Tokens,
        length: int,
        classes: int,
        *,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        post: bool,
        first: bool,
        segments: bool = False,
    ) -> None:
        super().__init__()
        self.pad, self.sep, self.post, self.first = tokens.pad, tokens.sep, post, first
        self.words = nn.Embedding(tokens.vocabulary, width)
        self.places = nn.Parameter(SPREAD * torch.randn(length, width))
        self.norm = nn.LayerNorm(width)  # of the embeddings, or of what the last block gives
        self.blocks = nn.ModuleList(
            Block(width, heads, feed_forward, post=post) for _ in range(layers)
        )
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.words.weight, std=SPREAD)
        # added to the tokens of the second text; those of the first have none to be told apart
        self.second = nn.Parameter(SPREAD * torch.randn(width)) if segments else None

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (samples, tokens) to logits (samples, classes)."""
        mask = mask_of(ids, self.pad)
        x = self.words(ids) + self.places[: ids.shape[1]]
        if self.second is not None:
            assert self.sep is not None
            x = x + second_text(ids, mask, self.sep)[:, :, None] * self.second
        if self.post:
            x = self.norm(x)
        for block in self.blocks:
            x = block(x, mask)
        if not self.post:
            x = self.norm(x)
        logits: Tensor = self.head(x[:, 0] if self.first else _mean(x, mask))
        return logits


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens of a text, (samples, width) from (samples, tokens, width)."""
    share = mask.to(x.dtype)
    return (x * share[:, :, None]).sum(1) / share.sum(1, keepdim=True)


def build(
    width: int,
    *,
    in_shape: tuple[int, ...],
    num_classes: int,
    tokens: Tokens | None = None,
    layers: int = LAYERS,
    heads: int | None = None,
    feed_forward: int | None = None,
    norm: str = "pre",
    pooling: str = "mean",
    segments: bool = False,
) -> nn.Module:
    """A transformer with `width` features of each token.

    Args:
        width: Number of features of a token, at least 2.
        in_shape: (most tokens of a text,).
        num_classes: Number of classes.
        tokens: What ids mean; None for samples that are no token ids.
        layers: Number of blocks.
        heads: Number of heads, a divisor of the width; by default the largest one with which a head
            has at least 32 features, or 1.
        feed_forward: Number of hidden units of a block's dense layers; by default four widths.
        norm: "pre" for norms before the branches of a block, "post" for norms after the sums.
        pooling: "mean" of all tokens of a text, or "cls" for its first one.
        segments: Whether the tokens of the second text of a pair are told from those of the first.

    Raises:
        ModelError: The samples are no token ids, or an argument is none of these.
    """
    tokens = _checked_tokens(tokens, in_shape)
    _check_count("width", width, 2)
    _check_count("layers", layers, 1)
    heads = _heads(width) if heads is None else _check_count("heads", heads, 1)
    if width % heads:
        raise ModelError(f"heads should divide the width {width}, found {heads}")
    feed_forward = RATIO * width if feed_forward is None else feed_forward
    _check_count("feed_forward", feed_forward, 1)
    for name, value, known in (("norm", norm, NORMS), ("pooling", pooling, POOLINGS)):
        if value not in known:
            raise ModelError(f"{name} should be {' or '.join(known)}, found {quoted(value)}")
    if type(segments) is not bool:
        raise ModelError(f"segments should be true or false, found {quoted(segments)}")
    if segments and tokens.sep is None:
        raise ModelError("segments = true: the tokenizer ends texts with no token such as [SEP]")
    return Transformer(
        tokens,
        max(in_shape[0], tokens.length),
        num_classes,
        width=width,
        layers=layers,
        heads=heads,
        feed_forward=feed_forward,
        post=norm == "post",
        first=pooling == "cls",
        segments=segments,
    )


def _checked_tokens(tokens: Tokens | None, in_shape: tuple[int, ...]) -> Tokens:
    tokens = known_tokens(tokens, in_shape)
    if tokens.vocabulary > MOST_TOKENS:
        raise ModelError(
            f"takes ids below {MOST_TOKENS:,}, found a vocabulary of {tokens.vocabulary:,}: number "
            f"the tokens from 0"
        )
    return tokens


def _check_count(name: str, value: object, least: int) -> int:
    """An argument that counts something, refused if it is no integer or below the least one."""
    if type(value) is bool or not isinstance(value, int) or value < least:
        raise ModelError(f"{name} should be an integer of {least} or more, found {quoted(value)}")
    return value


def _heads(width: int) -> int:
    """The largest number of heads of at least `HEAD` features that divides a width, or 1."""
    return next(count for count in range(max(1, width // HEAD), 0, -1) if width % count == 0)
