"""Loading a teacher's weights from a file; the message names whatever does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tasearch.config.files import open_regular
from tasearch.data.ids import Tokens
from tasearch.errors import ModelError, raised, shown
from tasearch.models.contract import state_digest
from tasearch.models.names import Names, match_names, tied_names
from tasearch.models.weights import Weights, read_weights


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


def load_checkpoint(
    net: nn.Module, path: Path, digest: str | None = None, tokens: Tokens | None = None
) -> str:
    """Load a file's weights into a model.

    Prefixes and parts of names that wrappers add are taken off where the names then match. Numbers
    are converted to the model's dtype within one kind: float to float, integer to integer. A tensor
    that the model has under several names may be in the file under one of them. If the names do not
    match and the model has a `load_state_dict` or hooks of its own, it gets the file's tensors.

    Args:
        net: The model that receives the weights.
        path: A safetensors file, or a torch file of a state dict, which may be the value of one of
            `weights.STATE_DICTS`.
        digest: What `file_digest` returned for the file before; None for any content.
        tokens: What ids mean if the data are texts, for messages.

    Returns:
        What was done to make the names match, in words; empty if nothing was.

    Raises:
        ModelError: The file is damaged or has changed, or its tensors do not fit the model.
    """
    where = f"teacher.checkpoint: {shown(path)}"
    try:
        found = read_weights(path, digest)
        return ", ".join(_load(net, found, tokens))
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except MemoryError:
        raise ModelError(f"{where}: does not fit into memory") from None
    except Exception as error:  # a user's model may override its loading
        raise ModelError(
            f"{where}: the teacher's model does not take it: {shown(raised(error))}"
        ) from None


def _load(net: nn.Module, found: Weights, tokens: Tokens | None) -> list[str]:
    """Load weights, and say what was done."""
    every = net.state_dict(keep_vars=True)
    expected = {name: value for name, value in every.items() if isinstance(value, Tensor)}
    names = match_names(found.tensors, expected, extra=every.keys() - expected.keys())
    words = [f"the file's {found.place}"] if found.place else []
    if not names.match and _loads_by_itself(net):
        before = state_digest(net)
        net.load_state_dict(found.tensors)
        if state_digest(net) == before:
            raise ModelError("the teacher's model took no weights from it")
        return [*words, "by the model's own load_state_dict"]
    net.load_state_dict(_fitted(names, expected, tokens))
    return words + names.words


def _loads_by_itself(net: nn.Module) -> bool:
    """Whether a model, or a module in it, has a way of its own to take a state dict."""
    if type(net).load_state_dict is not nn.Module.load_state_dict:
        return True
    return any(
        module._load_state_dict_pre_hooks
        or not type(module)._load_from_state_dict.__module__.startswith("torch.nn.")
        for module in net.modules()
    )


def _fitted(
    names: Names, expected: Mapping[str, Tensor], tokens: Tokens | None
) -> dict[str, Tensor]:
    """A file's tensors under all names of a model, in the model's dtypes."""
    state = dict(names.tensors)
    faults = _tie(state, expected)
    common = sorted(expected.keys() & state.keys())
    faults += [
        f"{what}: {', '.join(map(shown, listed[:3]))}{', ...' if len(listed) > 3 else ''}"
        for what, listed in (
            ("missing", names.missing),
            ("unknown", names.unknown),
            ("mis-shaped", _misfits(state, expected, common)),
            ("of another kind", _other_kinds(state, expected, common)),
        )
        if listed
    ]
    if faults:
        faults += _of_texts(state, expected, common, tokens)
        if names.match:
            faults += _of_classes(state, expected, common)
        raise ModelError("does not match the teacher's model; " + "; ".join(faults) + names.hint)
    return {
        name: _converted(state[name], value, name) if name in state else value.detach()
        for name, value in expected.items()
    }


def _tie(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Add a tensor under all names that it has in the model.

    Returns:
        A message for each tensor that the file has under two names with different values.
    """
    faults = []
    for tied in tied_names(expected):
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


def _of_classes(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: list[str]
) -> list[str]:
    """What a last layer with another number of rows, and nothing else, tells of the classes."""
    if any(state[name].is_nested for name in names):  # which have no shape
        return []
    wrong = [name for name in names if state[name].shape != expected[name].shape]
    last = [*expected][-1].rpartition(".")[0]
    rows = {(state[name].shape[:1], expected[name].shape[:1]) for name in wrong}
    inner = all(
        state[name].ndim > 0 and state[name].shape[1:] == expected[name].shape[1:] for name in wrong
    )
    if len(rows) != 1 or not inner or {name.rpartition(".")[0] for name in wrong} != {last}:
        return []
    found, wanted = (shape.numel() for shape in rows.pop())
    return [f"it seems to be of {found:,} classes against {wanted:,} of the data"]


def _of_texts(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    names: list[str],
    tokens: Tokens | None,
) -> list[str]:
    """What embeddings with other numbers of rows tell of a teacher of texts, and what to do."""
    words: list[str] = []
    if tokens is None:
        return words
    for name in names:
        own, rows = state[name].shape[:1], expected[name].shape[:1]
        if own == rows or state[name].shape[1:] != expected[name].shape[1:]:
            continue
        if rows == (tokens.vocabulary,):
            words.append(
                f"its vocabulary has {own[0]:,} tokens, that of the data {rows[0]:,}: set "
                f"data.tokenizer to the tokenizer.json that the teacher was trained with"
            )
        elif rows == (tokens.length,):
            words.append(
                f"it was trained on up to {own[0]:,} tokens, the data have up to {rows[0]:,}: set "
                f"data.length = {own[0]}"
            )
    return words


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
