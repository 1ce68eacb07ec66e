"""The arrays of a user's `.npz` file; pickled objects in it are never loaded.

The sizes that an archive states are checked before memory is allocated: the shape in an array's
header against the member's size, and that against the compressed bytes that the archive holds.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from tasearch.config.data_section import DataSection
from tasearch.config.files import open_regular
from tasearch.errors import DataError, first_line, shown

MAGIC = b"\x93NUMPY"
ENCRYPTED = 0x1  # flag of a zip member
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
DENSEST = 1100  # largest ratio of a size to what deflate compresses it to, and some more
END = struct.Struct("<4s4H2LH")  # last record of a zip archive: sign, disks, members, comment
MANY = 0xFFFF  # the number of members is in another record
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class _Unreadable(Exception):
    """An archive cannot be read, for the reason in the message."""


def load(
    section: DataSection, root: str, progress: object = None, warn: object = None
) -> dict[str, np.ndarray]:
    """The source "npz": the arrays of an archive by name.

    Args:
        section: The `[data]` section of the study file, with the path of the archive.
        root: Folder that the path is relative to.
        progress: Not used; nothing is decoded.
        warn: Not used; there is nothing to tell.

    Raises:
        DataError: The archive cannot be read, or holds anything but arrays of numbers or text.
    """
    assert section.path is not None
    path = Path(root) / section.path
    try:
        stream = open_regular(path)
    except FileNotFoundError:
        raise DataError(
            f"{shown(path)}: no such data file (data.path = {section.path!r})"
        ) from None
    except OSError as error:
        raise DataError(
            f"{shown(path)}: cannot be read: {error.strerror} (data.path = {section.path!r})"
        ) from None
    with stream:
        try:
            if stream.peek(len(MAGIC))[: len(MAGIC)] == MAGIC:
                raise DataError(
                    f"{path}: should be an .npz archive of named arrays, is one array (.npy)"
                )
            return _arrays(stream)
        except (MemoryError, DataError):
            raise
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        except Exception as error:  # zipfile and numpy raise anything of a damaged file
            raise DataError(
                f"{path}: is no readable .npz file: {shown(first_line(error))}"
            ) from None


def _arrays(stream: IO[bytes]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(stream) as archive:
        _check_list(stream, archive)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise _Unreadable(f"{name!r} is there twice")
            _check_member(member, name)
            try:
                arrays[name] = _array(archive, member, name)
            except (zipfile.BadZipFile, zlib.error):
                raise _Unreadable(f"{name!r} is damaged") from None
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(member) as content:
        _check_header(content, name, member.file_size)
    with archive.open(member) as content:
        array = np.lib.format.read_array(content, allow_pickle=False)
        content.read(1)  # at the end the checksum is compared
    return array


def _check_list(stream: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Refuse an archive that has lost a part of its list of members; zipfile reads the rest."""
    stream.seek(-END.size - len(archive.comment), io.SEEK_END)
    sign, *_, members, _, _, _ = END.unpack(stream.read(END.size))
    found = len(archive.infolist())
    if sign != b"PK\x05\x06" or members not in (found, MANY):
        raise _Unreadable(f"it is damaged, and lists {members} arrays, of which {found} are found")


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    if member.flag_bits & ENCRYPTED:
        raise _Unreadable(f"{name!r} is encrypted")
    if member.compress_type not in READABLE:
        raise _Unreadable(
            f"{name!r} is compressed in a way that cannot be read here (zip's method "
            f"{member.compress_type}); numpy.savez and savez_compressed write others"
        )
    most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DENSEST}.get(member.compress_type)
    if most is not None and member.file_size > most * member.compress_size:
        raise _Unreadable(
            f"{name!r} says that it is of {member.file_size:,} bytes, of which the archive holds "
            f"{member.compress_size:,}"
        )


def _check_header(content: IO[bytes], name: str, size: int) -> None:
    try:
        version = np.lib.format.read_magic(content)
        if version not in HEADERS:
            raise _Unreadable(f"{name!r} is of numpy's format {version}, should be of 1.0 or 2.0")
        shape, _, dtype = HEADERS[version](content)
    except (_Unreadable, OSError, zipfile.BadZipFile, zlib.error):
        raise
    except Exception:  # numpy parses the header as a Python literal, which may raise anything
        raise _Unreadable(f"{name!r} is no array") from None
    if dtype.hasobject:
        raise _Unreadable(
            f"{name!r} holds Python objects, which are never loaded; save text as y.astype(str)"
        )
    held = size - content.tell()
    wanted = dtype.itemsize
    for length in shape:
        wanted *= length  # Python's integers do not overflow
    if min(shape, default=0) < 0 or wanted != held:
        raise _Unreadable(
            f"{name!r} should be of shape {shape} and {dtype}, which is {wanted:,} bytes; "
            f"holds {held:,}"
        )
