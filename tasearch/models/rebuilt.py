"""Models made again from their classes, their attributes and a file of their tensors.

The modules that `tasearch.search` writes call this; see `tasearch.models.live_code`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tasearch.errors import ModelError
from tasearch.models.weights import read_weights


class Tensors:
    """The tensors in the safetensors file beside a module of Python, by name.

    Args:
        module: Path of the module's file.
        digest: The first 32 hex digits of SHA-256 over the file of the tensors.

    Raises:
        ModelError: The file is missing, damaged, or not the one that was written with the module.
    """

    def __init__(self, module: str, digest: str) -> None:
        file = Path(module).with_suffix(".safetensors")
        try:
            self._tensors = read_weights(file, digest).tensors
        except ModelError as error:
            raise ModelError(f"{file}: {error}") from None
        self._parameters: dict[str, nn.Parameter] = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter of a name, the same one each time."""
        if name not in self._parameters:
            self._parameters[name] = nn.Parameter(self[name], requires_grad=False)
        return self._parameters[name]


def rebuilt(
    kind: type[nn.Module],
    attributes: Mapping[str, Any],
    parameters: Mapping[str, nn.Parameter | None],
    buffers: Mapping[str, Tensor | None],
    modules: Mapping[str, nn.Module | None],
    unsaved: Sequence[str] = (),
) -> nn.Module:
    """A module with a given content; its class is not called.

    Args:
        kind: Its class.
        attributes: Its plain attributes.
        parameters: Its own parameters.
        buffers: Its own buffers.
        modules: Its own modules.
        unsaved: Names of the buffers that are not in its state dict.
    """
    net = kind.__new__(kind)
    nn.Module.__init__(net)
    vars(net).update(attributes)
    net._parameters.update(parameters)
    net._buffers.update(buffers)
    net._modules.update(modules)
    net._non_persistent_buffers_set.update(unsaved)
    return net
