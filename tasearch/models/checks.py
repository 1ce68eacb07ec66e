"""What the convolutional families with a fixed ladder refuse."""

from __future__ import annotations

from collections.abc import Sequence

from tasearch.errors import ModelError


def check_width(width: int, legal: Sequence[int], *, meaning: str) -> None:
    """Refuse a width that a family does not have.

    Args:
        width: asked for.
        legal: the widths there are, increasing.
        meaning: what a width counts, in a word.

    Raises:
        ModelError: with the nearest legal widths, one on each side where there is one.
    """
    if width in legal:
        return
    below, above = [w for w in legal if w < width], [w for w in legal if w > width]
    near = " and ".join(map(str, below[-1:] + above[:1]))
    rule = f"{', '.join(map(str, legal[:-1]))} or {legal[-1]} ({meaning})"
    raise ModelError(f"width should be {rule}, found {width}; nearest: {near}")


def check_images(in_shape: tuple[int, ...]) -> None:
    """Refuse samples that are no images.

    Raises:
        ModelError: where they are not of (channels, height, width).
    """
    if len(in_shape) != 3:
        raise ModelError(f"samples should be (channels, height, width), found {in_shape}")
