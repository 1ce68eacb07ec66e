"""Small encoders of the package transformers, where that is installed, and studies of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tasearch.config.study import Study
from tasearch.data.ids import Ids, Tokens
from tests.helpers.packages import package
from tests.helpers.texts import text_study

TOKENS = Tokens(vocabulary=30, pad=0, cls=2, sep=3, length=8)
IDS = Ids(low=0, high=29, dtype="int64", tokens=TOKENS)
SHAPES: dict[str, dict[str, int]] = {
    "bert": {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32},
    "distilbert": {"dim": 16, "n_heads": 2, "hidden_dim": 32},
    "electra": {
        **{"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32},
        "embedding_size": 8,
    },
    "minilm": {"hidden_size": 24, "num_attention_heads": 12, "intermediate_size": 96},
}
TYPES = {"minilm": "bert"}  # a narrow BERT of many heads
LAYERS = {"distilbert": "n_layers"}
KINDS = pytest.mark.parametrize("kind", SHAPES)


def folder_of(root: Path, kind: str = "bert", classes: int = 3, **more: Any) -> nn.Module:
    """A model of random weights, saved in the folder `encoder`."""
    transformers = package("transformers")
    torch.manual_seed(0)
    layers = {LAYERS.get(kind, "num_hidden_layers"): 2}
    own = {"vocab_size": 30, "max_position_embeddings": 8, "pad_token_id": 0, "num_labels": classes}
    config = transformers.AutoConfig.for_model(
        TYPES.get(kind, kind), **{**own, **SHAPES.get(kind, {}), **layers, **more}
    )
    net: nn.Module = transformers.AutoModelForSequenceClassification.from_config(config)
    net.save_pretrained(root / "encoder")  # type: ignore[operator]
    return net.eval()


def texts() -> torch.Tensor:
    ids = torch.randint(4, 30, (4, 8), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[1, 5:] = TOKENS.cls, 0
    ids[2:, 3], ids[2:, 6], ids[2:, 7] = TOKENS.sep, TOKENS.sep, 0
    return ids


def encoders(folder: Path, **sections: Any) -> Study:
    sizes = [
        {"name": "m", "num_hidden_layers": 2},
        {"name": "s", "num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1},
    ]
    content: dict[str, Any] = {
        "model": {"family": "hf:encoder", "sizes": sizes},
        "teacher": {"factory": "hf:encoder", "pretrained": True, "width": 9},
        "assistants": {"widths": ["m"], "max": 1, "epochs": 1},
        "student": {"widths": ["s"], "epochs": 1},
        "search": {"trials": 2, "rungs": 1},
    }
    return text_study(folder, **{**content, **sections})
