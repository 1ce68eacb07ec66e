"""The published families: their sizes, their widths, and what their models must be able to do."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

import tasearch
from tasearch.chains.hop import Hop
from tasearch.errors import ModelError
from tasearch.models import FAMILIES, Models
from tasearch.models.families import TAKE_IDS
from tasearch.models.plain import WIDTHS as PLAIN
from tasearch.models.resnet import WIDTHS as RESNET
from tasearch.models.vit import DEPTH, Attention, Block, Tokens
from tasearch.profiling.counts import forward_flops, parameters
from tests.helpers.recipes import SETTING
from tests.helpers.studies import IMAGES_ONLY, LADDERS, tiny

CIFAR = (3, 32, 32)
SIZES = [  # of three CIFAR-10 channels: parameters, millions of multiply-adds
    ("plain", 2, 13_082, 1.04),
    ("plain", 4, 37_338, 6.36),
    ("plain", 6, 82_778, 9.89),
    ("plain", 8, 327_962, 13.45),
    ("plain", 10, 2_487_850, 71.80),
    ("resnet", 8, 78_042, 12.50),
    ("resnet", 20, 272_474, 40.81),
    ("resnet", 56, 855_770, 125.75),
    ("resnet", 110, 1_730_714, 253.15),
]


def built(family: str, width: int, in_shape: tuple[int, ...] = CIFAR, **more: Any) -> nn.Module:
    return FAMILIES[family](width, **{"in_shape": in_shape, "num_classes": 10, **more})


def models(family: str, in_shape: tuple[int, ...] = (1, 8, 8), **section: Any) -> Models:
    wide, *rest = LADDERS[family]
    ladder = {"teacher": {"width": wide}, "assistants": {"max": 0}, "student": {"widths": rest}}
    study = tiny(model={"family": family, **section}, **ladder)
    one = torch.ones(())
    return Models(study=study, in_shape=in_shape, num_classes=10, mean=one, std=one)


@pytest.mark.parametrize(("family", "width", "params", "mmac"), SIZES)
def test_families_have_published_sizes(family: str, width: int, params: int, mmac: float) -> None:
    net = built(family, width)
    assert parameters(net) == params
    assert round(forward_flops(net, CIFAR) / 2e6, 2) == mmac


def test_plain_uses_the_large_network_for_more_than_ten_classes() -> None:
    def linear(inputs: int, outputs: int) -> int:
        return (inputs + 1) * outputs

    def conv(inputs: int, outputs: int) -> int:
        return linear(9 * inputs, outputs) + 2 * outputs

    stem = conv(3, 32) + conv(32, 32)
    blocks = [stem, conv(32, 64) + conv(64, 64), conv(64, 128) + conv(128, 128)]
    last = conv(128, 256) + conv(256, 256)
    expected = {
        2: stem + linear(32 * 8 * 8, 100),
        4: sum(blocks[:2]) + linear(64 * 8 * 8, 100),
        6: sum(blocks) + linear(128 * 8 * 8, 100),  # two poolings
        8: sum(blocks) + last + linear(256 * 2 * 2, 64) + linear(64, 100),
        10: sum(blocks) + last + 2 * conv(256, 256) + linear(256 * 2 * 2, 512) + linear(512, 100),
    }
    assert {w: parameters(built("plain", w, num_classes=100)) for w in PLAIN} == expected
    assert sorted(expected.values()) == [expected[w] for w in PLAIN]
    assert parameters(built("plain", 2, num_classes=11)) == stem + linear(32 * 8 * 8, 11)


def test_every_family_has_a_ladder_to_test() -> None:
    assert set(LADDERS) == set(FAMILIES) - set(TAKE_IDS)
    assert set(IMAGES_ONLY) < set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "width", "message"),
    [
        ("plain", 5, "2, 4, 6, 8 or 10 (convolutions), found 5; nearest: 4 and 6"),
        ("plain", 1, "2, 4, 6, 8 or 10 (convolutions), found 1; nearest: 2"),
        ("plain", 64, "2, 4, 6, 8 or 10 (convolutions), found 64; nearest: 10"),
        (
            "resnet",
            50,
            "8, 14, 20, 26, 32, 44, 56 or 110 (layers), found 50; nearest: 44 and 56",
        ),
    ],
)
def test_build_refuses_an_unknown_width(family: str, width: int, message: str) -> None:
    with pytest.raises(ModelError) as error:
        models(family).build(width)
    assert str(error.value) == f"model.family: {family!r}: width should be {message}"


@pytest.mark.parametrize("family", IMAGES_ONLY)
def test_build_refuses_flat_features(family: str) -> None:
    with pytest.raises(ModelError) as error:
        models(family, (64,)).build(8)
    assert str(error.value) == (
        f"model.family: {family!r}: samples should be (channels, height, width), found (64,)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", IMAGES_ONLY)
@pytest.mark.parametrize("in_shape", [(1, 28, 28), (1, 8, 8), CIFAR, (4, 3, 50)], ids=str)
def test_check_accepts_all_widths_of_the_published_families(
    family: str, in_shape: tuple[int, ...]
) -> None:
    widths = {"plain": PLAIN, "resnet": RESNET[:4]}.get(family, LADDERS[family][::-1])
    made = models(family, in_shape)
    made.check(widths[::-1])
    for width in widths:
        logits = made.build(width).eval()(torch.zeros(2, *in_shape))
        assert logits.shape == (2, made.num_classes)


def test_plain_omits_pooling_that_would_leave_no_pixel() -> None:
    pools = {
        side: sum(isinstance(m, nn.MaxPool2d) for m in built("plain", 8, (1, side, side)))
        for side in (1, 2, 7, 8, 28)
    }
    assert pools == {1: 0, 2: 1, 7: 2, 8: 3, 28: 4}


def test_biases_before_batch_norms_change_nothing() -> None:
    """So they stay zero: logits do not depend on them, and gradients with them are the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, x = built("plain", 6).double().train(), torch.randn(8, *CIFAR).double()
    free = copy.deepcopy(net)
    for conv in (m for m in free.modules() if isinstance(m, nn.Conv2d)):
        assert conv.bias is not None
        nn.init.normal_(conv.bias).requires_grad_()
    ours, theirs = net(x), free(x)
    assert torch.allclose(ours, theirs)
    for logits in (ours, theirs):
        logits.square().mean().backward()
    for (name, a), (_, b) in zip(net.named_parameters(), free.named_parameters(), strict=True):
        if a.requires_grad:
            assert a.grad is not None and b.grad is not None
            assert torch.allclose(a.grad, b.grad), name
        else:
            assert name.endswith("bias") and not a.any() and b.grad is not None
            assert b.grad.abs().max() < 1e-12, name


