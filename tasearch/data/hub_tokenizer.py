"""Tokenizers of the Hugging Face Hub by their names, such as "hf:distilbert-base-uncased"."""

from __future__ import annotations

from pathlib import Path

from tasearch.config.cache_folder import cache_folder
from tasearch.config.data_section import HUB_PREFIX
from tasearch.config.files import open_regular, write_atomic
from tasearch.data.network import of_hub, reason_of
from tasearch.data.part_files import reading
from tasearch.data.tokenizer import tokenizers_package
from tasearch.errors import DataError, shown


def given_tokenizer(name: str, root: str) -> tuple[str, str]:
    """The content of the tokenizer that a study names, and where it is.

    A tokenizer of the Hub is downloaded once, so that later starts need no network.

    Args:
        name: Path of a file tokenizer.json, or "hf:NAME".
        root: Folder that the path is relative to.

    Raises:
        DataError: There is no such tokenizer, or it cannot be read or downloaded.
    """
    file = Path(root) / name
    if name.startswith(HUB_PREFIX):
        kept = name.removeprefix(HUB_PREFIX).replace("/", "--")
        file = cache_folder() / "downloads" / "hf" / "tokenizers" / f"{kept}.json"
        if not file.is_file():
            _download(name, file)
    try:
        with reading(file, "is no tokenizer.json"), open_regular(file) as stream:
            return stream.read().decode("utf-8"), f"data.tokenizer: {shown(file)}"
    except DataError as error:
        raise DataError(f"data.tokenizer: {error}") from None


def _download(name: str, file: Path) -> None:
    """Write the tokenizer of a model of the Hub to a file."""
    package = tokenizers_package()
    try:
        with of_hub():
            content = package.Tokenizer.from_pretrained(name.removeprefix(HUB_PREFIX)).to_str()
        file.parent.mkdir(parents=True, exist_ok=True)
    except Exception as error:  # of the Hub's client, of many kinds where there is no network
        raise DataError(
            f"data.tokenizer: {name!r} cannot be had here: {reason_of(error)}; run once where "
            f"there is a network, or bring its file tokenizer.json and name its path"
        ) from error
    write_atomic(file, content.encode())
