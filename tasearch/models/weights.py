"""Reading the tensors of a safetensors file, or of a torch file of plain tensors.

Nothing but plain tensors is ever unpickled. The format is told by a file's first bytes, not by its
name. Torch's own messages are not passed on, since they advise to unpickle the file. Torch does not
compare the checksums in its archives, so it is done here; safetensors files and torch files from
before version 1.6 have no checksums.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from tasearch.config.files import open_regular
from tasearch.errors import ModelError, first_line, shown

OTHERS = (  # first bytes of files that are given by mistake
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file with `git lfs pull`"),
    (b"<!", "a web page"),
    (b"<h", "a web page"),
    (b"\x08", "an ONNX file"),  # the tag of the version, which is the first field
)
BEFORE_1_6 = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # first bytes of a torch file
WANTED = "save the model's state_dict() with torch.save or as safetensors"


def read_tensors(path: Path, digest: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on CPU.

    Args:
        path: A safetensors file, or a torch file of a state dict or of `{"state_dict": ...}`.
        digest: The first 32 hex digits of SHA-256 that the file should have; None for any.

    Raises:
        ModelError: The file cannot be read, is of another format, damaged, or has changed.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read()
    except FileNotFoundError:
        raise ModelError("no such file") from None
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}") from None
    if digest is not None and hashlib.sha256(content).hexdigest()[:32] != digest:
        raise ModelError("changed since it was first read; start again")
    if not content:
        raise ModelError("is no readable checkpoint: it is empty")
    if content.startswith(b"PK"):
        return _plain(_torch(_checked(content), "holds more than tensors"))
    if content[8:9] == b"{":
        return _safetensors(content)
    for begin, what in OTHERS:
        if content.startswith(begin):
            raise ModelError(f"is no readable checkpoint: it is {what}; {WANTED}")
    if path.suffix == ".safetensors" and not content.startswith(BEFORE_1_6):
        return _safetensors(content)
    return _plain(_torch(content, "is no readable checkpoint: it is damaged or of another format"))


def _safetensors(content: bytes) -> dict[str, Tensor]:
    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise ModelError(
            f"is no readable checkpoint: as safetensors its header would be of {length:,} bytes, "
            f"of {len(content):,} in all"
        )
    try:
        return safetensors.torch.load(content)
    except MemoryError:
        raise
    except Exception as error:  # its own error, or KeyError for a dtype that torch lacks
        reason = shown(first_line(error))
        raise ModelError(f"is no readable checkpoint: {reason}") from None


def _checked(content: bytes) -> bytes:
    """A torch archive, written again from the members with the right checksums.

    The original is not used, since torch and zipfile read a damaged archive differently: if a
    flipped bit says that a member is a folder, torch returns other weights than were saved.
    """
    made, broken = io.BytesIO(), None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(made, "w") as anew:
            names = archive.namelist()
            if not any(name.endswith("/data.pkl") for name in names):
                raise ModelError(f"is no readable checkpoint: it is {_archive(names)}; {WANTED}")
            if any(name.endswith("/constants.pkl") for name in names):
                raise ModelError(f"is a TorchScript archive, whose code is never run; {WANTED}")
            if not any(member.CRC for member in archive.infolist()):
                return content  # torch can be told to write no checksums
            for broken in sorted(set(names)):
                anew.writestr(broken, archive.read(broken))
    except (ModelError, MemoryError):
        raise
    except Exception:  # zipfile raises anything of a damaged archive
        where = "" if broken is None else f", at {shown(broken)!r}"
        raise ModelError(
            f"is no readable checkpoint: its archive is damaged or cut off{where}"
        ) from None
    return made.getvalue()


def _archive(names: list[str]) -> str:
    """The kind of an archive that is no torch file, by the names of its members."""
    if any(name.endswith(".h5") for name in names):
        return "a Keras file"
    return "an .npz file" if any(name.endswith(".npy") for name in names) else "a zip archive"


def _torch(content: bytes, refused: str) -> Any:
    """What torch.load returns for a file of tensors and plain containers.

    Args:
        content: The file's bytes.
        refused: Start of the message if the file holds anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dtypes that are refused here anyway
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError:
        raise ModelError(f"{refused}; {WANTED}") from None
    except Exception:  # torch raises anything from EOFError to IndexError here
        raise ModelError(
            f"is no readable checkpoint: it is damaged or of another format; {WANTED}"
        ) from None


def _plain(content: Any) -> dict[str, Tensor]:
    """The state dict in a file, with names that are text and values that are tensors."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        kind = "one tensor" if isinstance(content, Tensor) else type(content).__name__
        raise ModelError(f"should hold a state dict of tensors, holds {kind}; {WANTED}")
    for name, value in content.items():
        if not isinstance(name, str):
            words = f"a name that is no text ({type(name).__name__})"
        elif not isinstance(value, Tensor):
            words = f"{shown(name)!r}, which is {type(value).__name__}"
        else:
            continue
        raise ModelError(f"should hold a state dict of tensors, holds {words}; {WANTED}")
    return {name: value.detach() for name, value in content.items()}
