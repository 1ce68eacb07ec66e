"""A recurrent and a bag-of-words student of a transformer, all of them the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tasearch
from tests.helpers.texts import text_study

OWN = """
import torch
from torch import nn

class Teacher(nn.Module):
    def __init__(self, tokens, classes, width=32):
        super().__init__()
        self.words = nn.Embedding(tokens.vocabulary, width)
        self.places = nn.Parameter(0.1 * torch.randn(tokens.length, width))
        layer = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, classes)

    def forward(self, ids, mask):
        x = self.words(ids) + self.places[: ids.shape[1]]
        x = self.blocks(x, src_key_padding_mask=~mask) * mask[:, :, None]
        return self.out(x.sum(1) / mask.sum(1, keepdim=True))

class Recurrent(nn.Module):
    def __init__(self, tokens, classes, width):
        super().__init__()
        self.words = nn.Embedding(tokens.vocabulary, width)
        self.cells = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, classes)

    def forward(self, ids, mask):
        states, _ = self.cells(self.words(ids))
        last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return self.out(states.gather(1, last).squeeze(1))

class Bag(nn.Module):
    def __init__(self, tokens, classes, width):
        super().__init__()
        self.words, self.out = nn.Embedding(tokens.vocabulary, width), nn.Linear(width, classes)

    def forward(self, ids, mask):
        return self.out((self.words(ids) * mask[:, :, None]).sum(1))

KINDS = {"recurrent": Recurrent, "bag": Bag}

def build(*, in_shape, num_classes, tokens, kind, width):
    return KINDS[kind](tokens, num_classes, width)

def teacher(*, in_shape, num_classes, tokens):
    return Teacher(tokens, num_classes)
"""


@pytest.mark.slow
def test_transformer_teaches_a_recurrent_model_and_a_bag_of_words(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    sizes = [
        {"name": "recurrent", "kind": "recurrent", "width": 16},
        {"name": "bag", "kind": "bag", "width": 8},
    ]
    study = text_study(
        tmp_path,
        model={"family": "own:build", "sizes": sizes},
        teacher={"factory": "own:teacher", "width": 9, "epochs": 8},
        assistants={"widths": ["recurrent"], "max": 1, "epochs": 8},
        student={"widths": ["recurrent", "bag"], "epochs": 8},
        search={"trials": 4, "rungs": 2},
    )
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    assert {trial.chain for trial in run.trials} >= {(9, 2), (9, 1), (9, 2, 1)}
    assert run.best().accuracy > 0.5  # a third is chance
    tasearch.export(run, tmp_path / "winner", trust=True)
    ids = torch.tensor([[5, 1, 7, 0, 0, 0, 0, 0]])
    found = tasearch.load(tmp_path / "winner", trust=True).predict(ids)
    assert found.probabilities.shape == (1, 3)
