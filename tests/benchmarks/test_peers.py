"""Other packages for distillation, in an environment that PEERS_PYTHON names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import peers
from benchmarks.common import ROOT
from benchmarks.plain_loop import WARM_STEPS
from tasearch.models import FAMILIES

BATCH = 4
LOSSES = """
import copy, sys
import numpy as np, torch
from benchmarks import peer_loops, plain_loop
nets = torch.load(sys.argv[1], weights_only=False)
arrays = np.load(sys.argv[2])
images, labels = arrays["x_train"].transpose(0, 2, 3, 1).copy(), arrays["y_train"]
x = (torch.from_numpy(arrays["x_train"]) / 255 - plain_loop.MEAN) / plain_loop.STD
with torch.no_grad():
    logits = copy.deepcopy(nets["student"]).train()(x)
    print(float(plain_loop.kd_loss(logits, nets["teacher"](x), torch.from_numpy(labels))))
peer_loops.crop_and_flip = lambda: []
for make in peer_loops.LOOPS.values():
    teacher, student = copy.deepcopy(nets["teacher"]), copy.deepcopy(nets["student"])
    data = peer_loops.torchvision_dataset(images, labels)
    loop = make(teacher, student, data, len(images))
    print(loop.step(*next(iter(loop.batches))))
    assert not any(p.grad is not None for p in teacher.parameters())
    before = nets["student"].parameters()
    assert any((a != b).any() for a, b in zip(student.parameters(), before))
"""


def build(family: str, width: int) -> nn.Module:
    """A model for images of 32x32."""
    return FAMILIES[family](width, in_shape=(3, 32, 32), num_classes=10)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Files of two networks and of some images."""
    torch.manual_seed(0)
    networks, images = tmp_path / "networks.pt", tmp_path / "images.npz"
    teacher, student = build("plain", 4).eval(), build("plain", 2)
    assert peers.write_networks(networks, teacher, student) is None
    count = BATCH * (WARM_STEPS + 2)
    x = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    np.savez(images, x_train=x, y_train=np.arange(count) % 10)
    return networks, images


@pytest.fixture
def environment() -> peers.Peers:
    """The environment of the peers."""
    python = os.environ.get("PEERS_PYTHON")
    if python is None:
        pytest.skip("PEERS_PYTHON names no environment with torchvision, torchdistill and timm")
    return peers.find_peers(Path(python))


def test_all_peers_are_skipped_without_environment() -> None:
    found = peers.find_peers(None)
    assert found.skipped == dict.fromkeys(peers.NEEDS, "no --peers-python")


def test_peer_whose_package_is_missing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "NEEDS", {"one": (), "two": ("no-such-package",)})
    found = peers.find_peers(Path(sys.executable))
    assert found.skipped == {"two": "--peers-python lacks no-such-package"}
    assert found.versions["torch"] == torch.__version__


def test_networks_with_layers_of_tasearch_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "networks.pt"
    why = peers.write_networks(file, build("plain", 2), build("resnet", 8))
    assert why == "layers of tasearch's own: Block"
    assert not file.exists()


@pytest.mark.slow
def test_careful_loop_runs_in_another_process(files: tuple[Path, Path]) -> None:
    here = peers.find_peers(Path(sys.executable))
    found = peers.run_peer(here, "careful_peers", *files, BATCH, seconds=60.0, threads=1)
    assert found["threads"] == 1
    assert found["images_per_s"] > 0
    assert found["peak_mib"].keys() == {"process", "largest_child"}


@pytest.mark.parametrize("name", peers.NEEDS)
def test_peer_trains(name: str, environment: peers.Peers, files: tuple[Path, Path]) -> None:
    found = peers.run_peer(environment, name, *files, BATCH, seconds=60.0, threads=1)
    assert found["images_per_s"] > 0


def test_peers_have_the_loss_of_the_careful_loop(
    environment: peers.Peers, files: tuple[Path, Path]
) -> None:
    output = subprocess.run(
        [str(environment.python), "-c", LOSSES, *map(str, files)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    expected, *losses = [float(line) for line in output.stdout.splitlines()]
    assert len(losses) == 2
    assert losses == pytest.approx([expected] * 2, rel=1e-4)
