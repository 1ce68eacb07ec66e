"""One step of training: forward, backward, update."""

from __future__ import annotations

import torch
from torch import Tensor

from tasearch.train.batches import Batch, EpochPlan
from tasearch.train.layout import arranged
from tasearch.train.state import Group


def learn(
    group: Group,
    plan: EpochPlan,
    batch: Batch,
    step: int | Tensor,
    *,
    bf16: bool,
    layout: torch.memory_format,
) -> Tensor:
    """Change a group's weights by one batch, at the rates that its optimizer has.

    Args:
        group: in training mode.
        plan: of its epoch.
        batch: of the plan's.
        step: of the epoch, from 0; int64 (1,) on the device where steps are recorded.
        bf16: whether the forward pass runs under bfloat16 autocast.
        layout: of inputs in memory.

    Returns:
        The loss of each model before the step, (models,), or of the one alone, ().
    """
    (x, rows), live, clip = batch, group.live, group.states[0].recipe.clip
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        logits = live.net(arranged(x, layout))
    if group.stacked:
        logits = logits.view(len(x), len(group.states), -1).transpose(0, 1)
    value = plan.value(logits.float(), rows, step)
    live.flat.zero_grad()
    value.sum().backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        group.clip(clip)
    live.optimizer.step()
    return value.detach()
