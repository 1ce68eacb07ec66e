"""Encoders of texts from the package transformers, which is optional, as families and teachers.

`"hf:FOLDER"` is a folder with a config.json, relative to the root of the study; of any other name
the package asks its hub. Weights are those of model.safetensors in the folder.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.config import plugins
from tasearch.config.data_section import HUB_PREFIX
from tasearch.config.values import PACKAGES
from tasearch.data.ids import Tokens
from tasearch.data.network import of_hub, reason_of
from tasearch.errors import ModelError, raised, shown
from tasearch.models.checkpoint import file_digest
from tasearch.models.families import Build
from tasearch.models.packages import other_torch
from tasearch.models.tokens import known_tokens, mask_of, second_text

CLASSIFIER = "ForSequenceClassification"  # the end of the names of the package's classes
HIDDEN = ("intermediate_size", "hidden_dim")  # names of one value, of which a model has one


class Encoder(nn.Module):
    """Calls a model of transformers with token ids alone.

    Args:
        net: The model, a classifier of sequences.
        tokens: What the ids mean.
        typed: Whether it is told which tokens are of the second text of a pair.
    """

    def __init__(self, net: nn.Module, tokens: Tokens, *, typed: bool) -> None:
        super().__init__()
        self.net, self.pad, self.typed = net, tokens.pad, typed
        self.sep = tokens.sep

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (samples, length) to logits (samples, classes)."""
        ids, mask = ids.long(), mask_of(ids, self.pad)
        given = {"input_ids": ids, "attention_mask": mask.long()}
        if self.typed and self.sep is not None:
            given["token_type_ids"] = second_text(ids, mask, self.sep)
        logits: Tensor = self.net(**given).logits
        return logits


def hf_factory(name: str, root: str, *, pretrained: bool) -> Build:
    """A function like a user's factory, which builds the model of a folder.

    Args:
        name: "hf:" and the folder, or a name on the hub.
        root: Root of the study.
        pretrained: Whether it has the weights of the folder.
    """

    def make(
        *, in_shape: tuple[int, ...], num_classes: int, tokens: Tokens | None = None
    ) -> nn.Module:
        if not pretrained:
            return _built(name, root, in_shape, num_classes, tokens, {})
        known, config = known_tokens(tokens, in_shape), _config(name, root)
        _check_weights(config, known, num_classes)
        place = _place(name, root)
        _check_files(place)
        found, told = _of_package(
            "its weights",
            lambda kinds: kinds.AutoModelForSequenceClassification.from_pretrained(
                place, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            ),
            in_folder=isinstance(place, Path),
        )
        missing = sorted(told["missing_keys"])
        if missing:
            raise ModelError(
                f"its weights lack {shown(missing[0])}: train it for the classes of the data, and "
                f"save it with its classifier"
            )
        return _encoder(found, config, known)

    return make


def hf_family(name: str, root: str) -> Build:
    """A function like a family's, which builds a model of a folder's kind in another size.

    The arguments of a size are values of its config.json, such as num_hidden_layers, hidden_size,
    num_attention_heads and intermediate_size.

    Args:
        name: "hf:" and the folder, or a name on the hub.
        root: Root of the study.
    """

    def build(
        *,
        in_shape: tuple[int, ...],
        num_classes: int,
        tokens: Tokens | None = None,
        **arguments: Any,
    ) -> nn.Module:
        return _built(name, root, in_shape, num_classes, tokens, arguments)

    return build


def model_identity(name: str, root: str) -> str:
    """What identifies a family or a factory: its name, and what else decides its models.

    For a function of the user's that is its source; for the folder of a model its configuration.

    Args:
        name: Name of the family, of the function, or of a package and its model.
        root: Root of the study.

    Raises:
        ModelError: The folder has no configuration.
    """
    if name.partition(":")[0] not in PACKAGES:
        return plugins.identity(name, root)
    place = _place(name, root)
    if not name.startswith(HUB_PREFIX) or isinstance(place, str):
        return name
    return f"{name} {file_digest(_config_file(place))}"


def _built(
    name: str,
    root: str,
    in_shape: tuple[int, ...],
    classes: int,
    tokens: Tokens | None,
    arguments: dict[str, Any],
) -> nn.Module:
    """A model with random weights, for the vocabulary and the classes of the data."""
    known, config = known_tokens(tokens, in_shape), copy.deepcopy(_config(name, root))
    own = {"vocab_size": known.vocabulary, "pad_token_id": known.pad, "num_labels": classes}
    for key, value in {**own, **arguments}.items():
        names = HIDDEN if key in HIDDEN else (key,)
        there = next((one for one in names if hasattr(config, one)), "")
        if not there:
            raise ModelError(f"there is no {shown(key)} in its config.json, of {config.model_type}")
        setattr(config, there, value)
    _check_length(config, known, ", or give a larger max_position_embeddings")
    net = _of_package(
        "a model of this size",
        lambda kinds: kinds.AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32
        ),
    )
    return _encoder(net, config, known)


