"""What a model must do: give logits, in train and in eval mode, for batches of any size.

Models are tried on random samples, and every violation becomes one message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from safetensors.torch import save
from torch import Tensor, nn

from tasearch.errors import ModelError, first_line, message, raised
from tasearch.models.padding import check_padding
from tasearch.models.wrappers import TakesIds, logits_of

SLACK = 1e-3  # what the sum of a sample's probabilities may differ from 1 by, in bfloat16 too
LARGEST = 65504.0  # largest float16, in which soft targets are kept
BATCH = 64  # samples in a batch of a loaded teacher
ALONE = "return the logits alone, or an object with them as .logits"


def check_model(net: nn.Module, where: str, in_shape: tuple[int, ...], classes: int) -> None:
    """Try a model that is to be trained, in both modes and with batches of several sizes.

    Args:
        net: The model; its mode, buffers and gradients change.
        where: Name of the model in messages.
        in_shape: Shape of one sample.
        classes: Number of classes.

    Raises:
        ModelError: The model fails, or gives anything but logits with a gradient.
    """
    if any(value.is_complex() for value in (*net.parameters(), *net.buffers())):
        raise ModelError(f"{where} should have real parameters and buffers, has complex ones")
    check_padding(net, where)
    count = 2 * torch.Size(in_shape).numel()
    line = torch.linspace(-1, 1, count, dtype=torch.float32).reshape(2, *in_shape)
    shown = where
    for training, batches in ((True, [line, noise(2, in_shape)]), (False, _sizes(in_shape))):
        shown = where if training else f"{where} in eval mode"
        found = []
        for x in batches:
            logits = _called(net.train(training), x, shown, classes, graph=training)
            if training and not logits.requires_grad:
                raise ModelError(
                    f"{shown} should give floating-point logits with a gradient, "
                    f"gave {logits.dtype}, requires_grad=False"
                )
            if training:
                _backward(logits, shown)
            if not logits.isfinite().all():
                raise ModelError(f"{shown} gave logits that are not finite for random samples")
            found.append(logits.detach())
        refuse_probabilities(found, shown)
    _called(net.train(), line, f"{where} in train mode after eval mode", classes, graph=True)
    check_state(net, where)


def tried_model(
    build: Callable[[int], nn.Module],
    where: str,
    in_shape: tuple[int, ...],
    classes: int,
    *,
    own: bool,
) -> nn.Module:
    """A model as it is built, after it was tried.

    Args:
        build: Function from a seed to a model.
        where: Name of the model in messages.
        in_shape: Shape of one sample.
        classes: Number of classes.
        own: Whether the user's code makes it.

    Raises:
        ModelError: It cannot be trained, or its state does not carry all that it has learned.
    """
    net = build(0)
    if own:
        check_model(net, where, in_shape, classes)
        check_reload(net, build(1), where, in_shape)
        # A user's model may keep what it was called with outside of its state, and may fail to
        # be copied. So it can be neither put back nor copied, and another one is built.
        return build(0).eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    check_model(net, where, in_shape, classes)
    net.load_state_dict(state)
    net.zero_grad()
    return net.eval()


def check_loaded(
    net: nn.Module, where: str, batches: Iterable[Tensor], classes: int, device: torch.device
) -> Tensor:
    """Try a model that is not trained, on the samples of the validation set.

    Args:
        net: The model, in eval mode; it is moved to `device`.
        where: Name of the model in messages.
        batches: Batches of standardized samples, float32 (samples, *in_shape).
        classes: Number of classes.
        device: Device to call the model on.

    Returns:
        Its logits, float32 (samples, classes).

    Raises:
        ModelError: The model fails, or gives anything but finite logits.
    """
    net = net.to(device)
    check_padding(net, where)
    parts = [_called(net, x.to(device), where, classes, graph=False) for x in batches]
    logits = torch.cat(parts).float()
    wrong = ~(logits.isfinite() & (logits.abs() <= LARGEST)).all(dim=1)
    if wrong.any():
        row = logits[wrong][0]
        bad = row[~(row.isfinite() & (row.abs() <= LARGEST))][0].item()
        raise ModelError(
            f"{where} should give finite logits of at most {LARGEST:,.0f} in size, gave {bad:g}, "
            f"and such for {int(wrong.sum()):,} of {len(logits):,} validation samples"
        )
    refuse_probabilities(parts, where)
    check_state(net, where)
    return logits


def refuse_probabilities(found: Sequence[Tensor], where: str) -> None:
    """Refuse the outputs of a softmax. Those of a log-softmax will do: they are logits too.

    Args:
        found: Outputs of each batch, float (samples, classes).
        where: Name of the model in messages.

    Raises:
        ModelError: All outputs are in 0 .. 1, and those of each sample sum to 1.
    """
    values = torch.cat([part.float() for part in found])
    if values.min() < 0 or values.max() > 1 + SLACK:
        return
    if (values.sum(dim=1) - 1).abs().max() <= SLACK:
        raise ModelError(
            f"{where} should give logits, gave probabilities: for all of {len(values):,} samples "
            f"its outputs lie in 0 .. 1 and sum to 1; return what goes into the softmax"
        )


def check_state(net: nn.Module, where: str) -> None:
    """Refuse a state dict that cannot be saved.

    Args:
        net: The model.
        where: Name of the model in messages.

    Raises:
        ModelError: An entry is no dense tensor of a dtype that safetensors can write.
    """
    try:
        state = net.state_dict()
    except Exception as error:  # the user's class may do anything
        raise ModelError(f"{where}: its state_dict() raised {raised(error)}") from error
    if not isinstance(state, Mapping):
        raise ModelError(f"{where}: its state_dict() gave {type(state).__name__}, no mapping")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"{where} should have tensors alone in its state dict, "
                f"has {name!r} of type {type(value).__name__}"
            )
        try:
            save({name: value.detach().flatten()[:0].clone()})
        except Exception as error:  # for sparse and quantized tensors, and for other dtypes
            raise ModelError(
                f"{where} has {name!r} in its state dict, {value.dtype} in {value.layout}, "
                f"which cannot be saved: {first_line(error)}"
            ) from None


def check_reload(net: nn.Module, other: nn.Module, where: str, in_shape: tuple[int, ...]) -> None:
    """Refuse a model whose state dict does not carry all that it has learned.

    Args:
        net: A model that was called in train mode.
        other: A new model of the same width with other weights, which are overwritten.
        where: Name of the model in messages.
        in_shape: Shape of one sample.

    Raises:
        ModelError: `other` does not take the state, or gives other logits with it.
    """
    try:
        state = {name: value.clone() for name, value in net.state_dict().items()}
        missing, unknown = other.load_state_dict(state, strict=False)
    except Exception as error:  # the user's class may do anything
        said = message(error).strip().splitlines()
        told = f"{type(error).__name__}: {said[-1].strip()}" if said[1:] else raised(error)
        raise ModelError(f"{where}: another of its kind does not take its state: {told}") from error
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which no model takes"
        raise ModelError(f"{where}: its state dict {what}")
    batch = noise(7, in_shape)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            found = []
            for one in (net, other):
                torch.manual_seed(0)
                found.append(logits_of(one.eval()(batch.clone())).double())
    except Exception as error:
        raise ModelError(f"{where} in eval mode: {raised(error)}") from error
    largest = max(float(found[0].abs().max()), 1.0)
    if not float((found[0] - found[1]).abs().max()) <= SLACK * largest:
        raise ModelError(
            f"{where}: another of its kind answers otherwise with the same state; keep what "
            f"decides its outputs in parameters and buffers"
        )


def state_digest(net: nn.Module) -> str:
    """The first 32 hex digits of SHA-256 over a model's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\0".encode())
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()[:32]


