"""Encoded images as arrays: decoded once, then read from the cache; unreadable ones are told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.data.cache import cached
from tasearch.data.decoding import Decoding, Images, Progress, SizesDiffer, Unreadable, place
from tasearch.data.images import DECODER, stated_size, strictly

Warn = Callable[[str], None]  # called with each notice for the user

LISTED = 3  # images that a message names


def decoded_arrays(
    parts: Mapping[str, Sequence[Images]],
    digest: bytes,
    section: DataSection,
    progress: Progress | None,
    warn: Warn,
) -> dict[str, np.ndarray]:
    """The arrays `x_<part>` and `y_<part>` of encoded images.

    Args:
        parts: Sources of images by part, "train" among them; each part has images.
        digest: Digest of their content.
        section: The `[data]` section of the study file, which says how to decode.
        progress: Function that is called with (done, total) while images are decoded.
        warn: Function that is called with a notice if images are left out.

    Raises:
        DataError: An image or a label breaks a rule, or images cannot be decoded and the study does
            not leave them out.
    """
    rules: list[Any] = [DECODER, section.background]
    if section.size is not None or section.channels != "auto":
        rules += [section.size, section.channels]
    key = hashlib.sha256(" ".join(map(str, rules)).encode() + digest).hexdigest()[:32]

    def write(folder: Path) -> None:
        for part, found in Decoding(parts, section, progress).write(folder).items():
            if section.unreadable == "error":
                _refuse(parts[part], found)

    try:
        arrays = dict(cached(key, write))
    except SizesDiffer as error:
        sizes = _sizes(parts)
        words = f"{error}; {_in_words(sizes)}; data.size gives all one size"
        raise SizesDiffer(words, sizes) from None
    for part, sources in parts.items():
        rows = arrays.pop(f"unreadable_{part}", np.array([]))
        reasons = arrays.pop(f"reasons_{part}", np.array([]))
        found = dict(zip(rows.tolist(), reasons.tolist(), strict=True))
        if section.unreadable == "error":
            _refuse(sources, found)  # an entry of before the study was made strict
        elif found:
            warn(f"{_words(sources, found)}, and are left out: {_listed(sources, found)}")
    return arrays


def _refuse(sources: Sequence[Images], found: Mapping[int, str]) -> None:
    """Refuse images that cannot be decoded.

    Raises:
        Unreadable: There are such images.
    """
    if not found:
        return
    many = f"{_words(sources, found)}: " if len(found) > 1 else ""
    raise Unreadable(
        f'{many}{_listed(sources, found)}; data.unreadable = "skip" leaves such images out'
    )


def _sizes(parts: Mapping[str, Sequence[Images]]) -> set[tuple[int, int]]:
    """The heights and widths of all images that can be read."""
    with strictly():
        found = {
            stated_size(blob)
            for sources in parts.values()
            for source in sources
            for _, images, _ in source.batches()
            for blob in images
        }
    return {size for size in found if size is not None}


def _in_words(sizes: Set[tuple[int, int]]) -> str:
    """Sizes in words, such as `heights are 32 to 64, widths 48`."""
    heights, widths = ({*sides} for sides in zip(*sizes, strict=True))
    return f"heights are {_range(heights)}, widths {_range(widths)}"


def _range(values: Set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _words(sources: Sequence[Images], found: Mapping[int, str]) -> str:
    total = sum(source.rows for source in sources)
    return f"{len(found):,} of {total:,} images cannot be decoded"


def _listed(sources: Sequence[Images], found: Mapping[int, str]) -> str:
    """The first images with the reasons."""
    first = [f"{place(sources, row)}: {reason}" for row, reason in [*found.items()][:LISTED]]
    return "; ".join(first) + ("; ..." if len(found) > LISTED else "")
