"""A teacher's weights from a file; of a torch file, plain tensors only."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tasearch.errors import ModelError, first_line


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 32 hex digits.

    Raises:
        ModelError: where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise ModelError(f"teacher.checkpoint: {path}: {error.strerror}") from None


def load_checkpoint(net: nn.Module, path: Path) -> None:
    """Put a file's weights into a model.

    Args:
        net: receives them.
        path: `.safetensors`, or a torch file of a state dict (or of `{"state_dict": ...}`).

    Raises:
        ModelError: where the file is broken, or its tensors are not the model's.
    """
    state = _read(path)
    expected = net.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    shapes = [
        f"{name} is {tuple(state[name].shape)}, should be {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    faults = [
        f"{what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("mis-shaped", shapes))
        if names
    ]
    if faults:
        raise ModelError(
            f"teacher.checkpoint: {path}: does not match the teacher's model; " + "; ".join(faults)
        )
    if not all(t.isfinite().all() for t in state.values() if t.is_floating_point()):
        raise ModelError(f"teacher.checkpoint: {path}: has weights that are not finite")
    net.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    where = f"teacher.checkpoint: {path}"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{where}: no such file") from None
    except pickle.UnpicklingError:
        raise ModelError(
            f"{where}: holds more than tensors; save the model's state_dict()"
        ) from None
    except Exception as error:  # torch raises anything from EOFError to IndexError here
        raise ModelError(f"{where}: is no readable checkpoint: {first_line(error)}") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    ):
        raise ModelError(f"{where}: should hold a state dict of tensors")
    return content
