"""Costs of a model which are counted, not timed: parameters, bytes, floating-point operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tasearch.errors import raised
from tasearch.profiling.torch_adapter import quiet


def parameters(net: nn.Module) -> int:
    """Number of values in all parameters.

    Args:
        net: Any module.

    Returns:
        Trained and frozen parameters; shared ones count once, buffers do not count.

    Example:
        >>> parameters(nn.Linear(5, 7))
        42
    """
    return sum(p.numel() for p in net.parameters())


def weight_bytes(net: nn.Module) -> int:
    """Bytes of all weights and buffers, as `safetensors` stores them.

    Args:
        net: Any module.

    Returns:
        Bytes of everything in the state dict.

    Example:
        >>> weight_bytes(nn.Linear(5, 7))  # float32
        168
    """
    return sum(t.numel() * t.element_size() for t in net.state_dict().values())


def forward_flops(
    net: nn.Module,
    in_shape: tuple[int, ...],
    warn: Callable[[str], None] = lambda text: None,
    sample: Tensor | None = None,
) -> int:
    """Floating-point operations of one forward pass of one sample; a multiply-add counts two.

    Recurrent layers and attention run as the matrix products which they consist of, because torch
    counts nothing for their fused operations.

    Args:
        net: Model on the CPU; it is put into eval mode.
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        warn: Receiver of a message where the operations cannot be counted; each parameter then
            counts as one multiply-add.
        sample: Raw input, (1, *in_shape); None stands for zeros.

    Returns:
        Number of operations.

    Example:
        >>> forward_flops(nn.Linear(5, 7), (5,))
        70
    """
    x = torch.zeros(1, *in_shape) if sample is None else sample
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            quiet(),
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
            torch.no_grad(),
        ):
            net.eval()(x)
        return int(counter.get_total_flops()) or 2 * parameters(net)
    except Exception as error:  # a user's model may do what the counter cannot follow
        found = raised(error)
        warn(f"FLOPs are taken as twice the parameters, for counting them raised {found}")
        return 2 * parameters(net)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