@pytest.mark.parametrize("multiplier", [0.01, 0.5, 1.0, 2.0])
def test_multiplier_scales_the_channels(multiplier: float) -> None:
    a, b, c = (max(1, round(multiplier * base)) for base in (16, 32, 64))
    convs = 9 * (3 * a + 2 * a * a + a * b + b * b + b * c + c * c) + a * b + b * c
    norms = 2 * (3 * a + 3 * b + 3 * c)  # of stem, two convolutions a block, two shortcuts
    net = models("resnet", CIFAR, multiplier=multiplier).build(8)
    assert parameters(net) == convs + norms + (c + 1) * 10


def test_name_of_a_family_holds_its_multiplier() -> None:
    names = {m: models("resnet", multiplier=m).family for m in (1, 1.0, 0.5, 2)}
    assert names == {1: "resnet", 0.5: "resnet x0.5", 2: "resnet x2.0"}
    assert {models(name).family for name in LADDERS} == set(LADDERS)


def test_multiplier_changes_keys() -> None:
    keys = []
    for multiplier in (1, 1.0, 0.5):
        made = models("resnet", multiplier=multiplier)
        setting = replace(SETTING, family=made.family)
        keys.append(Hop(lineage=(made.teacher(),)).key(setting))
    assert keys[0] == keys[1] != keys[2]
    named = replace(SETTING, family="resnet")
    assert keys[0] == Hop(lineage=(models("resnet").teacher(),)).key(named)


