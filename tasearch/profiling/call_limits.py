"""Limits of a timed call, estimated from a small batch before a large one is tried."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tasearch.chains.sizes import sized
from tasearch.config.latency_section import LatencySection
from tasearch.errors import ModelError, StudyError, raised
from tasearch.models.numerics import cpu_threads
from tasearch.profiling.timing import CALL_S

SMALL_BATCH = 16  # samples from which the cost of larger batches is estimated
CALLS = 3  # the shortest one counts, because the machine may be busy
BATCH_GB = 1.0  # memory for the samples of one call
ESTIMATE_FACTOR = 3.0  # excess over CALL_S that is accepted: ONNX Runtime is faster than torch
OPERATION_GB = 4.0  # memory for the inputs and outputs of one operation


def check_calls(
    nets: Mapping[int, nn.Module],
    in_shape: tuple[int, ...],
    section: LatencySection,
    device: torch.device,
) -> None:
    """Refuse a batch that would not fit into memory, or would take too long.

    Args:
        nets: Models by width, on the CPU, which take raw samples; they are put into eval mode.
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        section: Backend, batch and threads.
        device: Device of the torch backend; on a GPU only the size of the samples is checked.

    Raises:
        StudyError: If `latency.batch` is too large; the message has the largest possible value.
        ModelError: If a model fails on a small batch.
    """
    batch = section.batch
    shape = " x ".join(map(str, in_shape))
    words = f"samples of {shape} may take {BATCH_GB:g} GiB in one call"
    _check(batch, words, int(BATCH_GB * 2**30) // (4 * math.prod(in_shape)))
    if batch <= SMALL_BATCH or (section.backend == "torch" and device.type == "cuda"):
        return
    x = torch.zeros(SMALL_BATCH, *in_shape)
    with cpu_threads(section.threads), torch.inference_mode():
        for width, net in nets.items():
            try:
                with _LargestOperation(net.eval()) as largest:
                    net(x)
                seconds = min(_seconds(net, x) for _ in range(CALLS)) / SMALL_BATCH
            except Exception as error:  # a user's model may raise anything
                raise ModelError(
                    f"{sized(width)}: a call with {SMALL_BATCH} samples failed: {raised(error)}"
                ) from error
            words = f"one operation of {sized(width)} may take {OPERATION_GB:g} GiB"
            _check(batch, words, int(OPERATION_GB * 2**30 * SMALL_BATCH / max(largest.bytes, 1)))
            words = f"one call of {sized(width)} may take {CALL_S:g} s"
            _check(batch, words, int(ESTIMATE_FACTOR * CALL_S / max(seconds, 1e-9)))


def _seconds(net: nn.Module, x: Tensor) -> float:
    start = time.perf_counter()
    net(x)
    return time.perf_counter() - start


def _check(batch: int, words: str, most: int) -> None:
    if batch > most:
        raise StudyError(
            f"latency.batch: should be at most {max(most, 1):,}, for {words}; found {batch:,}"
        )


class _LargestOperation(TorchFunctionMode):
    """Finds the operation with the most bytes of inputs and outputs.

    The model's own weights do not count, because they do not grow with the batch.

    Args:
        net: Model whose operations are observed.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.bytes = 0
        self._weights = {_address(t) for t in (*net.parameters(), *net.buffers())}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else (result,)
        tensors = [x for x in (*args, *outputs) if isinstance(x, Tensor)]
        tensors = [x for x in tensors if _address(x) not in self._weights]
        self.bytes = max(self.bytes, sum(x.numel() * x.element_size() for x in tensors))
        return result


def _address(x: Tensor) -> int:
    """Address of a tensor's storage, which a view shares with its base."""
    try:
        return x.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # a sparse tensor has several storages
        return id(x)
