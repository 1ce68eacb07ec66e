"""A rung evaluates the study's metric on all logits, whichever loop trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tasearch.train.fast.stacked_loop import train_models
from tasearch.train.loop import predict, train_in_turn
from tasearch.train.metrics import METRICS
from tests.helpers.clusters import problem


@pytest.mark.parametrize("name", METRICS)
def test_every_loop_evaluates_the_metric(name: str) -> None:
    """With class weights too; the last value is that of the model as it is then."""
    weights = torch.tensor([0.5, 0.5, 1.0, 2.0])
    curves = []
    for stacked in (False, True):
        both = [problem(seed, epochs=3) for seed in range(2)]
        states = [state for state, _ in both]
        jobs = [replace(job, score=METRICS[name], class_weights=weights) for _, job in both]
        results = train_models(states, jobs, slots=2) if stacked else train_in_turn(states, jobs)
        told = [[result.accuracy for result in epoch] for epoch in results]
        assert told == [list(values) for values in zip(*(s.curve for s in states), strict=True)]
        for state, job in zip(states, jobs, strict=True):
            x, y = job.validation
            assert state.curve[-1] == float(METRICS[name](predict(state.net, x), y))
        curves.append([state.curve for state in states])
    torch.testing.assert_close(*map(torch.tensor, curves), rtol=0, atol=0.03)
    plain, _ = problem(0, epochs=3)
    list(train_in_turn([plain], [problem(0, epochs=3)[1]]))
    own = (state.net.state_dict()["0.weight"] for state in (plain, states[0]))
    assert not torch.equal(*own)  # without the weights it is another model