@pytest.mark.parametrize("family", IMAGES_ONLY)
def test_stacked_gradients_equal_those_of_each_model(family: str) -> None:
    """Gradients of several models in one call equal those of each model alone."""
    nets = [models(family).build(8, seed).train() for seed in (1, 2)]
    x = torch.randn(5, 1, 8, 8)

    def loss(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        logits: Tensor = functional_call(nets[0], (params, buffers), (x,))
        return logits.square().mean()

    params, buffers = stack_module_state(copy.deepcopy(nets))  # type: ignore[arg-type]
    stacked = vmap(grad(loss))(params, buffers)
    for i, net in enumerate(nets):
        net(x).square().mean().backward()
        for name, param in net.named_parameters():
            grad_alone = param.grad if param.requires_grad else torch.zeros_like(param)
            assert grad_alone is not None
            assert torch.allclose(stacked[name][i], grad_alone, atol=1e-5, rtol=1e-3), name
        for name, buffer in net.named_buffers():
            assert torch.allclose(buffers[name][i], buffer, atol=1e-5), name


@pytest.mark.parametrize("family", IMAGES_ONLY)
def test_channels_last_gives_the_same_logits(family: str) -> None:
    net = built(family, 8).eval()
    x = torch.randn(3, *CIFAR)
    with torch.no_grad():
        expected = net(x)
        last = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert torch.allclose(last(x.to(memory_format=torch.channels_last)), expected, atol=1e-5)


@pytest.mark.parametrize("width", [1, 8, 32])
def test_mobile_has_the_sizes_of_its_blocks(width: int) -> None:
    """Stem, then of each block nine weights a channel and a 1x1 convolution, with two norms."""
    plan = [(1, 2), (2, 4), (4, 4), (4, 8), (8, 8)]  # of the blocks: channels in and out, in widths
    stem = 9 * 3 * width + 2 * width
    blocks = sum(9 * a * width + 2 * a * width + a * b * width**2 + 2 * b * width for a, b in plan)
    net = built("mobile", width)
    assert parameters(net) == stem + blocks + (8 * width + 1) * 10
    pixels = [32**2, 16**2, 16**2, 8**2, 8**2]  # of each block's outputs
    macs = sum((9 * a + a * b * width) * n for (a, b), n in zip(plan, pixels, strict=True))
    assert forward_flops(net, CIFAR) == 2 * width * (27 * 32**2 + macs + 8 * 10)


def test_attention_is_that_of_torch() -> None:
    attention = Attention(20).double()
    nn.init.normal_(attention.output.weight)
    x = torch.randn(3, 7, 20, dtype=torch.float64)
    parts = (x @ attention.inputs.weight.T + attention.inputs.bias).chunk(3, dim=2)
    heads = [part.view(3, 7, 3, 8).transpose(1, 2) for part in parts]  # 20 features: three heads
    mixed = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(3, 7, 24)
    expected = mixed @ attention.output.weight.T + attention.output.bias
    torch.testing.assert_close(attention(x), expected)


def test_block_of_a_transformer_starts_as_the_identity() -> None:
    x = torch.randn(2, 5, 12)
    assert torch.equal(Block(12)(x), x)
    net = built("vit", 12)
    assert sum(isinstance(module, Block) for module in net.modules()) == DEPTH


@pytest.mark.parametrize(
    ("in_shape", "count"),
    [(CIFAR, 64), ((1, 28, 28), 49), ((1, 8, 8), 16), ((1, 1, 1), 1), ((4, 3, 50), 16)],
    ids=str,
)
def test_tokens_cover_every_pixel(in_shape: tuple[int, ...], count: int) -> None:
    x = torch.randn(1, *in_shape, requires_grad=True)
    tokens = Tokens(6, in_shape)(x)
    assert tokens.shape == (1, count, 6)
    tokens.sum().backward()
    assert x.grad is not None and bool((x.grad != 0).all())


def test_transformer_refuses_a_width_whose_norms_are_constant() -> None:
    with pytest.raises(ModelError) as error:
        models("vit").build(1)
    assert str(error.value) == (
        "model.family: 'vit': width should be at least 2 (features of a token), found 1"
    )


def short(family: str, teacher: int, assistant: int, student: int, **section: Any) -> Any:
    return tiny(
        name=family,
        model={"family": family, **section},
        teacher={"width": teacher, "epochs": 1},
        assistants={"max": 1, "widths": [assistant], "epochs": 1},
        student={"widths": [student], "epochs": 1},
        search={"trials": 2, "rungs": 1},
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mobile", "plain", "vit"])
def test_study_of_images_completes(tmp_path: Path, family: str) -> None:
    run = tasearch.run(short(family, 6, 4, 2), runs_dir=tmp_path)
    assert {t.state for t in run.trials} == {"complete"}
    assert {t.chain for t in run.trials if not t.free} == {(6, 2), (6, 4, 2)}
    assert {t.chain for t in run.trials if t.free} == {(6, 4)}


@pytest.mark.slow
def test_export_keeps_multiplier_of_narrow_resnet(tmp_path: Path) -> None:
    study = short("resnet", 20, 14, 8, multiplier=0.25)
    run = tasearch.run(study, runs_dir=tmp_path)
    tasearch.export(run, tmp_path / "out")
    net = tasearch.load(tmp_path / "out")
    width = run.best().chain[-1]  # of the student, or of the assistant, which is one too
    assert parameters(net) == parameters(built("resnet", width, (1, 8, 8), multiplier=0.25))
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
