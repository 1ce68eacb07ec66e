"""Decoding images to pixels, by the same rules for all sources.

- Format: all that Pillow reads, except EPS, which is a program. If an image has several frames
  (an animation, pages, the second lens of a phone), the first is taken.
- Orientation: as EXIF states it; EXIF that cannot be read is ignored.
- Transparency (modes LA, RGBA and PA, palettes and single colours that are marked as transparent):
  pixels are put on a background of one colour, `data.background`. An image that has only one colour
  after that, but had more before, is refused: it cannot be seen on that background.
- Colour: an image is grey if the file stores it as grey (modes 1, L, LA). Palettes are colour,
  whatever is in them. 1 bit becomes 0 and 255. Pillow converts CMYK, YCbCr, Lab and HSV to RGB;
  colour profiles are ignored.
  `data.channels` makes all images grey (by luma, ITU-R 601-2) or all of three channels.
- Depth: more than 8 bits a channel are refused, since nothing says which 8 of them count. (For
  JPEG 2000, AVIF and PPM, Pillow itself returns 8.)
- Size: more pixels than Pillow considers safe are refused, and so are truncated images. With
  `data.size`, an image of another size is resized by Pillow's Lanczos filter, which is antialiased,
  so that it just covers that size with its proportions kept, and cropped about its centre.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasearch.errors import DataError, first_line, shown

DECODER = 2  # to be raised with every change of decoded pixels, so that no cached ones are used
Channels = Literal["auto", "rgb", "grey"]

GREY = ("1", "L", "LA", "La")
DEEP = re.compile(r"I|F|(?:L|LA|RGB|RGBA|RGBX|RGBa|CMYK|LAB);(?:16|32|64)")
ORIENTATION = 0x0112  # tag of EXIF
FEW_GREYS = {"L;2": 85, "L;4": 17}  # factor by which Pillow multiplies such grey values
RESIZING = Image.Resampling.LANCZOS
LYING = (5, 6, 7, 8)  # orientations of EXIF that exchange height and width
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(DataError):
    """An image cannot be decoded at all, whatever the study says.

    Args:
        where: Place of the image.
        reason: Why it cannot be decoded.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason


def decode(blob: bytes | None, *, background: str, where: str) -> tuple[np.ndarray, str]:
    """Decode an image by this module's rules.

    Args:
        blob: Content of an image file; None if it is missing.
        background: Name of the colour behind transparent pixels.
        where: File and row, for messages.

    Returns:
        Pixels, uint8 (height, width) if the image is grey, else (height, width, 3); and Pillow's
        mode of the stored image.

    Raises:
        UnreadableImage: The image cannot be decoded.
        DataError: The image breaks a rule.
    """
    if not blob:
        raise UnreadableImage(where, "has no bytes of an image")
    try:
        image = Image.open(io.BytesIO(blob))
        stored, depth = image.mode, _depth(image)
        if depth is None and image.format != "EPS":
            _scale_transparent_grey(image)
            image.load()
            pixels = _flat(_turned(image), background, where)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            f"{where}: has more than {Image.MAX_IMAGE_PIXELS:,} pixels, which Pillow takes for an "
            f"attack on memory"
        ) from None
    except MemoryError:
        raise DataError(f"{where}: does not fit into memory once decoded") from None
    except UnidentifiedImageError:  # its message contains an address in memory
        raise UnreadableImage(where, "is no image that Pillow knows") from None
    except Exception as error:  # Pillow raises many kinds, from SyntaxError to struct.error
        reason = f"cannot be decoded: {shown(first_line(error))}"
        raise UnreadableImage(where, reason) from None
    if image.format == "EPS":
        raise DataError(f"{where}: is an EPS program, which is never run; bring pixels")
    if depth is not None:
        raise DataError(
            f"{where}: has more than 8 bits a channel (mode {depth}); bring such images as arrays"
        )
    return pixels, stored


def stated_size(blob: bytes | None) -> tuple[int, int] | None:
    """The height and the width that an image states, upright; None if Pillow cannot read them.

    Args:
        blob: Content of an image file; None if it is missing.
    """
    try:
        image = Image.open(io.BytesIO(blob or b""))
        width, height = image.size
        turned = image.format == "TIFF"  # which Pillow turns itself
        lies = not turned and image.getexif().get(ORIENTATION) in LYING
    except Exception:  # of many kinds
        return None
    return (width, height) if lies else (height, width)


def fitted(pixels: np.ndarray, *, size: tuple[int, int] | None, channels: Channels) -> np.ndarray:
    """Pixels of the size and with the channels that the study wants.

    Args:
        pixels: Pixels, uint8 (height, width) or (height, width, 3).
        size: Wanted (height, width); None keeps the image's own.
        channels: "grey" makes a colour image grey; by the others pixels stay as they are, for grey
            images become coloured ones when they are stored.

    Returns:
        Pixels, uint8 (height, width) or (height, width, 3).
    """
    image = None
    if channels == "grey" and pixels.ndim == 3:
        image = Image.fromarray(pixels).convert("L")
    if size is not None and pixels.shape[:2] != size:
        image = ImageOps.fit(image or Image.fromarray(pixels), size[::-1], RESIZING)
    return pixels if image is None else np.asarray(image)


@contextlib.contextmanager
def strictly() -> Iterator[None]:
    """A context in which images that are too large raise errors, and Pillow gives no warnings.

    Warning filters belong to the whole process, so enter it once, outside of all threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _depth(image: Image.Image) -> str | None:
    """The mode of an image with more than 8 bits a channel, else None.

    Pillow's own mode shows the depth of grey images only. "BGR;16" has 16 bits for all channels.
    """
    return next((mode for mode in (image.mode, _raw(image)) if DEEP.match(mode)), None)


def _raw(image: Image.Image) -> str:
    """The mode that the file stores, if Pillow knows it before it loads the pixels."""
    tiles = getattr(image, "tile", None) or [("", None, 0, None)]
    given = tiles[0][3]
    raw = given[0] if isinstance(given, tuple) and given else given
    return raw if isinstance(raw, str) else ""


def _scale_transparent_grey(image: Image.Image) -> None:
    """Scale the transparent grey of 2 or 4 bits to 0 .. 255; Pillow scales only the pixels."""
    scale, grey = FEW_GREYS.get(_raw(image), 1), image.info.get("transparency")
    if isinstance(grey, int) and grey <= 255 // scale:
        image.info["transparency"] = grey * scale


def _turned(image: Image.Image) -> Image.Image:
    """The image in the orientation that EXIF states."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # for broken EXIF Pillow raises many kinds
        turn = None
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image, background: str, where: str) -> np.ndarray:
    """The pixels of an image, on a background if it has transparent ones."""
    grey = image.mode in GREY
    if not image.has_transparency_data:
        return np.asarray(image.convert("L" if grey else "RGB"))
    clear = image.convert("LA" if grey else "RGBA")
    flat = Image.new("L" if grey else "RGB", image.size, background)
    flat.paste(clear.convert(flat.mode), mask=clear.getchannel("A"))
    pixels = np.asarray(flat)
    if _one_colour(pixels) and not _one_colour(np.asarray(clear)):
        raise DataError(
            f"{where}: nothing of it is seen over {background}, for its transparency holds all "
            f"that it shows; data.background names another colour"
        )
    return pixels


def _one_colour(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[0, 0]).all())
