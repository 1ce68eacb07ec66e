"""Data sets: named sources, one contract, one seeded split.

A source is a function `(section, root, progress) -> arrays` that gives a mapping from the names in
`arrays.NAMES` to arrays; everything behind it is shared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tasearch.config import plugins
from tasearch.config.sections import DataSection
from tasearch.config.study import Study
from tasearch.data import digits, npz, parquet
from tasearch.data.arrays import Dataset, Split, check
from tasearch.data.decoding import Progress
from tasearch.data.returned import returned_arrays
from tasearch.data.split import split
from tasearch.errors import DataError, shown

__all__ = ["SOURCES", "Dataset", "Progress", "Split", "load_data", "load_test"]

Source = Callable[[DataSection, str, Progress | None], Mapping[str, np.ndarray]]

SOURCES: dict[str, Source] = {"digits": digits.load, "npz": npz.load, "parquet": parquet.load}


def load_data(study: Study, progress: Progress | None = None) -> Dataset:
    """The training and validation parts; the test part is dropped here.

    Args:
        study: names the source.
        progress: told of (done, total) while a source decodes, from time to time.

    Raises:
        DataError: where the data break a rule, or do not fit into memory.
        StudyError: where the source is not known.
    """
    with _in_memory(study):
        parts, num_classes = _parts(study, progress)
        return Dataset.from_splits(
            train=parts["train"], validation=parts["val"], num_classes=num_classes
        )


def load_test(study: Study) -> Split:
    """The test part, for what testifies after the search."""
    with _in_memory(study):
        return _parts(study)[0]["test"]


@contextlib.contextmanager
def _in_memory(study: Study) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        where = study.data.path or study.data.source
        raise DataError(f"{shown(where)}: does not fit into memory") from None


def _parts(study: Study, progress: Progress | None = None) -> tuple[dict[str, Split], int]:
    section = study.data
    source = plugins.resolve(section.source, SOURCES, path="data.source", root=study.root)
    where = shown(section.path or section.source)
    if section.source in SOURCES:
        arrays = source(section, study.root, progress)
    else:
        arrays = returned_arrays(source, section.source)
    parts, num_classes = check(arrays, layout=section.layout, where=where)
    return split(parts, section=section, where=where), num_classes
