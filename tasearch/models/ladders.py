"""Checks of the convolutional families that have a fixed list of widths."""

from __future__ import annotations

from collections.abc import Sequence

from tasearch.errors import ModelError


def check_width(width: int, legal: Sequence[int], *, meaning: str) -> None:
    """Refuse a width that a family does not have.

    Args:
        width: Width that was asked for.
        legal: Widths of the family, increasing.
        meaning: What a width counts, such as "layers".

    Raises:
        ModelError: The family has no such width; the message names the nearest ones.
    """
    if width in legal:
        return
    below, above = [w for w in legal if w < width], [w for w in legal if w > width]
    near = " and ".join(map(str, below[-1:] + above[:1]))
    rule = f"{', '.join(map(str, legal[:-1]))} or {legal[-1]} ({meaning})"
    raise ModelError(f"width should be {rule}, found {width}; nearest: {near}")


def check_images(in_shape: tuple[int, ...]) -> None:
    """Refuse samples that are no images.

    Args:
        in_shape: Shape of one sample.

    Raises:
        ModelError: The shape is not (channels, height, width).
    """
    if len(in_shape) != 3:
        raise ModelError(f"samples should be (channels, height, width), found {in_shape}")
