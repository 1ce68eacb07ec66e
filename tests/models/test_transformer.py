"""The family `transformer`: padding, sizes, ONNX of any length, and whole studies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tasearch
from tasearch.data.ids import Ids, Tokens
from tasearch.errors import ModelError
from tasearch.models import Models, Standardized
from tasearch.models.families import FAMILIES, check_takes
from tasearch.models.tokens import tokens_of
from tasearch.models.wrappers import taking
from tasearch.profiling.counts import forward_flops, parameters
from tasearch.profiling.onnx import onnx_session, to_onnx
from tests.helpers.studies import tiny
from tests.helpers.texts import text_study

LENGTH, WORDS, CLASSES = 12, 50, 3
TOKENS = Tokens(vocabulary=WORDS, pad=1, cls=2, sep=3, length=LENGTH)
IDS = Ids(low=1, high=WORDS - 1, dtype="int64", tokens=TOKENS)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "post", "pooling": "cls", "heads": 4},
    {"segments": True},
]


def built(width: int = 48, **more: Any) -> nn.Module:
    """A model whose weights are all random, those that start at zero too."""
    options = {"in_shape": (LENGTH,), "num_classes": CLASSES, "tokens": TOKENS, **more}
    torch.manual_seed(0)
    net = FAMILIES["transformer"](width, **options).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def texts(count: int = 5) -> Tensor:
    """Texts of several lengths: the second has five tokens, the third has none."""
    ids = torch.randint(4, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(1))
    ids[1, 5:] = TOKENS.pad
    ids[2] = TOKENS.pad
    return ids


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_changes_no_answer(variant: dict[str, Any]) -> None:
    net, ids = built(**variant), texts()
    whole = net(ids)
    torch.testing.assert_close(net(ids[1:3, :5]), whole[1:3])
    torch.testing.assert_close(net(ids[1:3, :9].int()), whole[1:3])
    with torch.no_grad():
        net.words.weight[TOKENS.pad] += 1  # type: ignore[index, operator, union-attr]
    torch.testing.assert_close(net(ids[:2]), whole[:2])


def test_attention_reaches_every_token_and_its_place() -> None:
    net, ids = built(), texts()[:1]
    other, turned = ids.clone(), ids.flip(1)
    other[0, -1] = 4 if ids[0, -1] != 4 else 5
    assert not torch.allclose(net(other), net(ids), atol=1e-3)
    assert not torch.allclose(net(turned), net(ids), atol=1e-3)


def test_attention_on_cpu_is_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    net, ids, seen = built(), texts(), []
    fused = F.scaled_dot_product_attention

    def attention(query: Tensor, *rest: Tensor, **more: Tensor) -> Tensor:
        found = fused(query, *rest, **more)
        seen.append((query.dtype, found.dtype))
        return found

    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(ids)
    assert seen == [(torch.float32, torch.float32)] * len(net.blocks)  # type: ignore[arg-type]
    torch.testing.assert_close(logits.float(), net(ids), rtol=0.1, atol=0.1)


def test_segments_tell_the_second_text_of_a_pair() -> None:
    net, sep = built(segments=True), TOKENS.sep
    pair = torch.tensor([[2, 5, sep, 6, 7, sep, 1, 1], [2, 5, 6, 7, sep, 1, 1, 1]])
    before = net(pair)
    with torch.no_grad():
        net.second += torch.arange(48) / 48  # type: ignore[operator]
    changed = (net(pair) - before).abs().amax(dim=1)
    assert changed[0] > 1e-2 and changed[1] == 0
    plain = FAMILIES["transformer"](48, in_shape=(LENGTH,), num_classes=CLASSES, tokens=TOKENS)
    assert parameters(net) == parameters(plain) + 48
    bare = replace(TOKENS, sep=None)
    with pytest.raises(ModelError, match=r"the tokenizer ends texts with no token such as \[SEP\]"):
        built(segments=True, tokens=bare)


def test_blocks_with_norms_first_start_as_the_identity() -> None:
    net = FAMILIES["transformer"](16, in_shape=(6,), num_classes=2, tokens=TOKENS)
    x = torch.randn(2, 6, 16)
    for block in net.blocks:  # type: ignore[union-attr]
        assert torch.equal(block(x, torch.ones(2, 6, dtype=torch.bool)), x)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_onnx_equals_torch_at_any_length_and_batch_size(variant: dict[str, Any]) -> None:
    module = Standardized(taking(IDS, built(**variant)), torch.tensor(0.0), torch.tensor(1.0))
    session = onnx_session(to_onnx(module, (LENGTH,), torch.int64, any_length=True), threads=1)
    assert session.get_inputs()[0].shape == ["batch", "length"]
    for batch, length in ((1, LENGTH), (5, LENGTH), (4, 5), (2, 1)):
        ids = texts()[:batch, :length].contiguous()
        (logits,) = session.run(None, {"x": ids.numpy()})
        assert np.abs(logits - module(ids).detach().numpy()).max() < 1e-5


def test_size_and_operations_are_those_of_its_matrices() -> None:
    width, layers, inner = 24, 3, 40
    net = built(width, layers=layers, heads=2, feed_forward=inner)
    block = 4 * width * width + 4 * width + 2 * width * inner + inner + width + 4 * width
    around = (WORDS + LENGTH) * width + 2 * width + (width + 1) * CLASSES
    assert parameters(net) == layers * block + around
    products = 4 * width * width + 2 * width * inner + 2 * LENGTH * width  # of a token
    module = taking(IDS, net)
    assert forward_flops(module, (LENGTH,)) == 2 * (layers * LENGTH * products + width * CLASSES)


@pytest.mark.parametrize(
    ("width", "heads"), [(2, 1), (48, 1), (64, 2), (96, 3), (100, 2), (112, 2), (128, 4)]
)
def test_default_heads_divide_the_width_and_have_32_features(width: int, heads: int) -> None:
    net = FAMILIES["transformer"](width, in_shape=(6,), num_classes=2, tokens=TOKENS)
    assert net.blocks[0].attention.heads == heads  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": 1}, "width should be an integer of 2 or more, found 1"),
        ({"layers": 0}, "layers should be an integer of 1 or more, found 0"),
        ({"layers": 1.5}, "layers should be an integer of 1 or more, found 1.5"),
        ({"heads": True}, "heads should be an integer of 1 or more, found True"),
        ({"heads": 5}, "heads should divide the width 16, found 5"),
        ({"feed_forward": -1}, "feed_forward should be an integer of 1 or more, found -1"),
        ({"norm": "none"}, "norm should be pre or post, found 'none'"),
        ({"pooling": "max"}, "pooling should be mean or cls, found 'max'"),
        ({"segments": 1}, "segments should be true or false, found 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], words: str) -> None:
    options = {"width": 16, "in_shape": (6,), "num_classes": 2, "tokens": TOKENS, **arguments}
    with pytest.raises(ModelError) as error:
        FAMILIES["transformer"](**options)
    assert str(error.value) == words


def test_samples_that_are_no_token_ids_are_refused() -> None:
    with pytest.raises(ModelError, match=r"'transformer' takes token ids: texts"):
        check_takes("transformer", None)
    check_takes("transformer", IDS)
    with pytest.raises(ModelError, match=r"takes token ids: .* found samples of shape \(1, 8, 8\)"):
        FAMILIES["transformer"](16, in_shape=(1, 8, 8), num_classes=2)
    huge = Tokens(vocabulary=2**31, pad=0, cls=None, sep=None, length=6)
    with pytest.raises(ModelError, match=r"ids below 16,777,216, found a vocabulary of 2,147,4"):
        FAMILIES["transformer"](16, in_shape=(6,), num_classes=2, tokens=huge)


def test_meaning_of_ids_is_guessed_where_the_data_do_not_say_it() -> None:
    guessed = tokens_of(Ids(low=0, high=41, dtype="int32"), (7,), 3)
    assert guessed == Tokens(vocabulary=42, pad=3, cls=None, sep=None, length=7)
    assert tokens_of(IDS, (LENGTH,), 0) == TOKENS
    assert tokens_of(None, (1, 8, 8), 0) is None
    with pytest.raises(ModelError, match="token ids should be 0 or more, found -1"):
        tokens_of(Ids(low=-1, high=4, dtype="int32"), (7,), 0)


@pytest.mark.slow
def test_study_of_texts_trains_exports_and_loads(tmp_path: Path) -> None:
    study = text_study(tmp_path)
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    assert run.best().accuracy > 0.5  # a third is chance
    tasearch.export(run, tmp_path / "winner")
    student, ids = tasearch.load(tmp_path / "winner"), torch.tensor([[5, 1, 7, 0, 0, 0, 0, 0]])
    session = onnx_session(tmp_path / "winner" / "student.onnx", threads=1)
    for x in (ids, ids[:, :3]):
        (logits,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(logits, student(ids).detach().numpy(), atol=1e-5)


def test_plain_widths_need_no_sizes() -> None:
    ladder: dict[str, Any] = {
        "model": {"family": "transformer"},
        "teacher": {"width": 64},
        "assistants": {"max": 0},
        "student": {"widths": [32, 8]},
    }
    one = torch.ones(())
    study = tiny(**ladder)
    made = Models(study=study, in_shape=(LENGTH,), num_classes=2, mean=one, std=one, ids=IDS)
    assert [*made.check([64, 32, 8])] == [64, 32, 8]
    first, again = (made.build(32, seed).state_dict() for seed in (1, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