def _encoder(net: Any, config: Any, tokens: Tokens) -> nn.Module:
    named = "token_type_ids" in inspect.signature(net.forward).parameters
    return Encoder(net, tokens, typed=named and getattr(config, "type_vocab_size", 0) > 1)


def _check_files(place: Path | str) -> None:
    """Refuse a folder whose weights may hold code."""
    pickled, own = "pytorch_model.bin", "model.safetensors"
    if isinstance(place, Path) and not any(place.glob(f"{own}*")) and (place / pickled).is_file():
        raise ModelError(
            f"has {pickled}, which may hold code, and no {own}: load it with transformers where "
            f"you trust it, and write it with save_pretrained"
        )


def _check_weights(config: Any, tokens: Tokens, classes: int) -> None:
    """Refuse weights that are for other classes, or for fewer tokens."""
    saved = config.architectures or [CLASSIFIER]
    if not any(name.endswith(CLASSIFIER) for name in saved):
        raise ModelError(
            f"its weights, of {shown(saved[0])}, have no classifier: train it for the classes of "
            f"the data, and save it with its classifier"
        )
    if config.num_labels != classes:
        raise ModelError(
            f"its weights are for {config.num_labels:,} classes, the data have {classes:,}: train "
            f"it for the classes of the data"
        )
    if config.vocab_size < tokens.vocabulary:
        raise ModelError(
            f"its vocabulary has {config.vocab_size:,} tokens, that of the data "
            f"{tokens.vocabulary:,}: use the tokenizer that it was trained with"
        )
    _check_length(config, tokens)


def _check_length(config: Any, tokens: Tokens, remedy: str = "") -> None:
    most = getattr(config, "max_position_embeddings", tokens.length)
    if most < tokens.length:
        raise ModelError(
            f"takes at most {most:,} tokens, found texts of up to {tokens.length:,}: set "
            f"data.length to {most} or less{remedy}"
        )


def _place(name: str, root: str) -> Path | str:
    """The folder that a name stands for; the name itself where there is no such folder.

    Raises:
        ModelError: The package would read another folder, one that lies in the current folder.
    """
    own = name.removeprefix(HUB_PREFIX)
    folder = Path(root) / own
    if folder.is_dir():
        return folder
    if Path(own).exists():
        raise ModelError(
            f"there is no folder {shown(folder)}: give the path of {shown(Path(own).absolute())} "
            f"relative to the root of the study"
        )
    return own


def _config_file(folder: Path) -> Path:
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(f"{shown(folder)} has no config.json")
    return file


def _config(name: str, root: str) -> Any:
    place = _place(name, root)
    if isinstance(place, Path):
        _config_file(place)
    try:
        return _of_package(
            "",
            lambda kinds: kinds.AutoConfig.from_pretrained(place),
            in_folder=isinstance(place, Path),
        )
    except ModelError as error:
        if isinstance(place, Path):
            raise
        raise ModelError(
            f"there is no folder {shown(Path(root) / place)}, and the hub does not give it: {error}"
        ) from None


def _of_package(what: str, call: Callable[[Any], Any], *, in_folder: bool = True) -> Any:
    """What the package returns, without what it prints.

    Args:
        what: What is asked for, for messages.
        call: Asks the package for it.
        in_folder: Whether it is on this machine, and not on the Hub.

    Raises:
        ModelError: It is not there, or raises.
    """
    module = PACKAGES["hf"]
    try:
        kinds = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise ModelError(f"importing {module} raised {shown(raised(error))}") from error
        raise ModelError(
            f"needs {module}, which is not installed: pip install 'tasearch[hf]'"
        ) from None
    try:
        with _quiet(kinds), contextlib.nullcontext() if in_folder else of_hub():
            return call(kinds)
    except Exception as error:  # of the network, the file system or the package
        where = f"{what} cannot be had: " if what else ""
        remedy = other_torch(error)
        said = f"importing torchvision failed; {remedy}" if remedy else reason_of(error)
        raise ModelError(f"{where}{said}") from error


@contextlib.contextmanager
def _quiet(kinds: Any) -> Iterator[None]:
    """Suppress what the package tells and shows."""
    logging = kinds.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
