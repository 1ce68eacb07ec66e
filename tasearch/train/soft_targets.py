"""Soft targets: an ancestor's raw logits on the training views, computed once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tasearch.errors import TrainingError
from tasearch.runs import heartbeat
from tasearch.runs.store import HopRecord, Store
from tasearch.train.augmentation import AugmentedData
from tasearch.train.layout import evaluation_batch

IN_MEMORY = 256 * 2**20  # bytes of targets that a trainer holds at once, on CPU
SHARE = 8  # on a GPU: its memory is divided by this


class Targets:
    """Logits by (hop, phase of views): from memory, else from the store, else from the model.

    On disk one file a phase, so that a model that is stopped early has cost no more phases than it
    saw, and so that workers which need the same phase at once write the same file.

    Args:
        views: of the training part, for each replicate.
        store: keeps them, under `targets/`.
        limit: bytes on disk; the oldest unused go first.
    """

    def __init__(self, views: Sequence[AugmentedData], store: Store, limit: float) -> None:
        self._views, self._store, self._limit = views, store, limit
        self._held: OrderedDict[str, list[Tensor]] = OrderedDict()
        self._room = _room(views[0].device)

    def get(
        self,
        key: str,
        phase: int,
        nets: Callable[[], Sequence[nn.Module]],
        record: Callable[[], HopRecord],
    ) -> list[Tensor]:
        """float16 (samples, classes) of one ancestor in each replicate, on the views' device.

        Args:
            key: the ancestor's.
            phase: of the views.
            nets: the ancestor's models in eval mode on the device, asked for only if needed.
            record: the ancestor's, likewise.

        Raises:
            TrainingError: where a logit does not fit 16 bits.
        """
        name = f"{key}-{phase}"
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        with self._store.alone(name):  # of several workers that need a phase, one makes it
            logits = self._load(name)
            if logits is None:
                logits = self._make(nets(), phase)
                parts = {str(i): part for i, part in enumerate(logits)}
                self._store.save("targets", name, parts, record())
                self._store.trim("targets", self._limit)
        self._held[name] = logits
        while sum(map(_bytes, self._held.values())) > self._room and len(self._held) > 1:
            self._held.popitem(last=False)
        return logits

    def _load(self, name: str) -> list[Tensor] | None:
        saved = self._store.load("targets", name)
        if saved is None:
            return None
        self._store.touch("targets", name)
        device = self._views[0].device
        return [saved[0][str(i)].to(device) for i in range(len(self._views))]

    def _make(self, nets: Sequence[nn.Module], phase: int) -> list[Tensor]:
        pairs = zip(nets, self._views, strict=True)
        logits = [view_logits(net, views, phase).half() for net, views in pairs]
        if not all(bool(part.isfinite().all()) for part in logits):
            raise TrainingError("the logits of an ancestor do not fit 16 bits")
        return logits


def _room(device: torch.device) -> int:
    """Bytes of targets to hold at once."""
    if device.type != "cuda":
        return IN_MEMORY
    return torch.cuda.get_device_properties(device).total_memory // SHARE


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@torch.no_grad()
def view_logits(net: nn.Module, views: AugmentedData, phase: int) -> Tensor:
    """float32 (samples, classes): a model's logits on one phase of the views."""
    samples, numbers = torch.arange(len(views), device=views.device), views.numbers(phase)
    parts = torch.split(samples, evaluation_batch(views.device))
    return torch.cat([net(views.batch(part, numbers)) for part in heartbeat.each(parts)])


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """(ancestors, samples, classes); no copy for a single ancestor."""
    return parts[0][None] if len(parts) == 1 else torch.stack(list(parts))
