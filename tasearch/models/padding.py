"""What a model of texts must do with padding: nothing.

Batches are cut to their longest text, so logits must not depend on how much padding is behind it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasearch.data.ids import Tokens
from tasearch.errors import ModelError, raised
from tasearch.models.wrappers import TakesIds, logits_of

TEXTS = 3
SLACK = 1e-3  # what logits may differ by, relative to the largest one


def check_padding(net: nn.Module, where: str) -> None:
    """Refuse a model of texts whose logits change with the padding behind a text.

    Args:
        net: The model; it is put into eval mode. A model of other samples is not called.
        where: Name of the model in messages.

    Raises:
        ModelError: It fails on shorter batches, or gives other logits.
    """
    tokens = net.ids.tokens if isinstance(net, TakesIds) else None
    if tokens is None or tokens.length == 1:
        return
    short = tokens.length // 2
    device = next((value.device for value in net.parameters()), None)
    whole = torch.full((TEXTS, tokens.length), tokens.pad, dtype=torch.int32, device=device)
    whole[:, :short] = _words(short, tokens)
    rule = f"the mask of a text is where its ids are not {tokens.pad}, the id of padding"
    padded = cut = None
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            padded = logits_of(net.eval()(whole))
            cut = logits_of(net(whole[:, :short].contiguous()))
    except Exception as error:  # a user's model may raise anything
        if padded is not None:
            raise ModelError(
                f"{where} should take texts of any length up to {tokens.length}, failed on "
                f"{short} ids: {raised(error)}; {rule}"
            ) from error
    if not isinstance(padded, Tensor) or not isinstance(cut, Tensor):
        return  # which other checks tell better
    largest = max(float(padded.abs().max()), 1.0)
    if not float((padded - cut).abs().max()) <= SLACK * largest:
        raise ModelError(
            f"{where} gives other logits if padding is behind a text: batches are cut to their "
            f"longest text, so padding should change nothing; {rule}"
        )


def _words(length: int, tokens: Tokens) -> Tensor:
    """Ids of texts without padding, int32 (TEXTS, length)."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(tokens.vocabulary - 1, (TEXTS, length), generator=generator)
    return torch.where(ids >= tokens.pad, ids + 1, ids).int()
