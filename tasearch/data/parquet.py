"""Images in parquet files, as hubs keep them: a column of images and one of labels.

An image is a struct of `bytes` (and `path`, which is not looked at), or plain binary: an encoded
image, of which `tasearch.data.images` tells the rules. Labels are integers, dictionary-encoded or
not.

The colour mode is one for all parts, and all images of the training part decide it, in whatever
order: where all are grey there is one channel; else there are three, and grey images among them
have three that are equal. An image in colour in another part is refused where the training part is
grey. All images have one size, once they are turned as their EXIF says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasearch.config.files import check_regular
from tasearch.config.sections import DataSection
from tasearch.data.cache import cached
from tasearch.data.decoding import Decoding, Progress
from tasearch.data.images import DECODER
from tasearch.data.shards import read_shard
from tasearch.errors import DataError, shown

PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}


def load(section: DataSection, root: str, progress: Progress | None = None) -> Mapping[str, Any]:
    """The parts of one file, or of a folder's files train*, validation* and test*.

    Images are uint8 (samples, channels, height, width), decoded once.

    Raises:
        DataError: naming the file and, where there is one, the row.
    """
    assert section.path is not None
    files = _parts(Path(root) / section.path, section.path)
    parts = {part: [read_shard(file, section) for file in files[part]] for part in files}
    digest = hashlib.sha256(f"{DECODER} {section.background}".encode())
    for part, shards in parts.items():
        for shard in shards:
            digest.update(f"{part} {(shard.image, shard.label)}".encode() + shard.digest)
    decoding = Decoding(parts, section.background, progress)
    return cached(digest.hexdigest()[:32], decoding.write)


def _parts(path: Path, given: str) -> dict[str, list[Path]]:
    """Files by part, in the order of their names."""
    try:
        if not path.is_dir():
            check_regular(path)
            return {"train": [path]}
        files = sorted(file for file in path.iterdir() if file.suffix == ".parquet")
    except FileNotFoundError:
        raise DataError(
            f"{shown(path)}: no such data file or folder (data.path = {given!r})"
        ) from None
    except OSError as error:
        raise DataError(
            f"{shown(path)}: cannot be read: {error.strerror} (data.path = {given!r})"
        ) from None
    parts: dict[str, list[Path]] = {}
    for file in files:
        word = "".join(c if c.isalpha() else " " for c in file.stem.lower()).split()
        if not word or word[0] not in PARTS:
            raise DataError(
                f"{shown(file)}: the name should begin with train, validation or test, "
                f"to tell which part it is"
            )
        parts.setdefault(PARTS[word[0]], []).append(file)
    if "train" not in parts:
        raise DataError(f"{path}: should hold train*.parquet, found {sorted(parts) or 'nothing'}")
    return parts
