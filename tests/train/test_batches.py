"""What a model learns from, epoch by epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tasearch.train.batches import EpochPlan, epoch_order
from tests.helpers.clusters import SAMPLES, problem
from tests.helpers.training import DEVICES


def test_epoch_shows_each_sample_once_and_leaves_rest_for_another() -> None:
    state, job = problem(0, batch_size=64)
    size = state.recipe.batch_size
    plans = [EpochPlan(state.recipe, job, epoch) for epoch in (0, 1)]
    shown = [torch.cat([batch.x for batch in plan.batches()]) for plan in plans]
    for plan, x in zip(plans, shown, strict=True):
        assert plan.steps == SAMPLES // size
        assert len(x) == plan.steps * size
        assert len(x.unique(dim=0)) == len(x)
    assert not torch.equal(*shown)


def test_order_is_the_same_for_all_chains_and_another_for_all_else() -> None:
    """The recipe, which names the chain's losses and guidance, takes no part in it."""
    (_, job), (_, other) = problem(0), problem(0, loss="dist", guidance="dense")
    order = epoch_order(job, 0)
    assert order.sort().values.tolist() == [*range(SAMPLES)]
    assert torch.equal(order, epoch_order(other, 0))
    others = [
        epoch_order(job, 1),
        epoch_order(replace(job, seed_parts=(0, 0, 8)), 0),  # another width
        epoch_order(replace(job, seed_parts=(0, 1, 16)), 0),  # another replicate
        epoch_order(replace(job, seed_parts=(1, 0, 16)), 0),  # another study
    ]
    assert not any(torch.equal(order, another) for another in others)


@pytest.mark.parametrize("device", DEVICES)
def test_order_is_the_same_on_every_device(device: str) -> None:
    _, job = problem(0)
    moved = epoch_order(replace(job, y=job.y.to(device)), 0)
    assert moved.device.type == device
    assert torch.equal(moved.cpu(), epoch_order(job, 0))
