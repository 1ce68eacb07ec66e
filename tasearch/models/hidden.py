"""The hidden layers of transformers, read while a model is called.

They are the same for the family `transformer` and for encoders of the package transformers: what
the first block gets, what each block returns, and the queries, keys and values of the last block.
Models stay as they are: hooks are there during a call alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tasearch.chains.sizes import sized
from tasearch.config.study import Study
from tasearch.errors import ModelError
from tasearch.models.hf import Encoder
from tasearch.models.tokens import mask_of
from tasearch.models.transformer import Block, Transformer
from tasearch.models.wrappers import TakesIds, without_wrappers

LIST = re.compile(r"(^|.*\.)layers?$")  # name of the list of an encoder's blocks
VECTORS = (  # names of the layers that make queries, keys and values, in various encoders
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("q_proj", "k_proj", "v_proj"),
    ("q", "k", "v"),
    ("query_proj", "key_proj", "value_proj"),
)


@dataclass(frozen=True, kw_only=True)
class HiddenSizes:
    """The sizes of a model's hidden layers.

    Args:
        width: Number of features of a token in embeddings and states.
        blocks: Number of blocks.
        heads: Number of heads of attention.
        vectors: Number of features of a token's query, key and value, of all heads together.
    """

    width: int
    blocks: int
    heads: int
    vectors: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class HiddenLayers:
    """The hidden layers of a model on a batch of texts.

    Args:
        mask: Whether an id is a token and no padding, bool (samples, tokens).
        embeddings: What the first block gets, float (samples, tokens, width).
        states: What each block returns, float (samples, tokens, width).
        vectors: Queries, keys and values of the last block, all heads side by side, each float
            (samples, tokens, features).
    """

    mask: Tensor
    embeddings: Tensor
    states: tuple[Tensor, ...]
    vectors: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Places:
    """Where the hidden layers of a model are.

    Args:
        blocks: The blocks, in the order of their calls.
        makers: The layers that make queries, keys and values: one for all, or three.
    """

    blocks: Sequence[nn.Module]
    makers: Sequence[nn.Linear]


def hidden_sizes(net: nn.Module) -> HiddenSizes:
    """The sizes of a model's hidden layers.

    Args:
        net: The model, with its wrappers.

    Raises:
        ModelError: Its hidden layers are not known; the message says what is missing.
    """
    inner = without_wrappers(net)
    places = _places(inner)
    if isinstance(inner, Transformer):
        block = places.blocks[-1]
        assert isinstance(block, Block)
        width, heads = inner.words.embedding_dim, block.attention.heads
    else:
        config: Any = inner.net.config  # type: ignore[union-attr]
        width, heads = config.hidden_size, config.num_attention_heads
    outputs = [maker.out_features for maker in places.makers]
    query, key, value = outputs if len(outputs) == 3 else [outputs[0] // 3] * 3
    return HiddenSizes(
        width=width, blocks=len(places.blocks), heads=heads, vectors=(query, key, value)
    )


def read_hidden(net: nn.Module, ids: Tensor) -> tuple[Tensor, HiddenLayers]:
    """Call a model, and read its hidden layers on the way.

    Args:
        net: The model, with its wrappers; `hidden_sizes` accepts it.
        ids: Token ids, integers (samples, tokens).

    Returns:
        Its logits, (samples, classes), and its hidden layers.
    """
    inner = without_wrappers(net)
    assert isinstance(inner, Transformer | Encoder)
    places = _places(inner)
    with _recorded(places) as (first, returned):
        logits: Tensor = net(ids)
    vectors = [returned[maker] for maker in places.makers]
    return logits, HiddenLayers(
        mask=mask_of(_ids_of(net, ids), inner.pad),
        embeddings=first[0],
        states=tuple(returned[block] for block in places.blocks),
        vectors=tuple(vectors if len(vectors) == 3 else vectors[0].chunk(3, dim=2)),
    )


def check_hidden(study: Study, nets: Mapping[int, nn.Module]) -> None:
    """Refuse models whose hidden layers are not known, where a study may need them.

    Args:
        study: The study.
        nets: A model by width.

    Raises:
        ModelError: The layers of a model are not known; the message names the key and the model.
    """
    roles = {"student": study.student}
    if study.assistants.max:
        roles["assistants"] = study.assistants  # type: ignore[assignment]
    for role, section in roles.items():
        for width in (study.teacher.width, *section.widths) if section.reads_hidden else ():
            if width in nets:
                try:
                    hidden_sizes(nets[width])
                except ModelError as error:
                    words = "of the teacher" if width == study.teacher.width else f"{sized(width)}"
                    raise ModelError(
                        f'{role}.hidden: should be "none": the model {words}: {error}'
                    ) from None


@contextlib.contextmanager
def _recorded(places: _Places) -> Iterator[tuple[list[Tensor], dict[nn.Module, Tensor]]]:
    """A context in which calls record what the first block gets, and what modules return."""
    first: list[Tensor] = []
    returned: dict[nn.Module, Tensor] = {}

    def keep_input(module: nn.Module, args: Any, kwargs: Any) -> None:
        first[:] = [args[0] if args else kwargs["hidden_states"]]

    def keep_output(module: nn.Module, args: Any, output: Any) -> None:
        returned[module] = output[0] if isinstance(output, tuple) else output

    hooks = [places.blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
    hooks += [one.register_forward_hook(keep_output) for one in (*places.blocks, *places.makers)]
    try:
        yield first, returned
    finally:
        for hook in hooks:
            hook.remove()


def _places(inner: nn.Module) -> _Places:
    """Where the hidden layers of a model without its wrappers are.

    Raises:
        ModelError: They are not known.
    """
    if isinstance(inner, Transformer):
        block = inner.blocks[-1]
        assert isinstance(block, Block)
        return _Places([*inner.blocks], [block.attention.inputs])
    if not isinstance(inner, Encoder):
        raise ModelError("it is neither of the family 'transformer' nor an encoder of transformers")
    lists = [
        module
        for name, module in inner.net.named_modules()
        if isinstance(module, nn.ModuleList) and LIST.match(name) and len(module)
    ]
    if len(lists) != 1:
        raise ModelError(
            f"its blocks should be one list of modules named layer or layers, found {len(lists)}"
        )
    blocks = [*lists[0]]
    last = {name.rpartition(".")[2]: module for name, module in blocks[-1].named_modules()}
    for names in VECTORS:
        makers = [last.get(name) for name in names]
        linear = [maker for maker in makers if isinstance(maker, nn.Linear)]
        if len(linear) == 3:
            return _Places(blocks, linear)
    known = "; ".join(", ".join(names) for names in VECTORS)
    raise ModelError(
        f"its last block should have three linear layers for query, key and value, by the names "
        f"{known}"
    )


def _ids_of(net: nn.Module, ids: Tensor) -> Tensor:
    """The token ids that a model without its wrappers gets."""
    return net.as_ids(ids) if isinstance(net, TakesIds) else ids
