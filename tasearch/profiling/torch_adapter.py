"""Parts of torch which its documentation does not promise to keep, gathered in one place.

- `torch.fx.experimental.optimization.fuse`, which folds batch norms into convolutions.
- The names of the loggers through which the ONNX exporter and the tracer speak.

A new version of torch that changes one of them needs a change in this file only.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator

from torch import nn
from torch.fx.experimental.optimization import fuse

from tasearch.errors import raised

LOGGERS = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes", "onnxscript")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norms(net: nn.Module, warn: Callable[[str], None]) -> nn.Module:
    """A copy whose batch norms are folded into its convolutions.

    Args:
        net: Model in eval mode.
        warn: Receiver of a message where torch cannot trace the model.

    Returns:
        The copy; the model itself where it has no batch norm or cannot be traced.
    """
    if not any(isinstance(module, BATCH_NORMS) for module in net.modules()):
        return net
    try:
        with quiet():
            return fuse(net)
    except Exception as error:  # tracing a user's model may raise anything
        found = raised(error)
        warn(f"timed with its batch norms as they are, for tracing the model raised {found}")
        return net


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what torch's exporter and tracer print, warn of and log."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    printed = io.StringIO()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(printed),
            contextlib.redirect_stdout(printed),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
