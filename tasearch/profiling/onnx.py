"""Models as ONNX, to be exported, and to be timed as they will run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx.utils
import onnxruntime
import torch
from torch import Tensor, nn

from tasearch.chains.sizes import sized
from tasearch.errors import ModelError, first_line
from tasearch.profiling.torch_adapter import quiet


def to_onnx(
    net: nn.Module,
    in_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    *,
    any_length: bool = False,
) -> bytes:
    """Export a model with input `x`, output `logits` and any batch size.

    Args:
        net: Model on the CPU, which takes raw samples; it is put into eval mode.
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        dtype: Type of the input.
        any_length: Whether samples (length,) may be shorter, too.

    Returns:
        The serialized ONNX model.

    Raises:
        ModelError: If torch cannot export it.
    """
    example, batch = torch.zeros(2, *in_shape, dtype=dtype), torch.export.Dim("batch")
    sizes = {0: batch}
    if any_length:
        sizes[1] = torch.export.Dim("length", max=in_shape[0])
    program = _program(net, example, ["logits"], dynamic_shapes=(sizes,))
    return bytes(program.SerializeToString())


class _SideBySide(nn.Module):
    """Several models which get the same input."""

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(net(x) for net in self.nets)


def timed_models(
    nets: Mapping[int, nn.Module],
    in_shape: tuple[int, ...],
    batch: int,
    dtype: torch.dtype = torch.float32,
) -> dict[int, bytes]:
    """Export models for one batch size, with the same operators as `to_onnx`.

    All models are exported as one and then separated, because the exporter needs much time per call
    and little per model.

    Args:
        nets: Models by width, on the CPU, which take raw samples; they are put into eval mode.
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        batch: Samples in a call.
        dtype: Type of the input.

    Returns:
        Serialized ONNX models by width; ONNX Runtime has run each once.

    Raises:
        ModelError: If torch cannot export a model, or ONNX Runtime cannot run it.
    """
    names = {width: f"logits{width}" for width in nets}
    example = torch.zeros(batch, *in_shape, dtype=dtype)
    try:
        whole = onnx.utils.Extractor(
            _program(_SideBySide(nets.values()), example, [*names.values()])
        )
        parts = {width: whole.extract_model(["x"], [name]) for width, name in names.items()}
        models = {width: part.SerializeToString() for width, part in parts.items()}
    except Exception:  # exporting one by one finds the model at fault
        models = {width: _exported(net, in_shape, width, dtype) for width, net in nets.items()}
    for width, model in models.items():
        with _runtime_errors(f"{sized(width)}: "):
            onnx_session(model, 1).run(None, {"x": example.numpy()})
    return models


@contextlib.contextmanager
def _runtime_errors(where: str = "") -> Iterator[None]:
    """Turn any error of ONNX Runtime into a ModelError."""
    try:
        yield
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ModelError(
            f"{where}ONNX Runtime cannot run the model: {first_line(error)}"
        ) from error


def onnx_outputs(model: bytes, feeds: Iterable[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
    """Run a model in ONNX Runtime.

    Args:
        model: Serialized ONNX model.
        feeds: Batches of any number of samples, each an array by name of the input.

    Returns:
        The first output for each batch.

    Raises:
        ModelError: If ONNX Runtime refuses the model, or a batch.
    """
    with _runtime_errors():
        session = onnx_session(model, threads=1)
        return [session.run(None, dict(feed))[0] for feed in feeds]


def _program(net: nn.Module, example: Tensor, names: list[str], **options: Any) -> Any:
    """The ONNX protocol buffer of a model with input `x` and named outputs."""
    try:
        with quiet():
            program = torch.onnx.export(
                net.eval(),
                (example,),
                input_names=["x"],
                output_names=names,
                dynamo=True,
                verbose=False,
                **options,
            )
    except Exception as error:  # the exporter wraps whatever the user's model raises
        cause = error.__cause__ or error
        raise ModelError(
            f"the model cannot be exported to ONNX: {type(cause).__name__}: {first_line(cause)}"
        ) from error
    assert program is not None
    return program.model_proto


def onnx_session(model: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, on the CPU.

    Args:
        model: Serialized ONNX model, or its file.
        threads: Threads of a call.

    Returns:
        A session which uses no further threads and does not spin between calls.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _exported(net: nn.Module, in_shape: tuple[int, ...], width: int, dtype: torch.dtype) -> bytes:
    try:
        return to_onnx(net, in_shape, dtype)
    except ModelError as error:
        raise ModelError(f"{sized(width)}: {error}") from error.__cause__
