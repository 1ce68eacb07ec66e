"""Data sets: named sources, one contract for their arrays, one seeded split.

A source is a function `(section, root, progress, warn) -> arrays`, which returns a mapping from the
names in `arrays.NAMES` to arrays; or a table or texts, which are split before they become features
or token ids. What follows is the same for all sources.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tasearch.config import plugins
from tasearch.config.cache_folder import cache_folder
from tasearch.config.data_section import DataSection
from tasearch.config.study import Study
from tasearch.config.values import IMAGES
from tasearch.data import digits, folder, npz, parquet, tables, text
from tasearch.data.arrays import UNLABELLED, Dataset, Split, are_channels_last, check
from tasearch.data.decoding import Progress
from tasearch.data.encoded import Warn
from tasearch.data.hub_names import hub_names
from tasearch.data.hubs import downloaded
from tasearch.data.ids import are_ids, bounds_of
from tasearch.data.returned import returned_arrays
from tasearch.data.split import split
from tasearch.data.table_parts import Parts, table_parts
from tasearch.data.tables import Tables
from tasearch.data.taken import take_parts
from tasearch.data.teacher_outputs import tell_scaled, with_outputs
from tasearch.data.text import Texts
from tasearch.data.text_parts import text_parts
from tasearch.data.unlabelled import refuse_copies, tell_copies, unlabelled_samples
from tasearch.errors import DataError, shown

__all__ = ["SOURCES", "Dataset", "Progress", "Split", "load_data", "load_test"]

Source = Callable[
    [DataSection, str, Progress | None, Warn], Mapping[str, np.ndarray] | Tables | Texts
]

SOURCES: dict[str, Source] = {
    "digits": digits.load,
    "npz": npz.load,
    "parquet": parquet.load,
    "imagefolder": folder.load,
    "csv": tables.load,
    "text": text.load,
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
        study = _with_files(study, progress)
        found = _parts(study, ("train", "val"), progress, warn)
        data = Dataset.from_splits(
            train=found.parts["train"],
            validation=found.parts["val"],
            class_names=found.class_names,
            standardize=study.data.standardized,
            text=found.text,
        )
        if study.data.source == "parquet" or text.is_parquet(
            study.data, study.root
        ):  # the fingerprint stays that of numbers
            names = hub_names(study.data, study.root, data.class_names)
            data = replace(data, class_names=names)
        last = _exports_channels_last(study.data, data, found)
        data = replace(
            data,
            table=found.table,
            file=found.file,
            channels_last=last,
            unlabelled=found.unlabelled,
            held_out_ids=found.held_out_ids,
        )
        return data if found.joined is None else data.with_joined(found.joined)


def load_test(study: Study) -> Split:
    """The held-out test set, which is used only after the search.

    Raises:
        DataError: The data break a rule, or do not fit into memory.
        StudyError: There is no such source.
    """
    with _in_memory(study):
        return _parts(_with_files(study), ("test",)).parts["test"]


def _with_files(study: Study, progress: Progress | None = None) -> Study:
    """The study, which reads the files of a set that it names."""
    section = downloaded(study.data, study.root, progress)
    return study.model_copy(update={"data": section})


@contextlib.contextmanager
def _in_memory(study: Study) -> Iterator[None]:
    """A context in which running out of memory becomes a `DataError`."""
    try:
        yield
    except MemoryError:
        where = study.data.path or study.data.source
        raise DataError(f"{shown(where)}: does not fit into memory") from None


def _parts(
    study: Study,
    wanted: Sequence[str],
    progress: Progress | None = None,
    warn: Warn = lambda notice: None,
) -> Parts:
    """The parts that are wanted, or more, and the names of the classes."""
    section = study.data
    source = plugins.resolve(section.source, SOURCES, path="data.source", root=study.root)
    where = shown(section.path or section.source)
    if section.source in SOURCES:
        found = source(section, study.root, progress, warn)
    else:
        found = returned_arrays(source, section.source, progress)
    if isinstance(found, Tables | Texts):
        return _parts_of_rows(found, study, where, wanted, warn)
    layout = "chw" if section.source in IMAGES else section.layout
    given, names = check(found, layout=layout, where=where, ids=not section.standardize)
    if study.teacher.outputs is not None:
        given = with_outputs(given, found, study.teacher.outputs, len(names), where)
        tell_scaled(given, study.teacher.outputs, warn)
        if UNLABELLED in found:
            raise DataError(
                f"{where}: array {UNLABELLED!r} goes without teacher.outputs: of these samples "
                f"there are no outputs"
            )
    if section.source not in IMAGES:  # of files with the same bytes it is told earlier
        tell_copies(given, warn)
    unlabelled = unlabelled_samples(found, given["train"], layout=layout, where=where)
    drawn = split(given, section=section, class_names=names, where=where)
    if unlabelled is not None:
        refuse_copies(unlabelled, {n: drawn[n].in_memory() for n in ("val", "test")}, where)
    folder = cache_folder() if section.source in IMAGES else None  # which has room for them
    parts, file, joined = take_parts({name: drawn[name] for name in wanted}, folder, unlabelled)
    last = are_channels_last(found["x_train"], layout, f"{where}: x_train")
    own: dict[str, Any] = {"file": file, "channels_last": last, "joined": joined}
    ids = bounds_of(drawn["test"].in_memory().x) if are_ids(given["train"].x) else None
    return Parts(parts=parts, class_names=names, unlabelled=unlabelled, held_out_ids=ids, **own)


def _parts_of_rows(
    found: Tables | Texts, study: Study, where: str, wanted: Sequence[str], warn: Warn
) -> Parts:
    """The parts of a table or of texts.

    Raises:
        DataError: They break a rule, or the study needs outputs of a teacher, which they lack.
    """
    if study.teacher.outputs is not None:
        what = "a table has" if isinstance(found, Tables) else "texts have"
        raise DataError(
            f"{where}: {what} no array 'teacher_train', which teacher.outputs needs; "
            f"bring arrays in an .npz file, or from a function"
        )
    if isinstance(found, Tables):
        return table_parts(found, study.data, where, warn)
    return text_parts(found, study.data, root=study.root, where=where, wanted=wanted, warn=warn)


def _exports_channels_last(section: DataSection, data: Dataset, found: Parts) -> bool:
    """Whether exported students take images with their channels last.

    Raises:
        DataError: The study wants a layout, and samples are no images.
    """
    if section.export_layout == "given":
        return found.channels_last
    if len(data.in_shape) != 3:
        raise DataError(
            f"data.export_layout: goes with images, found samples of shape {data.in_shape}"
        )
    return section.export_layout == "hwc"
