"""Data that are given from Python: arrays, tensors, lists, and map-style datasets of torch."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.data.arrays import PARTS, UNLABELLED, are_channels_last, check
from tasearch.data.converted import as_array
from tasearch.data.decoding import Progress
from tasearch.data.pairs import arrays_of, check_kind, is_dataset, pair_of
from tasearch.data.unlabelled import unlabelled_samples
from tasearch.errors import DataError

NAME = "data.npz"
LAYOUT = "chw"  # of the arrays in the file


@dataclass(frozen=True, kw_only=True)
class Given:
    """Data that are given.

    Args:
        x: Samples; or a dataset of (sample, label) pairs.
        y: Labels; None with a dataset.
        validation: A pair of samples and labels, or a dataset; None to split it off.
        test: The same of the held-out test set.
        unlabelled: Samples without labels; None if there are none.
    """

    x: Any
    y: Any
    validation: Any
    test: Any
    unlabelled: Any = None

    @property
    def there(self) -> bool:
        """Whether there are any.

        Raises:
            DataError: Only a part of them is there.
        """
        if self.x is not None:
            return True
        for name in ("y", "validation", "test", "unlabelled"):
            if getattr(self, name) is not None:
                raise DataError(f"{name}: goes with x, which is not given")
        return False

    def content(
        self, section: DataSection, progress: Progress | None = None
    ) -> tuple[bytes, DataSection]:
        """The content of an .npz file with the data, and the section of a study that reads it.

        Args:
            section: The `[data]` section of the study, with the layout of what is given.
            progress: Called with (done, total) while a dataset is read.

        Raises:
            DataError: The data break a rule; the message names the argument or the array.
        """
        arrays: dict[str, np.ndarray] = {}
        parts = (("x", (self.x, self.y)), ("validation", self.validation), ("test", self.test))
        for part, (where, pair) in zip(PARTS, parts, strict=True):
            if pair is not None:
                x, y = pair_of(pair, where)
                names = ("x", "y") if where == "x" else (f"{where}[0]", f"{where}[1]")
                arrays[f"x_{part}"], arrays[f"y_{part}"] = arrays_of(x, y, names, progress)
        if self.unlabelled is not None:
            arrays[UNLABELLED] = _without_labels(self.unlabelled)
        layout, ids = section.layout, not section.standardize
        checked, _ = check(arrays, layout=layout, where="search", ids=ids)
        unlabelled = unlabelled_samples(arrays, checked["train"], layout=layout, where="search")
        stream = io.BytesIO()
        named: dict[str, Any] = {f"x_{name}": part.x for name, part in checked.items()}
        named |= {f"y_{name}": arrays[f"y_{name}"] for name in checked}  # with the classes' names
        if unlabelled is not None:
            named[UNLABELLED] = unlabelled
        np.savez(stream, **named)
        own = {"layout": LAYOUT}
        last = are_channels_last(arrays["x_train"], section.layout, "x")
        if last and section.export_layout == "given":  # which the file does not tell any more
            own["export_layout"] = "hwc"
        return stream.getvalue(), section.model_copy(update=own)


def _without_labels(x: Any) -> np.ndarray:
    """Samples without labels as an array."""
    check_kind(x, "unlabelled")
    if is_dataset(x):
        raise DataError(
            "unlabelled: should be an array, a tensor or lists of samples, found a dataset "
            f"({type(x).__name__}), whose items have labels"
        )
    return as_array(x, "unlabelled")
