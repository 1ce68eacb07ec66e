"""One timed call of a model, by ONNX Runtime or by torch, and the inputs that it gets."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tasearch.config.latency_section import LatencySection
from tasearch.errors import ModelError, raised
from tasearch.profiling.onnx import onnx_session
from tasearch.profiling.timing import Call
from tasearch.profiling.torch_adapter import fold_batch_norms

MAX_INPUTS = 8  # different batches that take turns
MAX_INPUTS_GB = 1.0  # of memory for all of them, unless a single batch needs more


def rotated_inputs(in_shape: tuple[int, ...], batch: int) -> Tensor:
    """Random batches which take turns, so that no call finds its input in the cache.

    Args:
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        batch: Samples in a call.

    Returns:
        float32 of shape (batches, batch, *in_shape), the same numbers each time; fewer batches
        where they are large.
    """
    room = int(MAX_INPUTS_GB * 2**30) // (4 * batch * math.prod(in_shape))
    generator = torch.Generator().manual_seed(0)
    return torch.randn((max(1, min(MAX_INPUTS, room)), batch, *in_shape), generator=generator)


def usable_inputs(net: nn.Module, inputs: Tensor, samples: Tensor | None) -> Tensor:
    """Inputs that the model accepts: random ones, or else real samples.

    Args:
        net: Model on the CPU, in eval mode.
        inputs: Random batches, (batches, batch, *in_shape).
        samples: Real raw samples, (samples, *in_shape), or None.

    Returns:
        The random batches, or as many batches of real samples where these are integers, or the
        model fails on random numbers, as one with an embedding table does.
    """
    if samples is None:
        return inputs
    if samples.is_floating_point():
        try:
            with torch.no_grad():
                net(inputs[0, :1])
            return inputs
        except Exception:  # a user's model may raise anything
            pass
    index = torch.arange(inputs.shape[0] * inputs.shape[1]) % len(samples)
    return samples[index].view(inputs.shape)


def timed_call(
    net: nn.Module,
    model: bytes | None,
    inputs: Tensor,
    *,
    section: LatencySection,
    device: torch.device,
    what: str,
    warn: Callable[[str], None],
) -> Call:
    """A call of a model, to be timed.

    Args:
        net: Model on the CPU, in eval mode, which takes raw samples.
        model: The same model as ONNX; None to time torch.
        inputs: Batches which take turns, (batches, batch, *in_shape).
        section: Backend, batch and threads.
        device: Device of the torch backend.
        what: Name of the call in error messages.
        warn: Receiver of a message where batch norms cannot be folded.

    Returns:
        A function of the call's number, which raises ModelError where the model fails.

    Raises:
        ModelError: If the model cannot be loaded by the backend.
    """
    try:
        call = _backend_call(net, model, inputs, section, device, warn)
    except Exception as error:
        raise ModelError(f"{what} failed: {raised(error)}") from error

    def guarded(i: int) -> object:
        try:
            return call(i % len(inputs))
        except Exception as error:  # out of memory, or whatever a user's model raises
            raise ModelError(f"{what} failed: {raised(error)}") from error

    return guarded


def _backend_call(
    net: nn.Module,
    model: bytes | None,
    inputs: Tensor,
    section: LatencySection,
    device: torch.device,
    warn: Callable[[str], None],
) -> Call:
    if section.backend == "onnx" and model is not None:
        session = onnx_session(model, section.threads)
        arrays = [{"x": x.numpy()} for x in inputs]
        return lambda i: session.run(None, arrays[i])
    folded = fold_batch_norms(net, warn).to(device)
    batches: list[Tensor] = list(inputs.to(device))

    def call(i: int) -> object:
        with torch.inference_mode():
            logits = folded(batches[i])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return logits

    return call
