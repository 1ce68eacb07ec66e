"""Latency of one model on a GPU, launched operation by operation and as one CUDA graph."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from tasearch.profiling.calls import rotated_inputs
from tasearch.profiling.timing import Call
from tasearch.profiling.torch_adapter import fold_batch_norms
from tasearch.train.cuda import recorded

ROUNDS = 10  # of back-to-back calls, for the device's clock
CALLS = 100  # timed, in a round or by the host's clock
WARM_CALLS = 50  # not timed, before each


def cuda_latency(
    net: nn.Module, in_shape: tuple[int, ...], batch: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Milliseconds of one batch on a GPU: medians over several inputs, after a warm-up.

    Args:
        net: Model on the CPU, which takes raw samples.
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        batch: Samples in a call.
        device: A CUDA device.

    Returns:
        Times in milliseconds for "eager" (operation by operation) and "graph" (one CUDA graph).
        Each has `host_ms`, from the call until the logits are there, by the host's clock, and
        `device_ms`, the time between two CUDA events around back-to-back calls, per call.
    """
    folded = fold_batch_norms(net.eval(), lambda text: None).to(device)
    inputs = rotated_inputs(in_shape, batch).to(device)
    static_input = torch.empty_like(inputs[0])
    with torch.inference_mode():
        graph = recorded(lambda: folded(static_input))

        def replay(i: int) -> None:
            static_input.copy_(inputs[i % len(inputs)])
            graph.replay()

        calls: dict[str, Call] = {
            "eager": lambda i: folded(inputs[i % len(inputs)]),
            "graph": replay,
        }
        return {
            kind: {
                "host_ms": float(np.median(_host_times(call, device))),
                "device_ms": float(np.median([_device_time(call) for _ in range(ROUNDS)])),
            }
            for kind, call in calls.items()
        }


def _host_times(call: Call, device: torch.device) -> list[float]:
    times = []
    for i in range(WARM_CALLS + CALLS):
        start = time.perf_counter()
        call(i)
        torch.cuda.synchronize(device)
        times.append(1e3 * (time.perf_counter() - start))
    return times[WARM_CALLS:]


def _device_time(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    for i in range(WARM_CALLS):
        call(i)
    start.record()
    for i in range(CALLS):
        call(i)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / CALLS
