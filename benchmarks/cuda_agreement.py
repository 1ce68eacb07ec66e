"""The part of `benchmarks.cuda` that compares trainings on CPU and on the GPU."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cuda_bench import AGREEMENT_STEPS, BATCH, CudaBench, train_new
from tasearch.train.state import State

NETS = ("plain2", "resnet8")
REPLICATES, EPOCHS = 5, 12  # of the accuracies that are compared
CPU = torch.device("cpu")


def agreement(bench: CudaBench) -> dict[str, Any]:
    """Weights after some steps in fp32, and accuracies of paired replicates, on both devices."""
    found: dict[str, Any] = {}
    for net in NETS:
        ours, theirs = (weights(bench, net, device) for device in (bench.device, CPU))
        finals = {device.type: accuracies(bench, net, device) for device in (CPU, bench.device)}
        pairs = zip(finals[bench.device.type], finals["cpu"], strict=True)
        gaps = [100 * (a - b) for a, b in pairs]
        found[net] = {
            "steps": AGREEMENT_STEPS,
            "largest_relative_distance": max(
                float((ours[name] - theirs[name]).norm() / theirs[name].norm().clamp(min=1e-12))
                for name in ours
                if ours[name].ndim
            ),
            "accuracies": finals,
            "gap_points": {
                "mean": statistics.fmean(gaps),
                "standard_error": statistics.stdev(gaps) / len(gaps) ** 0.5,
            },
        }
        print(f"{net}: {found[net]}", flush=True)
    return found


def weights(bench: CudaBench, net: str, device: torch.device) -> dict[str, Tensor]:
    """Tensors of a model after `AGREEMENT_STEPS` steps on a device, float64 on the CPU."""
    states: list[State] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench.trainer(net, Path(folder), epochs=1, mode="fp32", device=device)
        assert len(trainer.y) == AGREEMENT_STEPS * BATCH
        for _ in train_new(trainer, states):
            pass
    tensors = states[0].net.state_dict()
    return {name: tensor.detach().cpu().double() for name, tensor in tensors.items()}


def accuracies(bench: CudaBench, net: str, device: torch.device) -> list[float]:
    """Validation accuracy of each replicate, trained on the labels on a device."""
    states: list[State] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench.trainer(
            net, Path(folder), epochs=EPOCHS, replicates=REPLICATES, mode="fp32", device=device
        )
        for _ in train_new(trainer, states, distilled=False):
            pass
    return [state.curve[-1] for state in states]
