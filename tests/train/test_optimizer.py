from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tasearch.chains.recipe import Recipe
from tasearch.train.optimizer import OPTIMIZERS, Average, Flat, clip, set_rates
from tasearch.train.schedules import SCHEDULES
from tests.helpers.recipes import KD

FLAT = replace(KD, warmup=0.0, weight_decay=0.05, learning_rate=0.1)
RECIPES = [FLAT, replace(FLAT, optimizer="sgd"), replace(FLAT, optimizer="sgd", momentum=0.0)]


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def loss(model: nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(step))
    return (model(x.to(next(model.parameters()).dtype)) - 1).square().mean()


def usual(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The same optimizer as a tutorial sets it up, on each parameter."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=0.1)
    momentum = recipe.momentum
    return torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=momentum > 0)


@pytest.mark.parametrize("recipe", RECIPES, ids=["adamw", "nesterov", "plain sgd"])
@pytest.mark.parametrize("largest", [None, 0.5])
def test_flat_parameters_train_like_single_ones(recipe: Recipe, largest: float | None) -> None:
    a, b = net(), net()
    flat = Flat(a)
    ours, theirs = OPTIMIZERS[recipe.optimizer](flat, recipe), usual(b, recipe)
    for step in range(6):
        flat.zero_grad()
        loss(a, step).backward()
        theirs.zero_grad()
        loss(b, step).backward()
        if largest is not None:
            norm = clip(flat, largest)
            assert torch.allclose(norm, nn.utils.clip_grad_norm_(b.parameters(), largest))
        ours.step()
        theirs.step()
        for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-5), (name, step)
    assert not torch.allclose(next(a.parameters()), next(net().parameters()))


def test_flattening_keeps_values_names_and_memory_formats() -> None:
    flattened, kept = net(), net()
    Flat(flattened)
    for (name, p), (other, q) in zip(
        flattened.named_parameters(), kept.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(p, q)
        assert p.stride() == q.stride()


def test_optimizer_keeps_frozen_parameters() -> None:
    model = net()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    flat = Flat(model)
    optimizer = OPTIMIZERS["adamw"](flat, FLAT)
    flat.zero_grad()
    loss(model, 0).backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_optimizer_decays_no_norms_and_biases() -> None:
    model = net()
    flat = Flat(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    flat.zero_grad()
    OPTIMIZERS["adamw"](flat, FLAT).step()  # 0.1 of 0.05 decays, and nothing else happens
    for name, p in model.named_parameters():
        kept = 0.995 if p.ndim > 1 else 1.0
        assert torch.allclose(p, kept * before[name], rtol=1e-6), name


def test_cosine_reaches_its_peak_and_falls_to_zero() -> None:
    recipe = replace(KD, learning_rate=0.5, warmup=0.1)
    rates = [SCHEDULES["cosine"](step, 100, recipe)[0] for step in range(100)]
    assert max(rates) == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    assert SCHEDULES["cosine"](0, 10, replace(recipe, warmup=0.0)) == (0.5, None)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_one_cycle_equals_torchs(optimizer: str) -> None:
    recipe = replace(FLAT, optimizer=optimizer, schedule="one-cycle", warmup=0.3)
    ours, theirs = OPTIMIZERS[optimizer](Flat(net()), recipe), usual(net(), recipe)
    torchs = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, total_steps=40, pct_start=0.3)
    for step in range(40):
        set_rates(ours, *SCHEDULES["one-cycle"](step, 40, recipe))
        for group in theirs.param_groups:
            momentum = group["momentum"] if optimizer == "sgd" else group["betas"][0]
            assert (ours.rate, ours.momentum) == pytest.approx((group["lr"], momentum))
        theirs.step()
        torchs.step() if step < 39 else None


@pytest.mark.parametrize("recipe", RECIPES, ids=["adamw", "nesterov", "plain sgd"])
def test_rates_in_tensors_equal_rates_in_numbers(recipe: Recipe) -> None:
    """As recorded steps have them, which the kernels cannot read a momentum from."""
    models = net().double(), net().double()
    pairs = [(flat, OPTIMIZERS[recipe.optimizer](flat, recipe)) for flat in map(Flat, models)]
    for step in range(40):
        rate, momentum = SCHEDULES["one-cycle"](step, 40, recipe)
        assert momentum is not None
        tensors = torch.tensor([rate, momentum], dtype=torch.float64)
        both = (rate, momentum), tensors
        for model, (flat, optimizer), rates in zip(models, pairs, both, strict=True):
            set_rates(optimizer, *rates)
            flat.zero_grad()
            loss(model, step).backward()
            optimizer.step()
        for (name, p), q in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
            assert torch.allclose(p, q, rtol=1e-9), (name, step)
    start = next(net().double().parameters())
    assert not torch.allclose(next(models[0].parameters()), start, atol=1e-2)


def test_average_follows_weights_and_swaps_with_them() -> None:
    model = net()
    flat = Flat(model)
    average = Average(flat, 0.5)
    expected = [t.detach().clone() for t in flat.tensors]
    for step in range(12):
        for tensor, value in zip(flat.tensors, expected, strict=True):
            tensor.data.add_(1.0)
            value.lerp_(tensor.detach(), 1 - min(0.5, (1 + step) / (10 + step)))
        average.update(step)
    live = [p.clone() for p in model.parameters()]
    average.swap()
    assert torch.allclose(flat.tensors[0], expected[0])
    assert not any(torch.equal(p, q) for p, q in zip(model.parameters(), live, strict=True))
    average.swap()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), live, strict=True))


def test_flattening_keeps_weights_tied() -> None:
    one, two = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    two.weight = one.weight
    model = nn.Sequential(one, two)
    flat = Flat(model)
    assert sum(t.numel() for t in flat.tensors) == 16
    flat.zero_grad()
    model(torch.ones(1, 4)).sum().backward()
    OPTIMIZERS["sgd"](flat, FLAT).step()
    assert torch.equal(one.weight, two.weight)
