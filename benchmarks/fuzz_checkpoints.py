"""Faulty checkpoints of a loaded teacher, for `benchmarks.fuzz`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.fuzz_data import DATA, sound_arrays, write_study

WEIGHT = "3.weight"  # the tensor that gets the fault
TORCH_SCRIPT, WHOLE_MODULE = "TorchScript", "whole module"  # other contents than a state dict


def checkpoint(work: Path, rng: random.Random) -> tuple[Path, str]:
    """Write a study, its data, and a checkpoint of its teacher with one fault.

    Args:
        work: Folder for all three.
        rng: Source of the fault.

    Returns:
        The checkpoint and its fault: "bytes" if the file is still to be damaged.
    """
    safe = bool(rng.getrandbits(1))
    file = work / ("weights.safetensors" if safe else "weights.pt")
    write_study(work, "npz", factory="own:make", checkpoint=file.name)
    with (work / DATA).open("wb") as stream:
        np.savez(stream, **sound_arrays(rng))
    torch.manual_seed(rng.randrange(2**32))
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 99), nn.ReLU(), nn.Linear(99, 10))
    state: dict[str, Any] = dict(net.state_dict())
    faults = faulty_tensors(state[WEIGHT], safe=safe)
    kind = rng.choice([*faults])
    state[WEIGHT] = faults[kind]()
    if kind == "missing":
        del state[WEIGHT]
    if kind == TORCH_SCRIPT:
        torch.jit.trace(net, torch.zeros(1, 8, 8)).save(file)  # type: ignore[no-untyped-call]
    elif kind == WHOLE_MODULE:
        torch.save(net, file)
    elif safe:
        save_file(state, file)
    else:
        torch.save(state, file)
    return file, kind


def faulty_tensors(weight: Tensor, *, safe: bool) -> dict[str, Callable[[], Any]]:
    """Functions that make what takes the place of a weight, by fault.

    Args:
        weight: The weight without a fault.
        safe: Whether the file is in safetensors' format, which stores fewer kinds of values.
    """
    faults: dict[str, Callable[[], Any]] = {
        "bytes": lambda: weight,
        "not finite": lambda: weight * torch.nan,
        "huge": lambda: weight * 1e38,
        "other shape": lambda: weight[:, :98].clone(),
        "no axes": lambda: torch.tensor(1.0),
        "whole numbers": lambda: weight.to(torch.int64),
        "complex": lambda: weight.to(torch.complex64),
        "bfloat16": lambda: weight.to(torch.bfloat16),
        "missing": lambda: None,
    }
    if not safe:
        faults |= {
            "sparse": lambda: weight.to_sparse(),
            "meta": lambda: weight.to("meta"),
            "quantized": lambda: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
            "word": lambda: "weight",
            "nested": lambda: {"weight": weight},
            TORCH_SCRIPT: lambda: weight,
            WHOLE_MODULE: lambda: weight,
        }
    return faults
