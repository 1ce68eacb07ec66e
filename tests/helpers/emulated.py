"""What a CUDA graph does, on CPU: operations noted once and repeated on the same memory.

Numbers of Python are repeated as they were, and tensors are read and written where they lay, so
whatever a recording may not do shows here as well. Operators that call no torch, such as compiled
kernels, are not noted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def memory(values: Any) -> set[int]:
    """Addresses of the storages of all tensors among some values."""
    tensors = [t for t in tree_leaves(values) if isinstance(t, Tensor)]
    return {t.untyped_storage().data_ptr() for t in tensors}


class EmulatedGraph(TorchDispatchMode):
    """Stands in for `torch.cuda.CUDAGraph`.

    Args:
        work: is done three times, and once more to be noted.
        pool: of another such graph, or None.
    """

    capturing = False

    def __init__(self, work: Callable[[], object], pool: object = None) -> None:
        super().__init__()
        self._pool = pool or object()
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        for _ in range(3):
            work()
        EmulatedGraph.capturing = True
        try:
            with self:
                work()
        finally:
            EmulatedGraph.capturing = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        found = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, found))
        return found

    def pool(self) -> object:
        return self._pool

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, kept in self._calls:
            found = func(*args, **kwargs)
            given = memory((args, kwargs))
            for old, new in zip(tree_leaves(kept), tree_leaves(found), strict=True):
                if isinstance(old, Tensor) and not memory(old) & given:
                    old.copy_(new)
