"""Texts as token ids, by a tokenizer that a file holds or that is trained here.

The package `tokenizers` does the work; it is imported where texts are encoded, and not before.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tasearch.data.ids import Tokens
from tasearch.errors import DataError, first_line, shown

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of a tokenizer trained here
PADS = ("[PAD]", "<pad>", "<PAD>")  # names of the token for padding, where no setting tells it
BATCH = 1_000  # texts that are encoded at a time


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Texts as token ids.

    Args:
        ids: int32 (texts, length), with the pad id behind the end of each text.
        lengths: Number of ids of each text without those of padding, int64 (texts,).
        cut: Number of texts that were longer.
        bare: Numbers of the texts without a token of their own.
    """

    ids: np.ndarray
    lengths: np.ndarray
    cut: int
    bare: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TextTokenizer:
    """How texts become token ids.

    Args:
        content: Content of tokenizer.json, whose settings cut texts and pad them.
        tokens: What models need to know of the ids.
        columns: Names of the columns of a text: one, or two whose texts are a pair.
    """

    content: str
    tokens: Tokens
    columns: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, 32 hex digits."""
        return digest_of(self.content)

    def encode(self, texts: Sequence[Any]) -> Encoded:
        """Token ids of texts.

        Args:
            texts: Strings, or pairs of strings where there are two columns.

        Raises:
            DataError: The package `tokenizers` is missing, or cannot read the tokenizer.
        """
        ids = np.full((len(texts), self.tokens.length), self.tokens.pad, dtype=np.int32)
        lengths = np.zeros(len(texts), dtype=np.int64)
        cut, bare = 0, []
        for start in range(0, len(texts), BATCH):
            found = _encoded(self._tokenizer, [*texts[start : start + BATCH]])
            for row, one in enumerate(found, start):
                lengths[row] = len(one.ids)
                ids[row, : len(one.ids)] = one.ids
                cut += bool(one.overflowing)
                if all(one.special_tokens_mask):
                    bare.append(row)
        return Encoded(ids=ids, lengths=lengths, cut=cut, bare=tuple(bare))

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = read_tokenizer(self.content, "the tokenizer")
        tokenizer.no_padding()
        return tokenizer


def read_tokenizer(content: str, where: str) -> Any:
    """A tokenizer of the package `tokenizers`, for which "[PAD]" in a text is text like any other.

    Args:
        content: Content of a file tokenizer.json.
        where: What holds it, for messages.

    Raises:
        DataError: It is none, or the package is missing.
    """
    package = tokenizers_package()
    try:
        tokenizer = package.Tokenizer.from_str(content)
    except Exception as error:  # the package raises nothing narrower
        raise DataError(
            f"{where}: is no tokenizer.json that the package tokenizers can read: "
            f"{shown(first_line(error))}"
        ) from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def trained_tokenizer(texts: Iterable[str], vocabulary: int) -> str:
    """Train a tokenizer by byte-pair encoding; every text can be written in its tokens.

    The same texts give the same tokenizer.

    Args:
        texts: The texts of the training part.
        vocabulary: Most ids.

    Returns:
        The content of tokenizer.json.

    Raises:
        DataError: The package `tokenizers` is missing.
    """
    package = tokenizers_package()
    tokenizer = package.Tokenizer(package.models.BPE())
    tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = package.decoders.ByteLevel()
    trainer = package.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL],
        initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = package.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    return str(tokenizer.to_str())


def text_tokenizer(
    content: str,
    columns: tuple[str, ...],
    length: int,
    where: str,
    warn: Callable[[str], None] = lambda notice: None,
) -> TextTokenizer:
    """A tokenizer that cuts texts to a length.

    Args:
        content: Content of a file tokenizer.json.
        columns: Names of the columns of a text.
        length: Most ids of a text.
        where: What holds the content, for messages.
        warn: Called with a notice if the tokenizer has no token for padding.

    Raises:
        DataError: It is no tokenizer, or the length has no room for a text.
    """
    tokenizer = read_tokenizer(content, where)
    added = tokenizer.num_special_tokens_to_add(len(columns) == 2)
    if length < added + len(columns):
        what = "a pair of texts" if len(columns) == 2 else "a text"
        raise DataError(
            f"data.length: should be at least {added + len(columns)}: the tokenizer adds {added} "
            f"tokens to {what}, found {length}"
        )
    numbers = tokenizer.get_vocab(with_added_tokens=True)
    name, pad = _pad(tokenizer, numbers)
    ids, mask = _example(tokenizer)
    if pad not in numbers.values():
        warn(f"{where}: has no token for padding, such as [PAD]: id {pad}, after its last, is it")
    own = tokenizer.truncation or {}
    tokenizer.enable_truncation(length, direction=own.get("direction", "right"))
    tokenizer.enable_padding(pad_id=pad, pad_token=name)
    tokens = Tokens(
        vocabulary=max(pad, *numbers.values()) + 1,
        pad=pad,
        cls=ids[0] if mask[0] else None,
        sep=ids[-1] if mask[-1] else None,
        length=length,
    )
    return TextTokenizer(content=tokenizer.to_str(), tokens=tokens, columns=columns)


def digest_of(content: str) -> str:
    """SHA-256 of the content of a tokenizer, 32 hex digits."""
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def tokenizers_package() -> Any:
    """The package `tokenizers`.

    Raises:
        DataError: It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module("tokenizers")
    except Exception as error:  # a package that was built for another machine raises any kind
        words = f"which cannot be imported: {shown(first_line(error))}"
        if isinstance(error, ModuleNotFoundError) and error.name == "tokenizers":
            words = "which is not installed: pip install 'tasearch[text]'"
        raise DataError(f"texts need the package tokenizers, {words}") from error


def _encoded(tokenizer: Any, texts: list[Any]) -> list[Any]:
    """Texts as the package encodes them."""
    try:
        return [*tokenizer.encode_batch(texts)]
    except Exception as error:  # the package raises nothing narrower
        reason = shown(first_line(error))
        raise DataError(f"data.tokenizer: cannot encode the texts: {reason}") from None


def _example(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids of a short text, and which of them the tokenizer has added."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    (found,) = _encoded(tokenizer, ["a"])
    return (found.ids, found.special_tokens_mask) if found.ids else ([0], [0])


def _pad(tokenizer: Any, numbers: dict[str, int]) -> tuple[str, int]:
    """The name and the id of the token for padding; an id after the last where there is none."""
    if tokenizer.padding is not None:
        return tokenizer.padding["pad_token"], tokenizer.padding["pad_id"]
    for name in PADS:
        if name in numbers:
            return name, numbers[name]
    return PADS[0], max(numbers.values(), default=-1) + 1
