"""One step of training: forward, backward, update."""

from __future__ import annotations

import torch
from torch import Tensor

from tasearch.train.batches import Batch, Epoch
from tasearch.train.layout import arranged
from tasearch.train.state import Group


def learn(
    group: Group,
    lesson: Epoch,
    batch: Batch,
    step: int | Tensor,
    *,
    bf16: bool,
    layout: torch.memory_format,
) -> Tensor:
    """Change a group's weights by one batch, at the rates that its optimizer has.

    Args:
        group: in training mode.
        lesson: of its epoch.
        batch: of the lesson's.
        step: of the epoch, from 0; int64 (1,) on the device where steps are recorded.
        bf16: whether the forward pass runs under bfloat16 autocast.
        layout: of inputs in memory.

    Returns:
        The loss of each pupil before the step, (pupils,), or of the one alone, ().
    """
    (x, rows), body, clip = batch, group.body, group.states[0].recipe.clip
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        logits = body.net(arranged(x, layout))
    if group.fused:
        logits = logits.view(len(x), len(group.states), -1).transpose(0, 1)
    value = lesson.value(logits.float(), rows, step)
    body.flat.zero_grad()
    value.sum().backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        group.clip(clip)
    body.optimizer.step()
    return value.detach()
