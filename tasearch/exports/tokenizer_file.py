"""The file tokenizer.json of an export: how a student's texts become token ids."""

from __future__ import annotations

from pathlib import Path

from tasearch.config.files import not_regular
from tasearch.data.tokenizer import TextTokenizer, digest_of
from tasearch.errors import ExportError
from tasearch.exports.weights_file import StudentWeights

NAME = "tokenizer.json"


def read_tokenizer_file(folder: Path, weights: StudentWeights) -> TextTokenizer | None:
    """The tokenizer of an exported student; None for one of other data than texts.

    Args:
        folder: Folder of the export.
        weights: Content of its student.safetensors.

    Raises:
        ExportError: The file is missing, or is not the one that was written with the weights.
    """
    if not weights.tokenizer or weights.ids is None or weights.ids.tokens is None:
        return None
    file = folder / NAME
    reason = not_regular(file)
    try:
        content = "" if reason else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise ExportError(f"{file}: cannot be read: {reason}; the student needs it for texts")
    if digest_of(content) != weights.tokenizer:
        raise ExportError(
            f"{file}: is not the tokenizer that the student was trained with; export it again"
        )
    return TextTokenizer(content=content, tokens=weights.ids.tokens, columns=weights.columns)
