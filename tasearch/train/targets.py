"""Soft targets: an ancestor's raw logits on the training views, computed once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tasearch.errors import TrainingError
from tasearch.store import HopRecord, Store
from tasearch.train.views import Views

IN_MEMORY = 256 * 2**20  # bytes of targets that a trainer holds at once
BATCH = 256


class Targets:
    """Logits by (hop, slot of views): from memory, else from the store, else from the model.

    On disk one file a slot, so that a pupil that is stopped early has cost no more slots than it
    saw, and so that workers which need the same slot at once write the same file.

    Args:
        views: of the training part.
        store: keeps them, under `targets/`.
        limit: bytes on disk; the oldest unused go first.
    """

    def __init__(self, views: Views, store: Store, limit: float) -> None:
        self._views, self._store, self._limit = views, store, limit
        self._held: OrderedDict[str, Tensor] = OrderedDict()

    def of(
        self, key: str, slot: int, net: Callable[[], nn.Module], record: Callable[[], HopRecord]
    ) -> Tensor:
        """float16 (samples, classes) of one ancestor, on the device of the views.

        Args:
            key: the ancestor's.
            slot: of the views.
            net: the ancestor's model in eval mode on the device, asked for only if needed.
            record: the ancestor's, likewise.

        Raises:
            TrainingError: where a logit does not fit 16 bits.
        """
        name = f"{key}-{slot}"
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        device = self._views.device
        saved = self._store.load("targets", name)
        if saved is not None:
            logits = saved[0]["logits"].to(device)
            self._store.touch("targets", name)
        else:
            logits = view_logits(net(), self._views, slot).half()
            if not logits.isfinite().all():
                raise TrainingError("the logits of an ancestor do not fit 16 bits")
            self._store.save("targets", name, {"logits": logits}, record())
            self._store.trim("targets", self._limit)
        self._held[name] = logits
        while sum(map(_bytes, self._held.values())) > IN_MEMORY and len(self._held) > 1:
            self._held.popitem(last=False)
        return logits


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@torch.inference_mode()
def view_logits(net: nn.Module, views: Views, slot: int) -> Tensor:
    """float32 (samples, classes): a model's logits on one slot of the views."""
    samples = torch.arange(len(views), device=views.device)
    return torch.cat([net(views.batch(part, slot)) for part in torch.split(samples, BATCH)])


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """(ancestors, samples, classes); no copy for a single ancestor."""
    return parts[0][None] if len(parts) == 1 else torch.stack(list(parts))
