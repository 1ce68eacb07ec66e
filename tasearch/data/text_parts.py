"""The parts of texts: split by rows, then made token ids as the training part alone decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from tasearch.config.data_section import DataSection
from tasearch.data.arrays import Split
from tasearch.data.hub_tokenizer import given_tokenizer
from tasearch.data.table_parts import Parts, split_rows
from tasearch.data.text import Texts
from tasearch.data.tokenizer import Encoded, TextTokenizer, text_tokenizer, trained_tokenizer
from tasearch.errors import DataError, quoted

MULTIPLE = 8  # that lengths of batches are rounded up to


def text_parts(
    found: Texts,
    section: DataSection,
    *,
    root: str,
    where: str,
    wanted: Sequence[str],
    warn: Callable[[str], None],
) -> Parts:
    """Split texts, and make token ids of them.

    Args:
        found: The texts.
        section: The `[data]` section of the study file.
        root: Folder that the path of a tokenizer is relative to.
        where: File or folder that the texts come from, for messages.
        wanted: The parts that are wanted.
        warn: Called with each notice for the user.

    Raises:
        DataError: Labels or texts break a rule, a class has too few rows, or there is no tokenizer.
    """
    rows, labels, class_names = split_rows(found.parts, section, where)
    tokenizer = _tokenizer(rows["train"], section, root, warn)
    encoded = {part: tokenizer.encode(_texts(rows[part])) for part in wanted}
    for part, own in encoded.items():
        _check(own, rows[part], f"{where}: {part}")
    _tell(encoded, tokenizer.tokens.length, warn)
    parts = {part: Split(x=own.ids, y=labels[part]) for part, own in encoded.items()}
    return Parts(parts=parts, class_names=class_names, text=tokenizer)


def _tokenizer(
    rows: pa.Table, section: DataSection, root: str, warn: Callable[[str], None]
) -> TextTokenizer:
    """The tokenizer that the study names, or else one of the training part."""
    if section.tokenizer is None:
        texts = (text for name in section.text for text in rows.column(name).to_pylist())
        content, where = trained_tokenizer(texts, section.vocabulary), "the tokenizer"
    else:
        content, where = given_tokenizer(section.tokenizer, root)
    return text_tokenizer(content, section.text, section.length, where, warn)


def _texts(rows: pa.Table) -> list[str] | list[tuple[str, ...]]:
    """The texts of rows: strings, or pairs of strings."""
    columns = [column.to_pylist() for column in rows.columns]
    return columns[0] if len(columns) == 1 else [*zip(*columns, strict=True)]


def _check(encoded: Encoded, rows: pa.Table, where: str) -> None:
    """Refuse texts of which the tokenizer leaves nothing."""
    if encoded.bare:
        first = [column[encoded.bare[0]].as_py() for column in rows.columns]
        raise DataError(
            f"{where}: data.tokenizer makes no token of {len(encoded.bare):,} of "
            f"{rows.num_rows:,} texts, such as {quoted(first[0])}; remove these rows, or take "
            f"another tokenizer"
        )


def _tell(encoded: dict[str, Encoded], length: int, warn: Callable[[str], None]) -> None:
    """Tell how many texts were cut, or that a shorter length would do."""
    texts = sum(len(own.lengths) for own in encoded.values())
    cut = sum(own.cut for own in encoded.values())
    longest = max(int(own.lengths.max()) for own in encoded.values())
    enough = -(-longest // MULTIPLE) * MULTIPLE
    if cut:
        are = "is longer than" if cut == 1 else "are longer than"
        was = "was cut" if cut == 1 else "were cut"
        warn(f"{cut:,} of {texts:,} texts {are} {length:,} tokens and {was} (data.length)")
    elif enough < length:
        warn(
            f"the longest of {texts:,} texts has {longest:,} tokens: data.length = {enough:,} is "
            f"enough, and sizes and latencies are those of {length:,}"
        )
