"""Soft targets: an ancestor's logits on the augmented training set, computed once and stored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tasearch.errors import TrainingError
from tasearch.models.wrappers import pad_of
from tasearch.runs import heartbeat
from tasearch.runs.store import HopRecord, Store
from tasearch.train.augmentation import ViewedData
from tasearch.train.layout import evaluation_batch
from tasearch.train.lengths import predict_texts

CPU_BYTES = 256 * 2**20  # size of the targets that a trainer holds in memory, on CPU
GPU_FRACTION = 1 / 8  # fraction of a GPU's memory that they may take


class Targets:
    """Logits by hop and phase of the augmentation: from memory, from the store, or from the model.

    The store has a file for each phase: a model that is stopped early then costs only the phases
    that it saw, and of several workers which need the same phase, one computes it.

    Args:
        views: The augmented training set, for each replicate.
        store: Where the logits are stored, in `targets/`.
        limit: Largest size on disk in bytes; the least recently used files are deleted first.
    """

    def __init__(self, views: Sequence[ViewedData], store: Store, limit: float) -> None:
        self._views, self._store, self._limit = views, store, limit
        self._held: OrderedDict[str, list[Tensor]] = OrderedDict()
        self._room = _bytes_in_memory(views[0].device)

    def get(
        self,
        key: str,
        epoch: int,
        nets: Callable[[], Sequence[nn.Module]],
        record: Callable[[], HopRecord],
    ) -> list[Tensor]:
        """The logits of one ancestor in each replicate.

        Args:
            key: Key of the ancestor's hop; name of a snapshot where it teaches at an earlier rung.
            epoch: Number of the epoch, from 0, whose phase of the augmentation the logits are on.
            nets: Function to the ancestor's models, in eval mode on the device; called only if the
                logits must be computed.
            record: Function to the ancestor's record; called only then, too.

        Returns:
            float16 (samples, classes) for each replicate, on the device.

        Raises:
            TrainingError: If a logit does not fit 16 bits.
        """
        phase = self._views[0].phase(epoch)
        name = f"{key}-{phase}"
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        with self._store.alone(name):  # of several workers that need a phase, one computes it
            logits = self._load(name)
            if logits is None:
                logits = self._compute(nets(), phase)
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

    def _compute(self, nets: Sequence[nn.Module], phase: int) -> list[Tensor]:
        pairs = zip(nets, self._views, strict=True)
        logits = [view_logits(net, views, phase).half() for net, views in pairs]
        if not all(bool(part.isfinite().all()) for part in logits):
            raise TrainingError("the logits of an ancestor do not fit 16 bits")
        return logits


def _bytes_in_memory(device: torch.device) -> int:
    """Largest size in bytes of the targets in memory."""
    if device.type != "cuda":
        return CPU_BYTES
    return int(torch.cuda.get_device_properties(device).total_memory * GPU_FRACTION)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@torch.no_grad()
def view_logits(net: nn.Module, views: ViewedData, phase: int) -> Tensor:
    """A model's logits on one phase of the augmentation, float32 (samples, classes)."""
    samples, numbers = torch.arange(len(views), device=views.device), views.numbers(phase)
    pad = pad_of(net)
    if pad is not None:
        return predict_texts(net, views.batch(samples, numbers), pad)
    parts = torch.split(samples, evaluation_batch(views.device))
    return torch.cat([net(views.batch(part, numbers)) for part in heartbeat.each(parts)])


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (samples, classes) of several ancestors as one, (ancestors, samples, classes).

    A single ancestor's tensor is not copied.
    """
    return parts[0][None] if len(parts) == 1 else torch.stack(list(parts))