def _rows(net: nn.Module, error: Exception) -> str:
    """What an embedding needs that an index was too large for; empty for other errors."""
    for module in net.modules() if isinstance(error, IndexError) else ():
        if isinstance(module, TakesIds):
            ids = module.ids
            places = f", and one of places {ids.tokens.length:,}" if ids.tokens else ""
            return (
                f"; ids are {ids.low:,} to {ids.high:,}: an embedding of them needs "
                f"{ids.high + 1:,} rows{places}"
            )
    return ""


def _called(net: nn.Module, x: Tensor, where: str, classes: int, *, graph: bool) -> Tensor:
    """The logits of a batch, (samples, classes).

    Args:
        net: The model.
        x: Batch, float32 (samples, *in_shape).
        where: Name of the model in messages.
        classes: Number of classes.
        graph: Whether gradients are recorded.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(graph):
            logits = net(x)
    except Exception as error:  # a user's model may raise anything
        words = f"{raised(error)}{_rows(net, error)}"
        raise ModelError(f"{where} failed on a batch of shape {tuple(x.shape)}: {words}") from error
    expected = (len(x), classes)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"{where} should give logits of shape {expected}, gave {type(logits).__name__}; {ALONE}"
        )
    if logits.shape != expected:
        raise ModelError(
            f"{where} should give logits of shape {expected}, gave {tuple(logits.shape)}"
        )
    if not logits.dtype.is_floating_point:
        raise ModelError(f"{where} should give floating-point logits, gave {logits.dtype}")
    return logits


def _backward(logits: Tensor, where: str) -> None:
    try:
        logits.float().square().sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # an operation of a user's own may raise anything
        raise ModelError(f"{where} failed in its backward pass: {raised(error)}") from error


def _sizes(in_shape: tuple[int, ...]) -> list[Tensor]:
    """Batches as evaluation and timing have them: one sample, and several."""
    return [noise(1, in_shape), noise(2, in_shape), noise(7, in_shape)]


def noise(count: int, in_shape: tuple[int, ...]) -> Tensor:
    """Random samples, float32 (count, *in_shape), the same in every call."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *in_shape, generator=generator, dtype=torch.float32)
