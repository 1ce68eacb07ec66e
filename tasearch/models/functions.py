"""Calling the functions that make models: a family's `build`, a teacher's factory."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from tasearch.chains.sizes import sized
from tasearch.config.guard import timely
from tasearch.data.ids import Tokens
from tasearch.errors import ModelError, StudyError, first_line, raised
from tasearch.models.families import Build
from tasearch.models.resized import RESOLUTION, Resized, checked_resolution
from tasearch.models.tokens import masked

TOKENS = "tokens"


class ReturnedParameters:
    """The parameters of all models that were returned so far, held weakly."""

    def __init__(self) -> None:
        self._by_id: dict[int, weakref.ref[nn.Parameter]] = {}

    def add(self, net: nn.Module, where: str) -> None:
        """Add the parameters of a model, which must be new if they are trained.

        Args:
            net: A model that was just returned.
            where: The function's place in the study file, for messages.

        Raises:
            ModelError: The model has lazy modules, or shares parameters with an earlier one, so
                that the two cannot be trained apart.
        """
        try:
            parameters = [*net.parameters()]
        except Exception as error:  # the user's class may do anything
            raise ModelError(f"{where}: its parameters() raised {raised(error)}") from error
        for parameter in parameters:
            if isinstance(parameter, UninitializedParameter):
                raise ModelError(f"{where} has lazy modules; give them their sizes")
            before = self._by_id.get(id(parameter), lambda: None)()
            if before is parameter and parameter.requires_grad:
                raise ModelError(
                    f"{where} should return a new model each time, returned parameters that it had "
                    f"returned before"
                )
        self._by_id.update({id(p): weakref.ref(p) for p in parameters})


@dataclass(frozen=True, kw_only=True)
class ModelFunction:
    """A function of the study that makes models.

    Args:
        path: Key of the study file that names the function.
        name: Name of the function, as the study file has it.
        function: The function itself.
        takes_width: Whether its first argument is a width.
        options: Keyword arguments: `in_shape`, `num_classes` and the options of a family.
        tokens: What samples mean as token ids, for a function with an argument `tokens`, and for a
            model that takes their mask; None for other samples.
        sizes: By number, keyword arguments of sizes that have a name; they stand for the width.
        returned: The parameters of all models that the study's functions returned so far.
    """

    path: str
    name: str
    function: Build
    takes_width: bool
    options: Mapping[str, Any]
    returned: ReturnedParameters
    tokens: Tokens | None = None
    sizes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, width: int, seed: int) -> nn.Module:
        """A new model on CPU.

        Args:
            width: Width of the model; of no effect where the function takes none.
            seed: Seed of torch's global generator during the call; its state is put back after it.

        Raises:
            ModelError: The function takes other arguments, raises, or returns anything but a model.
            StudyError: The function takes too long.
        """
        own = self.sizes.get(width)
        args = (width,) if self.takes_width and own is None else ()
        given = {TOKENS: self.tokens} if self.tokens and self._takes(TOKENS) else {}
        options = {**given, **self.options, **(own or {})}
        plain = f"{self.path}: {self.name!r}"
        at = f" at {sized(next((size for size in self.sizes if size == width), width))}"
        where = plain + at if self.takes_width else plain
        self._check_signature(args, options, plain if own is None else where)
        try:
            with torch.random.fork_rng(devices=[]), timely(where):
                torch.manual_seed(seed)
                net = self._resized(args, options)
        except StudyError:
            raise
        except ModelError as error:  # a built-in family says which widths it has
            raise ModelError(f"{plain if own is None else where}: {error}") from None
        except Exception as error:  # the user's function may raise anything
            raise ModelError(f"{where} raised {raised(error)}") from error
        if not isinstance(net, nn.Module):
            raise ModelError(
                f"{where} should return a torch.nn.Module, returned {type(net).__name__}"
            )
        self.returned.add(net, where)
        return net if self.tokens is None else masked(net, self.tokens)

    def _resized(self, args: tuple[int, ...], options: dict[str, Any]) -> nn.Module:
        """The model as the function returns it, or for images of a size's resolution."""
        if RESOLUTION not in options or self._takes(RESOLUTION):
            return self.function(*args, **options)
        side = checked_resolution(options.pop(RESOLUTION), options["in_shape"])
        channels, *own = options["in_shape"]
        net = self.function(*args, **{**options, "in_shape": (channels, *side)})
        return net if [*side] == own or not isinstance(net, nn.Module) else Resized(net, side)

    def _takes(self, name: str) -> bool:
        """Whether the function has an argument of a name: then it makes use of it itself."""
        with contextlib.suppress(TypeError, ValueError):  # a builtin may have no signature
            return name in inspect.signature(self.function).parameters
        return False

    def _check_signature(
        self, args: tuple[int, ...], options: Mapping[str, Any], where: str
    ) -> None:
        given = {k: v for k, v in options.items() if k != RESOLUTION or self._takes(RESOLUTION)}
        wanted = f"({', '.join(['width'] * len(args) + ['*', *given])})"
        takes = "what cannot be told"
        try:
            signature = inspect.signature(self.function)
            takes = str(signature)
            signature.bind(*args, **given)
        except (TypeError, ValueError) as error:  # a builtin may have no signature
            raise ModelError(
                f"{where} should take {wanted}, takes {takes}: {first_line(error)}"
            ) from None
