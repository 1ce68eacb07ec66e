"""Images in parquet files, as in data sets on the Hugging Face Hub: a column of encoded images and
one of labels.

An image is plain binary, or a struct with a field `bytes` (another field `path` is ignored); the
rules of decoding are in `tasearch.data.images`. Labels are integers, booleans or strings,
dictionary-encoded or not.

All parts have the same channels, and the training set decides which: one channel if all its images
are grey, else three, which are equal for a grey image. If the training set is grey, a colour image
in another part is refused; `data.channels` makes all of one kind. After the rotation that EXIF
states, all images must have one size, or `data.size` gives it to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasearch.config.data_section import DataSection
from tasearch.data.decoding import Progress
from tasearch.data.encoded import Warn, decoded_arrays
from tasearch.data.part_files import files_by_part, unlabelled_files
from tasearch.data.shards import Shard, read_shard
from tasearch.data.tables import Tables, is_table, read_tables
from tasearch.errors import DataError, shown

NO_LABELS = "unlabelled"  # the part of images without labels


def load(
    section: DataSection,
    root: str,
    progress: Progress | None = None,
    warn: Warn = lambda notice: None,
) -> Mapping[str, Any] | Tables:
    """The source "parquet": one file, or a folder's files train*, validation* and test*.

    Files without images are tables.

    Images are uint8 (samples, channels, height, width). They are decoded once, and then read from
    the image cache.

    Args:
        section: The `[data]` section of the study file, with the path and the columns.
        root: Folder that the path is relative to.
        progress: Function that is called with (done, total) from time to time.
        warn: Function that is called with each notice for the user.

    Raises:
        DataError: A file, an image or a label breaks a rule; the message names the file and row.
    """
    assert section.path is not None
    if is_table(section, root):
        return read_tables(section, root, warn)
    files = files_by_part(Path(root) / section.path, section.path)
    parts = {part: [read_shard(file, section) for file in files[part]] for part in files}
    if section.unlabelled is not None:
        more = unlabelled_files(Path(root) / section.unlabelled, section.unlabelled)
        parts[NO_LABELS] = [read_shard(file, section, labelled=False) for file in more]
    for shards in parts.values():
        if not any(shard.rows for shard in shards):
            raise DataError(f"{shown(shards[0].file)}: has no rows")
    _check_labels([shard for part in files for shard in parts[part]])
    digest = b"".join(
        f"{part} {(shard.image, shard.label)}".encode() + shard.digest
        for part, shards in parts.items()
        for shard in shards
    )
    arrays = decoded_arrays(parts, digest, section, progress, warn)
    arrays.pop(f"y_{NO_LABELS}", None)
    return arrays


def _check_labels(shards: Sequence[Shard]) -> None:
    """Refuse files whose labels are of several kinds.

    Raises:
        DataError: Labels differ; the message names the first file that does.
    """
    first = shards[0]
    for shard in shards:
        if shard.classes != first.classes:
            raise DataError(
                f"{shown(shard.file)}: column {shard.label!r} should hold {first.classes} as in "
                f"{shown(first.file.name)}, holds {shard.classes}"
            )
