"""CUDA: settings of a process, and work recorded as a graph."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

WARM_UP = 3  # times that work is done before it is recorded


def set_up_cuda(device: torch.device, *, deterministic: bool) -> None:
    """Set how this process computes on a GPU: in full float32, never in TF32.

    This comes before any other work on the GPU, because cuBLAS reads its setting once.

    Args:
        device: The default device of the process.
        deterministic: Whether results are the same bits from run to run; otherwise cuDNN measures
            which of its algorithms is fastest, and may choose another one in the next run.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if device.index is not None:
        torch.cuda.set_device(device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic)


def recorded(
    work: Callable[[], object], pool: tuple[int, int] | None = None
) -> torch.cuda.CUDAGraph:
    """Record the operations that some work launches on the current CUDA device.

    The work is done a few times first: libraries choose their algorithms then, and optimizers
    create their state.

    Args:
        work: Function that launches the operations.
        pool: Memory pool of another graph to share; None for a new one.

    Returns:
        A graph that replays the operations.

    Raises:
        Exception: Whatever torch, or the work, raises where recording is not possible.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream):  # type: ignore[arg-type]
        work()
    return graph
