"""The hidden layers of transformers, read while they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tasearch
from tasearch.chains.recipe import HIDDEN
from tasearch.errors import ModelError
from tasearch.models.families import FAMILIES
from tasearch.models.hf import hf_factory
from tasearch.models.hidden import HiddenSizes, hidden_sizes, read_hidden
from tasearch.models.wrappers import OnlyLogits, taking
from tasearch.train.hidden import HiddenLoss
from tests.helpers.encoders import IDS, KINDS, TOKENS, encoders, folder_of, texts


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


SHAPE: dict[str, Any] = {"in_shape": (8,), "num_classes": 3, "tokens": TOKENS}


def test_layers_of_a_transformer_are_those_that_it_computes() -> None:
    net = FAMILIES["transformer"](16, **SHAPE, layers=3, heads=2, norm="post")
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    assert hidden_sizes(net) == HiddenSizes(width=16, blocks=3, heads=2, vectors=(16, 16, 16))
    own: Any = net
    x = own.norm(own.words(texts()) + own.places)
    logits, layers = read_hidden(OnlyLogits(net), texts())
    torch.testing.assert_close(layers.embeddings, x)
    assert torch.equal(layers.mask[:, 1:], texts()[:, 1:] != 0) and bool(layers.mask[:, 0].all())
    for block, state in zip(own.blocks, layers.states, strict=True):
        before, x = x, block(x, layers.mask)
        torch.testing.assert_close(state, x)
    expected = own.blocks[-1].attention.inputs(before).chunk(3, dim=2)
    for found, vectors in zip(layers.vectors, expected, strict=True):
        torch.testing.assert_close(found, vectors)
    assert torch.equal(logits, net(texts()))


@KINDS
def test_layers_of_an_encoder_are_those_that_its_package_returns(kind: str, tmp_path: Path) -> None:
    folder_of(tmp_path, kind)
    net = taking(IDS, hf_factory("hf:encoder", str(tmp_path), pretrained=True)(**SHAPE)).eval()
    inner: Any = net
    width, heads = (24, 12) if kind == "minilm" else (16, 2)
    assert hidden_sizes(net) == HiddenSizes(
        width=width, blocks=2, heads=heads, vectors=(width, width, width)
    )
    given: dict[str, Any] = {}
    package = inner.net.net
    package.register_forward_pre_hook(lambda m, args, kw: given.update(kw), with_kwargs=True)
    logits, layers = read_hidden(net, texts())
    returned = package(**given, output_hidden_states=True)
    for found, expected in zip(
        (layers.embeddings, *layers.states), returned.hidden_states, strict=True
    ):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logits, returned.logits)
    last = next(m for name, m in package.named_modules() if name.endswith(".1"))
    named = dict(last.named_modules())
    names = [name for name in named if name.endswith((".query", "q_lin"))]
    (query,) = names
    torch.testing.assert_close(layers.vectors[0], named[query](layers.states[0]))
    assert len({tuple(v[0, 0].tolist()) for v in layers.vectors}) == 3


@KINDS
def test_transformer_learns_from_an_encoder(kind: str, tmp_path: Path) -> None:
    folder_of(tmp_path, kind)
    teacher = hf_factory("hf:encoder", str(tmp_path), pretrained=True)(**SHAPE).eval()
    net = FAMILIES["transformer"](12, **SHAPE, layers=1, heads=1)
    loss = HiddenLoss(HIDDEN, hidden_sizes(net), hidden_sizes(teacher))
    # the largest divisor of 12 and 24, or 12 and 16, up to the teacher's number of heads
    assert loss.heads == (12 if kind == "minilm" else 2)
    _, own = read_hidden(net, texts())
    value = loss.of_batch(own, teacher, texts())
    value.backward()  # type: ignore[no-untyped-call]
    assert bool(value.isfinite()) and all(
        p.grad is not None and bool(p.grad.isfinite().all()) for p in loss.parameters()
    )


def test_model_whose_layers_are_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^it is neither of the family 'transformer' nor an enc"):
        hidden_sizes(nn.Linear(3, 3))
    shapes = {"embedding_size": 8, "hidden_size": 16, "num_attention_heads": 2}
    # its blocks are one block, called again and again
    folder_of(tmp_path, "albert", **shapes, intermediate_size=32)
    net = hf_factory("hf:encoder", str(tmp_path), pretrained=True)(**SHAPE)
    with pytest.raises(ModelError, match=r"^its blocks should be one list of modules named layer"):
        hidden_sizes(net)
    study = encoders(tmp_path, student={"widths": ["s"], "epochs": 1, "hidden": "states"})
    with pytest.raises(
        ModelError, match=r'^student\.hidden: should be "none": the model .*: its b'
    ):
        tasearch.run(study, runs_dir=tmp_path / "runs")


@pytest.mark.slow
def test_study_of_encoders_learns_from_hidden_layers(tmp_path: Path) -> None:
    folder_of(tmp_path)
    own = {"widths": ["s"], "epochs": 1, "hidden": "states+relations+embeddings"}
    study = encoders(tmp_path, student=own, assistants={"max": 0, "widths": []})
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    tasearch.export(run, tmp_path / "winner")
    card = (tmp_path / "winner" / "README.md").read_text()
    assert "the student also learned from the hidden states and relations and embeddings" in card
    student = tasearch.load(tmp_path / "winner")
    ids = torch.tensor([[5, 1, 7, 0, 0, 0, 0, 0]])
    assert np.isfinite(student(ids).detach().numpy()).all()
