"""How a user's models are called: what they return, and what they do to their batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.models.contract import noise
from tasearch.models.wrappers import OnlyLogits, TakesIds, logits_of


@dataclass(frozen=True, kw_only=True)
class CallStyle:
    """How a model is called.

    Args:
        more_outputs: Whether the logits are one of several outputs.
        overwrites: Whether the model changes the batch that it is given.
    """

    more_outputs: bool = False
    overwrites: bool = False


def find_call_style(net: nn.Module, in_shape: tuple[int, ...], *, trained: bool) -> CallStyle:
    """Call a model, and see what it returns and what it does to its batch.

    Args:
        net: A model that is not trained; its mode changes.
        in_shape: Shape of one sample.
        trained: Whether models of this kind are trained, so that train mode counts too.

    Returns:
        The style; of a model that raises an exception, as far as it came.
    """
    more_outputs = overwrites = False
    for mode in (False, True) if trained else (False,):
        batch = noise(2, in_shape)
        batch = net.as_ids(batch) if isinstance(net, TakesIds) else batch
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                output = net.train(mode)(batch)
            logits = logits_of(output)
            more_outputs |= isinstance(logits, Tensor) and logits is not output
        except Exception:  # a user's model may raise anything; `check_model` reports it
            pass
        overwrites |= batch._version > 0  # torch counts changes, those through views too
    return CallStyle(more_outputs=more_outputs, overwrites=overwrites)


def adapted(net: nn.Module, style: CallStyle) -> nn.Module:
    """A model that returns the logits alone and leaves its batch unchanged."""
    if style.overwrites:
        net.register_forward_pre_hook(_with_own_batch)
    return OnlyLogits(net) if style.more_outputs else net


def _with_own_batch(net: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies of a model's inputs: other models read the same batch."""
    return tuple(arg.clone() if isinstance(arg, Tensor) else arg for arg in args)
