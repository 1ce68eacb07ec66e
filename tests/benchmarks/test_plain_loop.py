"""The loops that tasearch is compared with."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from benchmarks.plain_loop import WARM_STEPS, Clock, train_epoch
from tasearch.models import FAMILIES

BATCH = 4


def test_published_loop_differs_from_careful_one_by_teacher_gradients_only() -> None:
    steps = WARM_STEPS + 1
    images = np.random.default_rng(0).integers(0, 256, (steps * BATCH, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(len(images)) % 10
    torch.manual_seed(0)
    teacher, student = (FAMILIES["plain"](w, in_shape=(3, 8, 8), num_classes=10) for w in (4, 2))
    trained, gradients = {}, {}
    for published in (False, True):
        nets = copy.deepcopy(teacher), copy.deepcopy(student)
        torch.manual_seed(1)
        rate = train_epoch(*nets, images, labels, batch_size=BATCH, teacher_gradients=published)
        assert rate > 0
        trained[published] = nets[1].state_dict()
        gradients[published] = [p.grad is not None for p in nets[0].parameters() if p.requires_grad]
    assert all(gradients[True]) and not any(gradients[False])
    for name, value in trained[False].items():
        torch.testing.assert_close(trained[True][name], value)
    assert not torch.equal(trained[True]["0.weight"], student.state_dict()["0.weight"])


def test_clock_counts_steps_after_the_first_ones() -> None:
    clock = Clock(0.0)
    assert [clock.step_ends() for _ in range(WARM_STEPS)] == [False] * WARM_STEPS
    with pytest.raises(AssertionError, match="only those after 5 count"):
        clock.steps_per_s()
    assert clock.step_ends()
    assert clock.steps_per_s() == pytest.approx(1 / clock.elapsed)
