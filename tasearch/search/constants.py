"""A notice of features that are the same in all training samples, before anything is spent."""

from __future__ import annotations

import numpy as np

from tasearch.data import Dataset
from tasearch.errors import quoted

LISTED = 5  # that a notice names


def constant_notices(data: Dataset) -> list[str]:
    """What to know of columns, features or channels that no sample of the training set changes.

    Args:
        data: The training set and the validation set.
    """
    places = _constant(data)
    if not places:
        return []
    if data.table is not None:
        names = data.table.features.names
        first, rest = quoted(names[places[0]]), places[1:LISTED]
        more = ", ..." if len(places) > LISTED else ""
        listed = ", ".join([first, *(quoted(names[place]) for place in rest)]) + more
        columns, have = ("column", "has") if len(places) == 1 else ("columns", "have")
        return [
            f"{columns} {listed} {have} one value in all of the training part, of which nothing "
            f"can be learned: name {'it' if len(places) == 1 else 'them'} in data.drop"
        ]
    what = "features" if len(data.in_shape) == 1 else "channels"
    listed = ", ".join(map(str, places[:LISTED])) + (", ..." if len(places) > LISTED else "")
    return [
        f"{len(places):,} of {data.in_shape[0]:,} {what} are the same in all training samples "
        f"(counted from 0: {listed}): nothing can be learned of them, and their weights count as "
        f"parameters; leave them out if you can"
    ]


def _constant(data: Dataset) -> list[int]:
    """The numbers of features or channels with one value; those of a deviation of 1 may be such."""
    if data.ids is not None:
        return []
    x = data.train.x
    return [
        int(place)
        for place in np.flatnonzero(data.std.reshape(-1) == 1)
        if x[:, place].min() == x[:, place].max()
    ]
