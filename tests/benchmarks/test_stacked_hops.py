"""The plain loop of several replicates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.inheritance import inherit
from benchmarks.stacked_hops import FROM_LABELS, Hops, Method, Trained, cuts
from tasearch.chains.keys import derived_seed
from tasearch.config.study_file import parse_study
from tasearch.train.losses import LOSSES, Terms
from tasearch.train.schedules import cosine

STUDY = parse_study(
    {
        "data": {"validation": 0.2, "test": 0.7, "limit": 160},
        "model": {"family": "cnn"},
        "teacher": {"width": 8},
        "assistants": {"max": 0, "widths": []},
        "student": {"widths": [3]},
    }
)
METHODS = (
    Method(loss="dist"),
    Method(loss="kd", inherits=True, rate=0.5),
    Method(loss="dist", feature="attention", weight=10.0),
    Method(loss="dist", inherits=True, feature="projected", weight=5.0),
)


@pytest.fixture(scope="module")
def hops() -> Hops:
    return Hops(STUDY, (0, 5))


@pytest.fixture(scope="module")
def teacher(hops: Hops) -> Trained:
    return hops.train(8, FROM_LABELS, 3)


def by_hand(hops: Hops, teacher: Trained, method: Method, epochs: int) -> torch.nn.Sequential:
    """The second replicate's student of width 3, trained by torch's own modules and AdamW."""
    net, wide, recipe = hops.drawn(3)[1], teacher.nets[1], hops.recipe(method, epochs)
    if method.inherits:
        inherit(net, wide)
    blocks, teachers = cuts(net), cuts(wide)
    projections = []
    for i, ratio in enumerate((1, 2)):
        conv = torch.nn.Conv2d(3 * ratio, 8 * ratio, 1)
        generator = torch.Generator().manual_seed(derived_seed("projection", 5, 3))
        drawn = 2 * torch.rand(8 * ratio, 3 * ratio, generator=generator) - 1
        conv.weight.data = (drawn * (3 * ratio) ** -0.5)[..., None, None]
        torch.nn.init.zeros_(conv.bias)
        projections.append(conv)
        assert len(blocks) == 3 and i < 2
    parameters = [*net.parameters(), *(p for conv in projections for p in conv.parameters())]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    size, step = recipe.batch_size, 0
    steps = epochs * (len(hops.x) // size)
    terms = Terms(temperature=recipe.temperature, alpha=recipe.alpha)
    net.train()
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(derived_seed("order", 5, 3, epoch))
        order = torch.randperm(len(hops.x), generator=generator)
        for start in range(0, len(order) - size + 1, size):
            batch = order[start : start + size]
            for group in optimizer.param_groups:
                group["lr"], _ = cosine(step, steps, recipe)
            own, other, feature = hops.x[batch], hops.x[batch], torch.zeros(())
            for block, wider, project in zip(blocks, teachers, projections, strict=False):
                own = block(own)
                other = wider(other).detach()
                if method.feature == "attention":
                    maps = [F.normalize(f.pow(2).mean(1).flatten(1)) for f in (own, other)]
                    feature = feature + F.mse_loss(*maps)
                elif method.feature == "projected":
                    feature = feature + F.mse_loss(project(own), other)
            targets = teachers[-1](other).detach()
            loss = LOSSES[method.loss](blocks[-1](own), hops.y[batch], targets, terms)
            optimizer.zero_grad()
            (loss + method.weight * feature).backward()
            optimizer.step()
            step += 1
    assert step == steps > 3
    return net


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_stacked_replicate_ends_as_if_trained_alone(
    hops: Hops, teacher: Trained, method: Method
) -> None:
    found = hops.train(3, method, 2, teacher).nets[1]
    expected = by_hand(hops, teacher, method, 2)
    start = hops.drawn(3)[1].state_dict()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=2e-3, atol=2e-4)
        assert name.endswith("num_batches_tracked") or not torch.equal(value, start[name])


def test_replicate_does_not_depend_on_the_others(hops: Hops, teacher: Trained) -> None:
    alone = Hops(STUDY, (5,))
    one = alone.restored(8, [teacher.nets[1].state_dict()])
    for method in METHODS:
        found = alone.train(3, method, 1, one).nets[0].state_dict()
        for name, value in hops.train(3, method, 1, teacher).nets[1].state_dict().items():
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=2e-4)


def test_flops_of_projections_are_those_of_their_convolutions(hops: Hops) -> None:
    assert hops.projection_flops(3, 8) == 2 * (3 * 8 * 16 + 6 * 16 * 4)
    assert hops.flops(3) == 2 * (9 * 3 * 64 + 9 * 3 * 6 * 16 + 6 * 10)
