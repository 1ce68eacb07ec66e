"""Models of the user's that take the mask of token ids: families, teachers and their exports."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tasearch
from tasearch.data import load_data
from tasearch.data.ids import Tokens
from tasearch.models import Models
from tasearch.models.tokens import WithMask, masked
from tasearch.profiling.onnx import onnx_session
from tests.helpers.arrays import npz
from tests.helpers.studies import SMALL, tiny

TOKENS = Tokens(vocabulary=30, pad=0, cls=None, sep=None, length=6)

OWN = """
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self, width, vocabulary, classes):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.out = nn.Linear(width, classes)

    def forward(self, ids, mask):
        assert mask.dtype == torch.bool and mask.shape == ids.shape
        x = self.words(ids) * mask[:, :, None]
        return self.out(x.sum(1) / mask.sum(1, keepdim=True))

class Named(Encoder):
    def forward(self, input_ids, attention_mask=None, labels=None):
        assert attention_mask.dtype == torch.int64
        return {"logits": super().forward(input_ids, attention_mask.bool())}

def build(width, *, in_shape, num_classes, tokens):
    return Encoder(width, tokens.vocabulary, num_classes)

def teacher(*, in_shape, num_classes, tokens):
    torch.manual_seed(0)
    return Named(20, tokens.vocabulary, num_classes)
"""


def study_of(folder: Path, **sections: Any) -> Any:
    rng = np.random.default_rng(0)
    x = rng.integers(1, 30, (90, 6))
    x[:, 0] = 1 + np.arange(90) % 3
    x[::2, 4:] = 0
    npz(folder, x_train=x, y_train=np.arange(90) % 3)
    (folder / "masked.py").write_text(OWN)
    content = SMALL | {"model": {"family": "masked:build"}, "search": {"trials": 3}}
    content["data"] = {"source": "npz", "path": "d.npz", "standardize": False}
    content["latency"] = {"backend": "onnx"}
    return tiny(**{**content, **sections}).model_copy(update={"root": str(folder)})


@pytest.mark.parametrize("loaded", [False, True])
def test_models_get_the_mask_of_their_ids(tmp_path: Path, loaded: bool) -> None:
    teacher = {"factory": "masked:teacher", "width": 30, "epochs": 0} if loaded else {}
    study = study_of(tmp_path, **({"teacher": teacher} if loaded else {}))
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    tasearch.export(run, tmp_path / "winner", trust=True)
    student = tasearch.load(tmp_path / "winner", trust=True)
    session = onnx_session(tmp_path / "winner" / "student.onnx", threads=1)
    ids = torch.tensor([[3, 7, 9, 0, 0, 0]])
    (logits,) = session.run(None, {"x": ids.numpy()})
    (shorter,) = session.run(None, {"x": ids[:, :3].numpy()})
    np.testing.assert_allclose(logits, student(ids).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(logits, shorter, atol=1e-5)


@pytest.mark.parametrize("pad", [0, 5])
def test_mask_leaves_out_the_pad_id_of_the_study(tmp_path: Path, pad: int) -> None:
    study = study_of(tmp_path)
    study = study.model_copy(update={"data": study.data.model_copy(update={"pad": pad})})
    net = Models.for_study(study, load_data(study)).build(8).eval()
    ids = torch.tensor([[3, 7, 9, pad, pad, pad]])
    other = torch.tensor([[3, 7, 9, 5 - pad, 5 - pad, 5 - pad]])
    torch.testing.assert_close(net(ids), net(ids[:, :3]))
    assert not torch.allclose(net(other), net(other[:, :3]))


def test_weights_of_a_teacher_with_a_mask_are_loaded_by_its_own_names(tmp_path: Path) -> None:
    encoder: dict[str, Any] = {}
    exec(OWN, encoder)
    torch.save(
        encoder["teacher"](in_shape=(6,), num_classes=3, tokens=TOKENS).state_dict(),
        tmp_path / "teacher.pt",
    )
    section = {"factory": "masked:teacher", "width": 30, "checkpoint": "teacher.pt"}
    run = tasearch.run(study_of(tmp_path, teacher=section), runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}


class Two(nn.Module):
    def forward(self, ids: Tensor, mask: Tensor) -> Any:
        return SimpleNamespace(logits=mask.float())


class OneAndOption(nn.Module):
    def forward(self, ids: Tensor, scale: float = 1.0) -> Tensor:
        return ids * scale


class OneAndRest(nn.Module):
    def forward(self, ids: Tensor, *rest: Tensor, **more: Tensor) -> Tensor:
        return ids


def test_mask_is_false_behind_a_text_and_true_where_it_begins() -> None:
    net = masked(Two(), TOKENS)
    ids = torch.tensor([[4, 0, 5, 0], [0, 0, 0, 0]])
    assert net(ids).logits.tolist() == [[1, 0, 1, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("kind", [OneAndOption, OneAndRest])
def test_model_that_requires_ids_alone_gets_them_alone(kind: type[nn.Module]) -> None:
    assert not isinstance(masked(kind(), TOKENS), WithMask)
