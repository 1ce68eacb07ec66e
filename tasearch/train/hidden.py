"""The loss of a transformer on hidden layers of the model before.

It is added to the loss of the logits. Each text counts alike, whatever its length: a part is the
mean over a text's tokens, then over texts; padding counts nowhere. Under autocast, too, it is
computed in float32.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasearch.models.hidden import HiddenLayers, HiddenSizes, read_hidden


class HiddenLoss(nn.Module):
    """The sum of the parts of a loss on hidden layers, and the projections that they need.

    - `states`: 1 less the cosine of the angle between the states of both models for a token, the
      mean over the blocks of the model. It is the loss of DistilBERT (Sanh et al., arXiv
      1910.01108), and up to a factor that of PKD (Sun et al., 1908.09355, equation 5). Block i of n
      learns from the teacher's block `matched_blocks`.
    - `embeddings`: the same of what the first block gets.
    - `relations`: the KL divergence of self-attention relations of the last block, from the
      teacher's, the mean over queries, keys and values (MiniLMv2: Wang et al., 2012.15828,
      equations 2 to 5).

    Where widths differ, states are compared behind a linear map without bias that is trained with
    the model, one for all blocks, and another one for embeddings (TinyBERT: Jiao et al.,
    1909.10351, equations 8 and 9). It belongs to the training alone.

    Args:
        parts: Names in `tasearch.chains.recipe.HIDDEN`.
        own: Sizes of the model.
        teacher: Sizes of its teacher.
    """

    def __init__(self, parts: tuple[str, ...], own: HiddenSizes, teacher: HiddenSizes) -> None:
        super().__init__()
        self.parts = parts
        self.matched = matched_blocks(own.blocks, teacher.blocks)
        self.heads = relation_heads(own, teacher)
        self.projections = nn.ModuleDict(
            {
                part: nn.Linear(own.width, teacher.width, bias=False)
                for part in parts
                if part != "relations" and own.width != teacher.width
            }
        )

    def forward(self, own: HiddenLayers, teacher: HiddenLayers) -> Tensor:
        """The loss of a batch, ().

        Args:
            own: Hidden layers of the model.
            teacher: Those of its teacher, without a gradient.
        """
        parts = []
        if "states" in self.parts:
            pairs = zip(own.states, self.matched, strict=True)
            each = [self._distance("states", x, teacher.states[i], own.mask) for x, i in pairs]
            parts.append(torch.stack(each).mean())
        if "relations" in self.parts:
            vectors = zip(own.vectors, teacher.vectors, strict=True)
            each = [relation_loss(x, y, own.mask, self.heads) for x, y in vectors]
            parts.append(torch.stack(each).mean())
        if "embeddings" in self.parts:
            inputs = own.embeddings, teacher.embeddings
            parts.append(self._distance("embeddings", *inputs, own.mask))
        return torch.stack(parts).sum()

    def _distance(self, part: str, own: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        own = _not_half(own)
        if part in self.projections:
            own = self.projections[part](own)
        return mean_over_tokens(1 - F.cosine_similarity(own, _not_half(teacher), dim=-1), mask)

    def of_batch(self, own: HiddenLayers, teacher: nn.Module, x: Tensor) -> Tensor:
        """The loss of a batch whose teacher is called here, in float32 and without a gradient, ().

        Args:
            own: Hidden layers of the model.
            teacher: Its teacher, in eval mode on the same device.
            x: The token ids of the batch, (samples, tokens).
        """
        with torch.no_grad():
            _, layers = read_hidden(teacher, x)
        loss: Tensor = self(own, layers)
        return loss


def matched_blocks(blocks: int, teachers: int) -> list[int]:
    """For each block of a model, the block of its teacher at the same relative depth, from 0.

    Block i of n, from 1, has the teacher's block i * N / n of N, rounded up: the last has the last.

    Example:
        >>> matched_blocks(2, 4), matched_blocks(3, 4), matched_blocks(1, 4), matched_blocks(4, 2)
        ([1, 3], [1, 2, 3], [3], [0, 0, 1, 1])
    """
    return [-(-i * teachers // blocks) - 1 for i in range(1, blocks + 1)]


def relation_heads(own: HiddenSizes, teacher: HiddenSizes) -> int:
    """The number of relation heads: of those that divide the vectors of both models, the largest
    one that is at most the teacher's number of heads.

    Example:
        >>> own = HiddenSizes(width=48, blocks=2, heads=2, vectors=(48, 48, 48))
        >>> teacher = HiddenSizes(width=128, blocks=4, heads=4, vectors=(128, 128, 128))
        >>> relation_heads(own, teacher)
        4
    """
    common = math.gcd(*own.vectors, *teacher.vectors)
    return next(count for count in range(teacher.heads, 0, -1) if common % count == 0)


def relation_loss(own: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    """The KL divergence of the relations of a model's vectors from those of its teacher's, ().

    The relations of a token are the softmax, over all tokens of its text, of the products of its
    vector with theirs, divided by the root of the number of features of a head. The mean is taken
    over relation heads, tokens and texts.

    Args:
        own: Queries, keys or values of the model, (samples, tokens, features).
        teacher: The same of its teacher, (samples, tokens, other features).
        mask: Whether an id is a token, bool (samples, tokens).
        heads: Number of relation heads, a divisor of both numbers of features.
    """
    ours, theirs = (_relations(_not_half(one), mask, heads) for one in (own, teacher))
    gaps = (theirs - ours).masked_fill(~mask[:, None, None, :], 0)  # not -inf less -inf
    divergence = (theirs.exp() * gaps).sum(dim=-1).mean(dim=1)  # (samples, tokens)
    return mean_over_tokens(divergence, mask)


def _relations(vectors: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Logarithms of relations, (samples, heads, tokens, tokens); -inf for padding."""
    split = vectors.reshape(*vectors.shape[:2], heads, -1).transpose(1, 2)
    scores = split @ split.transpose(2, 3) / math.sqrt(split.shape[-1])
    return F.log_softmax(scores.masked_fill(~mask[:, None, None, :], -torch.inf), dim=-1)


def mean_over_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens of each text, then over texts, ().

    Args:
        values: A value for each id, float (samples, tokens).
        mask: Whether an id is a token, bool (samples, tokens).
    """
    share = mask.to(values.dtype)
    return ((values * share).sum(dim=1) / share.sum(dim=1)).mean()


def _not_half(values: Tensor) -> Tensor:
    """Values in float32 where autocast has made them 16 bits; others as they are."""
    return values.float() if values.element_size() < 4 else values
