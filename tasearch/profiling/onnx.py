"""Models as ONNX: to ship, and to be timed as they will run."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx.utils
import onnxruntime
import torch
from torch import Tensor, nn

from tasearch.errors import ModelError, first_line

TALKERS = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes", "onnxscript")


def to_onnx(net: nn.Module, in_shape: tuple[int, ...]) -> bytes:
    """An ONNX model with input `x`, output `logits` and any batch size.

    Raises:
        ModelError: where torch cannot export it.
    """
    example, batch = torch.zeros(2, *in_shape), torch.export.Dim("batch")
    program = _program(net, example, ["logits"], dynamic_shapes=({0: batch},))
    return bytes(program.SerializeToString())


class _SideBySide(nn.Module):
    """Models of one input."""

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(net(x) for net in self.nets)


def timed_models(
    nets: Mapping[int, nn.Module], in_shape: tuple[int, ...], batch: int
) -> dict[int, bytes]:
    """ONNX models by width, of one batch size, whose operators are those of `to_onnx`.

    They are exported as one, and taken apart: the exporter takes its time for each call, and little
    for each model.

    Raises:
        ModelError: where torch cannot export one, or ONNX Runtime cannot run it.
    """
    names = {width: f"logits{width}" for width in nets}
    example = torch.zeros(batch, *in_shape)
    try:
        whole = onnx.utils.Extractor(
            _program(_SideBySide(nets.values()), example, [*names.values()])
        )
        parts = {width: whole.extract_model(["x"], [name]) for width, name in names.items()}
        models = {width: part.SerializeToString() for width, part in parts.items()}
    except Exception:  # whose fault it is, is seen one by one
        models = {width: _exported(net, in_shape, width) for width, net in nets.items()}
    for width, model in models.items():
        with _running(f"width {width}: "):
            onnx_session(model, 1).run(None, {"x": example.numpy()})
    return models


@contextlib.contextmanager
def _running(where: str = "") -> Iterator[None]:
    """What ONNX Runtime refuses is told in one message."""
    try:
        yield
    except Exception as error:  # it raises anything
        raise ModelError(
            f"{where}ONNX Runtime cannot run the model: {first_line(error)}"
        ) from error


def outputs(model: bytes, batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What ONNX Runtime makes of float32 batches (samples, *in_shape) of any size.

    Raises:
        ModelError: where it refuses the model, or a batch.
    """
    with _running():
        session = onnx_session(model, threads=1)
        return [session.run(None, {"x": batch})[0] for batch in batches]


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
    """A session on CPU that keeps to its threads and does not spin between calls."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _exported(net: nn.Module, in_shape: tuple[int, ...], width: int) -> bytes:
    try:
        return to_onnx(net, in_shape)
    except ModelError as error:
        raise ModelError(f"width {width}: {error}") from error.__cause__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter talks on standard output, through warnings and through loggers."""
    loggers = [logging.getLogger(name) for name in TALKERS]
    levels = [logger.level for logger in loggers]
    talk = io.StringIO()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(talk),
            contextlib.redirect_stdout(talk),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
