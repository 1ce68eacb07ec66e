"""Loading a teacher's weights from a file; the message names whatever does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tasearch.config.files import open_regular
from tasearch.errors import ModelError, raised, shown
from tasearch.models.weights import read_tensors


def file_digest(path: Path) -> str:
    """The first 32 hex digits of SHA-256 over a file.

    Raises:
        ModelError: The file cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise ModelError(f"teacher.checkpoint: {shown(path)}: {error.strerror}") from None


def load_checkpoint(net: nn.Module, path: Path, digest: str | None = None) -> None:
    """Load a file's weights into a model.

    Numbers are converted to the model's dtype within one kind: float to float, integer to integer.
    A tensor that the model has under several names may be in the file under one of them.

    Args:
        net: The model that receives the weights.
        path: A safetensors file, or a torch file of a state dict or of `{"state_dict": ...}`.
        digest: What `file_digest` returned for the file before; None for any content.

    Raises:
        ModelError: The file is damaged or has changed, or its tensors do not fit the model.
    """
    where = f"teacher.checkpoint: {shown(path)}"
    try:
        net.load_state_dict(_fitted(read_tensors(path, digest), net))
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except MemoryError:
        raise ModelError(f"{where}: does not fit into memory") from None
    except Exception as error:  # a user's model may override its loading
        raise ModelError(
            f"{where}: the teacher's model does not take it: {shown(raised(error))}"
        ) from None


def _fitted(given: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """A file's tensors under all names of a model, in the model's dtypes."""
    every = net.state_dict(keep_vars=True)
    expected = {name: value for name, value in every.items() if isinstance(value, Tensor)}
    state = dict(given)
    faults = _tie(state, expected)
    common = sorted(expected.keys() & state.keys())
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - every.keys())
    faults += [
        f"{what}: {', '.join(map(shown, names[:3]))}{', ...' if len(names) > 3 else ''}"
        for what, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("mis-shaped", _misfits(state, expected, common)),
            ("of another kind", _other_kinds(state, expected, common)),
        )
        if names
    ]
    if faults:
        hint = _prefix(given, expected) if missing and unknown else ""
        raise ModelError("does not match the teacher's model; " + "; ".join(faults) + hint)
    return {name: _converted(state[name], expected[name], name) for name in common}


def _tie(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Add a tensor under all names that it has in the model.

    Returns:
        A message for each tensor that the file has under two names with different values.
    """
    names: dict[int, list[str]] = {}
    for name, value in expected.items():
        names.setdefault(id(value), []).append(name)
    faults = []
    for tied in names.values():
        there = [name for name in tied if name in state]
        for name in tied if there else []:
            other = state.setdefault(name, state[there[0]])
            if name in there[1:] and not _equal(other, state[there[0]]):
                faults.append(f"{there[0]} and {name} differ, which are one tensor in the model")
    return faults


def _equal(a: Tensor, b: Tensor) -> bool:
    usable = not (_unusable(a) or _unusable(b))
    return a is b or (usable and a.dtype == b.dtype and torch.equal(a, b))


def _misfits(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: list[str]
) -> list[str]:
    return [
        f"{name} is {tuple(state[name].shape)}, should be {tuple(expected[name].shape)}"
        for name in names
        if not state[name].is_nested and state[name].shape != expected[name].shape
    ]


def _other_kinds(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: list[str]
) -> list[str]:
    words = []
    for name in names:
        wrong = _unusable(state[name])
        if wrong:
            words.append(f"{name} is {wrong}")
        elif _kind(state[name].dtype) != _kind(expected[name].dtype):
            found, should = (str(t[name].dtype).removeprefix("torch.") for t in (state, expected))
            words.append(f"{name} is {found}, should be {should}")
    return words


def _unusable(value: Tensor) -> str:
    """Why a tensor holds no plain numbers; empty if it does."""
    if value.is_meta:
        return "without values (device meta)"
    if value.is_quantized:
        return "quantized; save value.dequantize()"
    if value.is_nested:
        return "nested"
    return "sparse; save value.to_dense()" if value.layout != torch.strided else ""


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_complex:
        return "complex"
    if dtype.is_floating_point:
        return "float"
    return "bool" if dtype == torch.bool else "integer"


def _converted(value: Tensor, expected: Tensor, name: str) -> Tensor:
    """A tensor in the model's dtype, refused if that changes more than the last digits."""
    given, made = value, value.to(expected.dtype)
    kind = str(expected.dtype).removeprefix("torch.")
    if _kind(expected.dtype) in ("integer", "bool"):
        if not torch.equal(made.to(given.dtype), given):
            raise ModelError(f"has weights that are too large for the model's {kind}: {name}")
        return made
    odd = ~_wide(made).isfinite()
    own = _wide(expected.detach())[odd]  # the model may have a buffer of -inf, such as a mask
    if odd.any() and not torch.equal(_wide(made)[odd], own):
        if _wide(given).isfinite().all():
            raise ModelError(f"has weights that are too large for the model's {kind}: {name}")
        raise ModelError(f"has weights that are not finite: {name}")
    return made


def _wide(value: Tensor) -> Tensor:
    """A tensor of 8-bit floats, which torch cannot compare, in 32 bits; any other as it is."""
    return value.float() if value.dtype.itemsize == 1 else value


def _prefix(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """A hint for names that differ only by a common prefix, as a wrapper adds it; else empty."""
    for longer, shorter, whose in ((given, expected, "file"), (expected, given, "model")):
        first = next(iter(longer))
        parts = first.split(".")
        for count in range(1, len(parts)):
            prefix = ".".join(parts[:count]) + "."
            if {prefix + name for name in shorter} == longer.keys():
                remedy = "save the state_dict() of the model inside of the wrapper"
                if whose == "model":
                    remedy = "add it to them"
                return f"; all names in the {whose} begin with {shown(prefix)!r}: {remedy}"
    return ""
