"""Whether a timed call has a chance: told from small ones, before anything large is tried."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tasearch.config.sections import LatencySection
from tasearch.errors import ModelError, StudyError, raised
from tasearch.models.numerics import cpu_threads
from tasearch.profiling.timing import CALL_S

SMALL_BATCH = 16  # that the others are judged by
CALLS = 3  # the shortest counts, for others may be at work
BATCH_GB = 1.0  # that the samples of one call may take
FORESEEN = 3.0  # times as long as it takes a call may seem: ONNX Runtime is faster than torch
LAYER_GB = 4.0  # that what goes into and out of one operation may take


def check_calls(
    nets: Mapping[int, nn.Module],
    in_shape: tuple[int, ...],
    section: LatencySection,
    device: torch.device,
) -> None:
    """Refuse a batch that would not fit into memory, or take too long.

    Args:
        nets: by width, on CPU, taking raw samples; put into eval mode.
        in_shape: (channels, height, width) or (features,).
        section: backend, batch and threads.
        device: where the torch backend runs; a GPU has limits of its own, which it tells itself.

    Raises:
        StudyError: with the largest batch that is possible.
        ModelError: where a model fails.
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
                with _Largest(net.eval()) as largest:
                    net(x)
                seconds = min(_seconds(net, x) for _ in range(CALLS)) / SMALL_BATCH
            except Exception as error:  # a user's model may raise anything
                raise ModelError(
                    f"width {width}: a call with {SMALL_BATCH} samples failed: {raised(error)}"
                ) from error
            words = f"one operation of width {width} may take {LAYER_GB:g} GiB"
            _check(batch, words, int(LAYER_GB * 2**30 * SMALL_BATCH / max(largest.bytes, 1)))
            words = f"one call of width {width} may take {CALL_S:g} s"
            _check(batch, words, int(FORESEEN * CALL_S / max(seconds, 1e-9)))


def _seconds(net: nn.Module, x: Tensor) -> float:
    start = time.perf_counter()
    net(x)
    return time.perf_counter() - start


def _check(batch: int, words: str, most: int) -> None:
    if batch > most:
        raise StudyError(
            f"latency.batch: should be at most {max(most, 1):,}, for {words}; found {batch:,}"
        )


class _Largest(TorchFunctionMode):
    """Bytes that go into and out of one operation, at most; a model's own weights apart, which do
    not grow with the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.bytes = 0
        self._weights = {_place(t) for t in (*net.parameters(), *net.buffers())}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        every = found if isinstance(found, tuple | list) else (found,)
        tensors = [x for x in (*args, *every) if isinstance(x, Tensor)]
        tensors = [x for x in tensors if _place(x) not in self._weights]
        self.bytes = max(self.bytes, sum(x.numel() * x.element_size() for x in tensors))
        return found


def _place(x: Tensor) -> int:
    """Where a tensor's numbers are; a view's are where its source's are."""
    try:
        return x.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # a sparse tensor's are in several places
        return id(x)
