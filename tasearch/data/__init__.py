"""Data sets: named sources, one contract for their arrays, one seeded split.

A source is a function `(section, root, progress, warn) -> arrays`, which returns a mapping from the
names in `arrays.NAMES` to arrays. What follows is the same for all sources.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tasearch.config import plugins
from tasearch.config.data_section import DataSection
from tasearch.config.study import Study
from tasearch.config.values import IMAGES
from tasearch.data import digits, folder, npz, parquet
from tasearch.data.arrays import Dataset, Split, check
from tasearch.data.decoding import Progress
from tasearch.data.encoded import Warn
from tasearch.data.returned import returned_arrays
from tasearch.data.split import split
from tasearch.errors import DataError, shown

__all__ = ["SOURCES", "Dataset", "Progress", "Split", "load_data", "load_test"]

Source = Callable[[DataSection, str, Progress | None, Warn], Mapping[str, np.ndarray]]

SOURCES: dict[str, Source] = {
    "digits": digits.load,
    "npz": npz.load,
    "parquet": parquet.load,
    "imagefolder": folder.load,
}


def load_data(
    study: Study, progress: Progress | None = None, warn: Warn = lambda notice: None
) -> Dataset:
    """The training set and the validation set; a search never sees the held-out test set.

    Args:
        study: The study, which names the source.
        progress: Function that is called with (done, total) from time to time while images are
            decoded.
        warn: Function that is called with each notice for the user.

    Raises:
        DataError: The data break a rule, or do not fit into memory.
        StudyError: There is no such source.
    """
    with _in_memory(study):
        parts, class_names = _parts(study, progress, warn)
        return Dataset.from_splits(
            train=parts["train"], validation=parts["val"], class_names=class_names
        )


def load_test(study: Study) -> Split:
    """The held-out test set, which is used only after the search.

    Raises:
        DataError: The data break a rule, or do not fit into memory.
        StudyError: There is no such source.
    """
    with _in_memory(study):
        return _parts(study)[0]["test"]


@contextlib.contextmanager
def _in_memory(study: Study) -> Iterator[None]:
    """A context in which running out of memory becomes a `DataError`."""
    try:
        yield
    except MemoryError:
        where = study.data.path or study.data.source
        raise DataError(f"{shown(where)}: does not fit into memory") from None


def _parts(
    study: Study, progress: Progress | None = None, warn: Warn = lambda notice: None
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """All three parts by name, and the names of the classes by number."""
    section = study.data
    source = plugins.resolve(section.source, SOURCES, path="data.source", root=study.root)
    where = shown(section.path or section.source)
    if section.source in SOURCES:
        arrays = source(section, study.root, progress, warn)
    else:
        arrays = returned_arrays(source, section.source)
    layout = "chw" if section.source in IMAGES else section.layout
    parts, names = check(arrays, layout=layout, where=where)
    return split(parts, section=section, class_names=names, where=where), names
