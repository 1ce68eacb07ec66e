"""Models and tensors of a program, written as source and tensors, are the same ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasearch.errors import ModelError, StudyError
from tasearch.models.contract import state_digest
from tasearch.models.live_code import LiveCode, teacher_code
from tests.helpers.notebook import cell

BLOCK = """
import torch
import torch.nn.functional as F
from torch import nn
SCALE = 2.0
class Block(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.linear, self.norm = nn.Linear(a, b), nn.BatchNorm1d(b)
        self.act, self.post = F.gelu, lambda x: x * SCALE
        self.sizes = {"in": (a, torch.Size([b])), "dtype": torch.float32}
        self.register_buffer("place", torch.arange(b).float(), persistent=False)
        self.register_parameter("unused", None)
        self.plain = torch.ones(b) / 3
    def forward(self, x):
        return self.post(self.act(self.norm(self.linear(x)))) + self.place * self.plain
"""
FUNCTION = "bring a function that makes it, as teacher=make"


def loaded(code: LiveCode, folder: Path) -> ModuleType:
    """The module that is written, imported from a folder."""
    for name, content in code.files("own").items():
        (folder / name).write_bytes(content)
    spec = importlib.util.spec_from_file_location("own", folder / "own.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def net() -> nn.Sequential:
    """A model with all that can be kept: tied parameters, a module in two places, plain tensors."""
    block = cell(BLOCK).Block
    made = nn.Sequential(nn.Flatten(), block(6, 5), block(5, 5), nn.Linear(5, 5), nn.Linear(5, 5))
    made[3].weight = made[2].linear.weight
    made.append(made[4])
    with torch.no_grad():
        made(torch.randn(20, 2, 3))  # changes the norms' statistics
    return made.eval()


def test_rebuilt_teacher_answers_as_the_original(tmp_path: Path) -> None:
    original, x = net(), torch.randn(7, 2, 3)
    made = loaded(teacher_code(original), tmp_path).make(in_shape=(2, 3), num_classes=5)
    assert not made.training
    torch.testing.assert_close(made(x), original(x), rtol=0, atol=0)
    assert state_digest(made) == state_digest(original)
    assert sum(p.numel() for p in made.parameters()) == (
        sum(p.numel() for p in original.parameters())
    )
    assert [*made.named_modules()][-1][0] == [*original.named_modules()][-1][0]


def test_each_made_teacher_is_a_new_one(tmp_path: Path) -> None:
    make = loaded(teacher_code(net()), tmp_path).make
    one, other = (make(in_shape=(2, 3), num_classes=5) for _ in range(2))
    one[1].linear.weight.data.zero_()
    assert other[1].linear.weight.abs().sum() > 0


def test_weights_and_source_decide_the_files() -> None:
    torch.manual_seed(0)
    one, other = net(), net()
    other.load_state_dict(one.state_dict())
    assert teacher_code(one).files("own") == teacher_code(other).files("own")
    other[3].bias.data[0] += 1
    source = teacher_code(one).files("own")["own.py"]
    assert source != teacher_code(other).files("own")["own.py"]  # by the digest of the tensors


def test_tensors_of_functions_are_kept(tmp_path: Path) -> None:
    weight, offset = torch.tensor([1.0, 3.0]), np.array([[0.5, 0.0]])

    def loss(logits: Tensor, labels: Tensor, targets: Any, terms: Any) -> Tensor:
        return F.cross_entropy(logits + torch.tensor(offset), labels, weight=weight.double())

    code = LiveCode("loss")
    code.add("loss", loss)
    made = loaded(code, tmp_path).loss
    logits, labels = torch.randn(4, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    assert made(logits, labels, None, None) == loss(logits, labels, None, None)


def test_other_tensors_than_those_written_are_refused(tmp_path: Path) -> None:
    code = teacher_code(net())
    loaded(code, tmp_path)
    file = tmp_path / "own.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError) as error:
        loaded_again(tmp_path)
    assert str(error.value) == f"{file}: changed since it was first read; start again"


def loaded_again(folder: Path) -> None:
    exec((folder / "own.py").read_text(), {"__file__": str(folder / "own.py")})


def _with(change: Any) -> nn.Module:
    made = net()
    return change(made) or made


REFUSED = {
    "train mode": (
        lambda n: n.train(),
        "teacher: is in train mode, where it answers otherwise: call .eval() first",
    ),
    "part in train mode": (
        lambda n: n[1].norm.train() and None,
        "teacher: its part '1.norm' is in train mode, where it answers otherwise: call .eval() "
        "first",
    ),
    "device": (
        lambda n: n[4].to("meta") and None,
        "teacher: uses '4.weight', which is on the device 'meta'; bring teacher.cpu()",
    ),
    "hook": (
        lambda n: n[3].register_forward_hook(print) and None,
        "teacher: uses '3', which has hooks, which no run can keep: remove them first",
    ),
    "object": (
        lambda n: setattr(n[1], "cache", object()),
        f"teacher: uses '1.cache', which is of type object, which no run can keep: {FUNCTION}",
    ),
    "method": (
        lambda n: setattr(n, "forward", n[1].forward),
        f"teacher: uses 'forward', which is of type method, which no run can keep: {FUNCTION}",
    ),
    "sparse": (
        lambda n: n[1].register_buffer("mask", torch.eye(2).to_sparse()),
        "teacher: uses '1.mask', which is of type torch.Tensor, which no run can keep: " + FUNCTION,
    ),
    "texts": (
        lambda n: setattr(n[1], "words", np.array(["a"])),
        "teacher: uses '1.words', which is of type numpy.ndarray, which no run can keep: "
        + FUNCTION,
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused(change: Any, message: str) -> None:
    with pytest.raises(StudyError) as error:
        teacher_code(_with(change)).files("own")
    assert str(error.value) == message
