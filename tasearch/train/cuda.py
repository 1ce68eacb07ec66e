"""What is CUDA's alone: how a GPU computes, and work recorded to be launched at once."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

WARM = 3  # times that work is done before it is recorded


def set_up_cuda(device: torch.device, *, deterministic: bool) -> None:
    """How this process computes on a GPU: float32 in full, never as TF32.

    Args:
        device: that is used unless another is named.
        deterministic: the same bits from run to run; otherwise cuDNN tries which of its algorithms
            is fastest, and may choose otherwise the next time.

    Comes before any other work on the GPU, for cuBLAS reads its setting once.
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
    """A graph of what some work launches on the current CUDA device.

    It is done a few times first: libraries choose their algorithms, optimizers make their state.

    Raises:
        Exception: whatever torch, or the work, raises where that cannot be.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream):  # type: ignore[arg-type]
        work()
    return graph
