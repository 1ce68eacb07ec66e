from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasearch.data.images import TURNS, decode, stated_size, strictly
from tasearch.errors import DataError
from tests.helpers.arrays import encoded

RNG = np.random.default_rng(0)


def decoded(blob: bytes | None, background: str = "black") -> np.ndarray:
    return decode(blob, background=background, where="f: row 3")[0]


def png(bits: int, kind: int, width: int, rows: list[bytes], transparent: bytes = b"") -> bytes:
    """A PNG as its specification has it, for depths that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(n, d) for n, d in chunks if d or n == b"IEND")


def colour() -> np.ndarray:
    return RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decoder_applies_exif_orientation(kind: str, orientation: int) -> None:
    upright = np.zeros((16, 24, 3), dtype=np.uint8)
    upright[:8, :8] = 250  # one corner tells all eight apart
    upright[:8, 16:] = 120
    stored = Image.fromarray(upright)
    if orientation > 1:
        turn = TURNS[
            {6: 8, 8: 6}.get(orientation, orientation)
        ]  # but quarter turns undo themselves
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    pixels = decoded(encoded(stored, kind, exif=exif, **options))
    assert np.abs(pixels.astype(int) - upright).max() <= (8 if kind == "JPEG" else 0)
    assert stated_size(encoded(stored, kind, exif=exif, **options)) == upright.shape[:2]


def test_decoder_ignores_unreadable_and_meaningless_exif() -> None:
    pixels = colour()
    odd = Image.Exif()
    odd[0x0112] = 99
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0MM\0\x2a\xff\xff\xff\xff", odd.tobytes()):
        with strictly():
            assert np.array_equal(decoded(encoded(Image.fromarray(pixels), exif=exif)), pixels)


def test_decoder_blends_transparency_with_background() -> None:
    """The share of the background is that of alpha, in every mode that has one."""
    pixels, alpha = colour(), RNG.integers(0, 256, (6, 5), dtype=np.uint8)
    alpha[0, :3] = 0, 128, 255
    grey = pixels[..., 0]
    palette = Image.fromarray(grey, "P")
    palette.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    listed = np.asarray(palette.convert("RGB"))
    images = {
        "RGBA": (encoded(Image.fromarray(np.dstack([pixels, alpha]))), pixels, alpha),
        "LA": (encoded(Image.fromarray(np.dstack([grey, alpha]), "LA")), grey, alpha),
        "palette": (
            encoded(palette, transparency=bytes(range(256))),
            listed,
            grey,  # the place in the palette is its alpha
        ),
        "PA": (_palette_alpha(palette, alpha), listed, alpha),
        "one grey": (encoded(Image.fromarray(grey), transparency=int(grey[2, 2])), grey, None),
        "one colour": (
            encoded(Image.fromarray(pixels), transparency=tuple(map(int, pixels[2, 2]))),
            pixels,
            None,
        ),
    }
    for name, (blob, shown, share) in images.items():
        if share is None:
            same = (shown == shown[2, 2]) if shown.ndim == 2 else (shown == shown[2, 2]).all(-1)
            share = np.where(same, 0, 255)
        for background, value in (("black", 0), ("white", 255)):
            weight = (share / 255)[..., None] if shown.ndim == 3 else share / 255
            expected = shown * weight + value * (1 - weight)
            found = decoded(blob, background)
            assert found.shape == shown.shape, name
            assert np.abs(found - expected).max() <= 1, name


def _palette_alpha(palette: Image.Image, alpha: np.ndarray) -> bytes:
    image = palette.convert("PA")
    image.putalpha(Image.fromarray(alpha))
    return encoded(image, "TIFF")


@pytest.mark.parametrize(("bits", "packed"), [(2, b"\x1b"), (4, b"\x01\x23")])
def test_decoder_scales_transparent_grey_of_few_bits(bits: int, packed: bytes) -> None:
    scale = 255 // (2**bits - 1)
    blob = png(bits, 0, 4, [packed], struct.pack(">H", 3))
    assert decoded(blob, "white").tolist() == [[0, scale, 2 * scale, 255]]
    assert decoded(blob, "black").tolist() == [[0, scale, 2 * scale, 0]]


def test_decoder_refuses_picture_invisible_on_background() -> None:
    alpha = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
    for ink, background, other in ((255, "white", "black"), (0, "black", "white")):
        blob = encoded(Image.fromarray(np.dstack([np.full_like(alpha, ink), alpha]), "LA"))
        assert np.ptp(decoded(blob, other)) > 100
        with pytest.raises(DataError) as error:
            decoded(blob, background)
        assert str(error.value) == (
            f"f: row 3: nothing of it is seen over {background}, for its transparency holds all "
            f"that it shows; data.background names another colour"
        )
    blank = encoded(Image.new("RGBA", (5, 6)))
    assert not decoded(blank).any()  # it never showed anything


def test_decoder_converts_every_mode() -> None:
    pixels = colour()
    image = Image.fromarray(pixels)
    bits = pixels[..., 0] > 127
    assert np.array_equal(decoded(encoded(Image.fromarray(bits))), bits * np.uint8(255))
    for mode in ("CMYK", "LAB", "YCbCr"):
        blob = encoded(image.convert(mode), "TIFF")
        assert np.array_equal(decoded(blob), np.asarray(image.convert(mode).convert("RGB")))
    few = image.convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(decoded(encoded(few)), np.asarray(few.convert("RGB")))
    grey = Image.fromarray(pixels[..., 0])
    assert decoded(encoded(grey.convert("P"))).ndim == 3  # a palette is colour
    assert decoded(encoded(grey)).ndim == 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_decoder_takes_first_of_several_pictures(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    options |= {"lossless": True} if kind == "WEBP" else {}
    blob = encoded(frames[0], kind, **options)
    assert Image.open(io.BytesIO(blob)).n_frames == 3
    assert np.array_equal(decoded(blob), np.asarray(frames[0]))


DEEP = "has more than 8 bits a channel (mode {}); bring such images as arrays"
GOOD = encoded(Image.fromarray(colour()))
REFUSED: dict[str, tuple[bytes | None, str]] = {
    "nothing": (None, "has no bytes of an image"),
    "empty": (b"", "has no bytes of an image"),
    "text": (b"junk", "is no image that Pillow knows"),
    "16-bit grey": (png(16, 0, 1, [b"\1\2"]), DEEP.format("I;16")),
    "16-bit colour": (png(16, 2, 1, [b"\1\2" * 3]), DEEP.format("RGB;16B")),
    "16-bit alpha": (png(16, 6, 1, [b"\1\2" * 4]), DEEP.format("RGBA;16B")),
    "16-bit grey and alpha": (png(16, 4, 1, [b"\1\2" * 2]), DEEP.format("LA;16B")),
    "floats": (encoded(Image.new("F", (2, 2)), "TIFF"), DEEP.format("F")),
    "32-bit": (encoded(Image.new("I", (2, 2)), "TIFF"), DEEP.format("I")),
    "a program": (
        encoded(Image.new("RGB", (2, 2)), "EPS"),
        "is an EPS program, which is never run; bring pixels",
    ),
    "bomb": (
        png(8, 0, 10_000, [b""] * 9_000),
        "has more than 89,478,485 pixels, which Pillow takes for an attack on memory",
    ),
    "greater bomb": (
        png(8, 0, 2**31 - 1, [b""] * 2),
        "has more than 89,478,485 pixels, which Pillow takes for an attack on memory",
    ),
    "cut off": (
        encoded(Image.fromarray(np.tile(colour(), (9, 9, 1))), "JPEG")[:900],
        "cannot be decoded: image file is truncated (",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_decoder_names_reason_of_refusal(case: str) -> None:
    blob, words = REFUSED[case]
    with strictly(), pytest.raises(DataError) as error:
        decoded(blob)
    said = str(error.value)
    assert said == f"f: row 3: {words}" or (
        words.endswith("(") and said.startswith(f"f: row 3: {words}")
    )
