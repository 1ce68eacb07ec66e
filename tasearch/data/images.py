"""Encoded images to pixels: one rule for each kind, the same wherever the images come from.

- The format is whatever Pillow reads but EPS, which is a program. Of several pictures in one image
  (animations, pages, the second lens of a phone) the first is taken.
- The orientation that EXIF states is applied; EXIF that cannot be read counts as none.
- Transparency (LA, RGBA, PA, palettes and single colours that are marked as transparent) is laid
  over a background of one colour, `data.background`. An image which is then of one colour only, but
  was not before, is refused: what it shows is lost on that background.
- Grey is what the file stores as grey (1, L, LA); palettes are colour, whatever is in them. 1 bit
  becomes 0 and 255. CMYK, YCbCr, Lab and HSV become RGB as Pillow converts them; colour profiles
  are ignored.
- More than 8 bits a channel are refused, for nothing says which 8 of them count. (Of JPEG 2000,
  AVIF and PPM Pillow itself hands on 8.)
- More pixels than Pillow holds to be safe are refused, and so is an image that is cut off.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from tasearch.errors import DataError, first_line

DECODER = 2  # raise it with every change that alters decoded images
GREY = ("1", "L", "LA", "La")
DEEP = re.compile(r"I|F|(?:L|LA|RGB|RGBA|RGBX|RGBa|CMYK|LAB);(?:16|32|64)")
ORIENTATION = 0x0112  # EXIF's tag
FEW_GREYS = {"L;2": 85, "L;4": 17}  # what Pillow multiplies them by
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(blob: bytes | None, *, background: str, where: str) -> tuple[np.ndarray, str]:
    """The pixels of an encoded image, by the rules above.

    Args:
        blob: The image as a file holds it.
        background: Name of the colour behind transparent pixels.
        where: File and row, for messages.

    Returns:
        uint8 (height, width) of a grey image, (height, width, 3) of one in colour; and Pillow's
        mode of what the file stores.

    Raises:
        DataError: Where it is no image that can be decoded, or breaks a rule.
    """
    if not blob:
        raise DataError(f"{where}: has no bytes of an image")
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
    except UnidentifiedImageError:  # whose words hold an address
        raise DataError(f"{where}: is no image that Pillow knows") from None
    except Exception as error:  # Pillow raises anything from SyntaxError to struct.error
        raise DataError(f"{where}: cannot be decoded: {first_line(error)}") from None
    if image.format == "EPS":
        raise DataError(f"{where}: is an EPS program, which is never run; bring pixels")
    if depth is not None:
        raise DataError(
            f"{where}: has more than 8 bits a channel (mode {depth}); bring such images as arrays"
        )
    return pixels, stored


@contextlib.contextmanager
def strictly() -> Iterator[None]:
    """Within this, images that are too large raise errors, and Pillow's other warnings are silent.

    Filters of warnings are those of the whole process, so this stands outside of all threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _depth(image: Image.Image) -> str | None:
    """The mode of an image with more than 8 bits a channel; Pillow's own says so of grey ones only.
    "BGR;16" is none: it has 16 bits in all."""
    return next((mode for mode in (image.mode, _raw(image)) if DEEP.match(mode)), None)


def _raw(image: Image.Image) -> str:
    """The mode of what the file stores, where Pillow tells it before it loads."""
    tiles = getattr(image, "tile", None) or [("", None, 0, None)]
    given = tiles[0][3]
    raw = given[0] if isinstance(given, tuple) and given else given
    return raw if isinstance(raw, str) else ""


def _scale_transparent_grey(image: Image.Image) -> None:
    """Pillow spreads 2 and 4 bits of grey over 0 .. 255, but not the grey that is transparent."""
    scale, grey = FEW_GREYS.get(_raw(image), 1), image.info.get("transparency")
    if isinstance(grey, int) and grey <= 255 // scale:
        image.info["transparency"] = grey * scale


def _turned(image: Image.Image) -> Image.Image:
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises anything of broken EXIF
        turn = None
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image, background: str, where: str) -> np.ndarray:
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
