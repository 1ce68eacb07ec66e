"""What a student takes, in the words and the code of the model card."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tasearch.data import Dataset
from tasearch.data.features import NUMBER, Column, TableData
from tasearch.data.tokenizer import TextTokenizer
from tasearch.errors import shown

MOST_COLUMNS = 40  # in the card's list
MOST_VALUES = 12  # of a category


def input_words(data: Dataset, *, any_length: bool = False) -> dict[str, str]:
    """The parts of the card's template about inputs.

    Args:
        data: The data that the student was trained on.
        any_length: Whether student.onnx takes texts of any length.

    Returns:
        `takes`, in words; and as code `feed` for ONNX Runtime, and `imports` and `example` for
        `tasearch.load`.
    """
    if data.table is not None:
        return _table_words(data.table, data.num_classes)
    if data.text is not None:
        return _text_words(data.text, data.num_classes, any_length=any_length)
    shape = ", ".join(map(str, data.export_shape))
    kind, note = "float32", "standardization is part of the model"
    if data.ids is not None:
        kind, note = data.ids.dtype, f"the training data hold {data.ids.low:,} to {data.ids.high:,}"
    elif not (data.mean.any() or (data.std != 1).any()):
        note = "they are not standardized"
    if data.ids is None and data.train.x.dtype == np.uint8:
        note = f"values are 0 to 255, as in the training data; {note}"
    samples, example = f"np.zeros((1, {shape}), dtype=np.{kind})", f"torch.zeros(1, {shape})"
    if data.ids is not None:
        samples = f"np.full((1, {shape}), {data.ids.low}, dtype=np.{kind})"
        example = f"torch.full((1, {shape}), {data.ids.low})"
    return {
        "takes": (
            f"It takes raw {kind} samples of shape (n, {shape}) and gives logits of shape "
            f"(n, {data.num_classes});\n{note}."
        ),
        "feed": f'feed = {{"x": {samples}}}  # your samples',
        "imports": "import torch\n",
        "example": example,
    }


def _text_words(text: TextTokenizer, num_classes: int, *, any_length: bool) -> dict[str, str]:
    """The words for a student of texts; the example is made up."""
    pair = len(text.columns) == 2
    what = f"pairs of texts ({' and '.join(map(_code, text.columns))})" if pair else "texts"
    given = ("some words", "and some more") if pair else "some words"
    length, pad = text.tokens.length, text.tokens.pad
    shape = f"(n, any number up to {length:,})" if any_length else f"(n, {length:,})"
    whole = "" if any_length else f"tokenizer.enable_padding(length={length}, pad_id={pad})\n"
    return {
        "takes": (
            f"It takes {what} and gives logits of shape (n, {num_classes}). `tokenizer.json` makes "
            f"token ids of them, at most\n{length:,}, with id {pad} behind each text's end; in "
            f"`student.onnx` these are the input `x`, int32 of shape {shape}.\n"
            f"`pip install 'tasearch[text]'` brings the package that reads the file."
        ),
        "feed": (
            f'import tokenizers\n\ntokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")\n'
            f"tokenizer.encode_special_tokens = True\n{whole}"
            f"texts = [{_literal(given)}]\n"
            f"ids = [found.ids for found in tokenizer.encode_batch(texts)]\n"
            f'feed = {{"x": np.array(ids, dtype=np.int32)}}'
        ),
        "imports": "",
        "example": f"[{_literal(given)}]",
    }


def _table_words(table: TableData, num_classes: int) -> dict[str, str]:
    """The words for a student of a table; the example is made up, for rows may be about people."""
    columns = table.features.columns
    row = {c.name: c.fill if c.kind == NUMBER else c.values[0] for c in columns}
    lines = [f"- {_column_words(column)}" for column in columns[:MOST_COLUMNS]]
    if len(columns) > MOST_COLUMNS:
        lines.append(f"- and {len(columns) - MOST_COLUMNS} more, which `student.safetensors` lists")
    listed = "\n".join(lines)
    feeds = ",\n    ".join(_feed(column, row[column.name]) for column in columns)
    return {
        "takes": (
            f"It takes rows of a table and gives logits of shape (n, {num_classes}); gaps are "
            f"filled, and categories and\nnumbers made features, by the model itself. In "
            f"`student.onnx` each column is an input of shape (n, 1):\na number is float32, NaN "
            f'where it is missing; a category is a string, "" where it is missing. A value\nthat '
            f"is not listed counts as none of them. Other columns are not used.\n\n{listed}"
        ),
        "feed": f"feed = {{  # a row that is made up\n    {feeds},\n}}",
        "imports": "",
        "example": _literal([row]),
    }


def _column_words(column: Column) -> str:
    name = _code(column.name)
    if column.kind == NUMBER:
        return f"{name}: a number" + (f", {column.fill:g} where it is missing" * column.gap)
    values = [_code(value) for value in column.values[:MOST_VALUES]]
    more = len(column.values) - MOST_VALUES
    return f"{name}: {', '.join(values)}{f' and {more} more' if more > 0 else ''}"


def _code(text: str) -> str:
    """Text as code in Markdown."""
    return "`" + shown(text).replace("`", "'") + "`"


def _feed(column: Column, value: Any) -> str:
    """One input of the graph as code."""
    kind = "np.float32" if column.kind == NUMBER else "object"
    return f"{_literal(column.name)}: np.array([[{_literal(value)}]], dtype={kind})"


def _literal(value: Any) -> str:
    """Plain values as Python code, in ASCII."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_literal, value)) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)
