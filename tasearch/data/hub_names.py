"""Names of classes that a parquet file of the Hugging Face Hub keeps beside its labels.

Labels are numbers there, and the file's metadata has a list of names: `ClassLabel`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.data.part_files import files_by_part, reading

KEY = b"huggingface"  # of the metadata


def hub_names(section: DataSection, root: str, class_names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes, as the metadata of the first training file have them.

    Args:
        section: The `[data]` section of a study of parquet files.
        root: Folder that its path is relative to.
        class_names: Names of the classes by number: the labels as text.

    Returns:
        The names that the file gives these labels; `class_names` if it gives none.
    """
    assert section.path is not None
    file, *_ = files_by_part(Path(root) / section.path, section.path)["train"]
    with reading(file), open_regular(file) as stream:
        found = _listed(pq.ParquetFile(stream).schema_arrow.metadata, section.label)
    numbers = [int(name) for name in class_names if name.isascii() and name.isdigit()]
    if len(numbers) < len(class_names) or max(numbers) >= len(found):
        return tuple(class_names)
    return tuple(found[number] for number in numbers)


def _listed(metadata: Any, label: str) -> list[str]:
    """The names of all values of a label; none where the metadata are of another kind."""
    try:
        names = json.loads(metadata[KEY])["info"]["features"][label]["names"]
        whole = isinstance(names, list) and all(name and name.encode() for name in names)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):  # of another kind
        return []
    return names if whole and len({*names}) == len(names) else []
