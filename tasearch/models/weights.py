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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from tasearch.config.files import open_regular
from tasearch.errors import ModelError, first_line, short, shown

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
STATE_DICTS = ("state_dict", "model_state_dict", "model", "net")  # keys that hold one in a file
DEEPEST = 3  # keys that lead to a state dict


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The state dict in a checkpoint.

    Args:
        tensors: The tensors by name, on CPU.
        place: Keys of the file that lead to the state dict, such as `state_dict`; empty where the
            file is one.
    """

    tensors: dict[str, Tensor]
    place: str = ""


def read_weights(path: Path, digest: str | None = None) -> Weights:
    """The state dict in a checkpoint.

    What a training keeps beside it, such as the optimizer's state or hyper-parameters, is ignored.

    Args:
        path: A safetensors file, or a torch file of a state dict, which may be the value of one of
            `STATE_DICTS`.
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
        return Weights(tensors=_safetensors(content))
    for begin, what in OTHERS:
        if content.startswith(begin):
            raise ModelError(f"is no readable checkpoint: it is {what}; {WANTED}")
    if path.suffix == ".safetensors" and not content.startswith(BEFORE_1_6):
        return Weights(tensors=_safetensors(content))
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
        raise ModelError(f"{_pickled(content) or refused}; {WANTED}") from None
    except Exception:  # torch raises anything from EOFError to IndexError here
        raise ModelError(
            f"is no readable checkpoint: it is damaged or of another format; {WANTED}"
        ) from None


def _pickled(content: bytes) -> str:
    """What a torch archive holds besides tensors, by the names of classes; empty if unknown."""
    try:  # the names are read, and nothing is imported
        names = sorted(get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    except Exception:  # of a file from before torch 1.6, or of a damaged one
        return ""
    if any(name.startswith("torch.nn.modules.") for name in names):
        return "is a whole pickled model, whose code is never run"
    listed = ", ".join(shown(short(name)) for name in names[:3])
    return f"holds more than tensors ({listed}{', ...' if len(names) > 3 else ''})"


def _plain(content: Any) -> Weights:
    """The state dict in a file, with names that are text and values that are tensors."""
    keys: list[str] = []
    while len(keys) < DEEPEST and (held := _state_dicts(content, DEEPEST - len(keys))):
        if len(held) > 1:
            listed = " and ".join(map(repr, held))
            raise ModelError(f"holds several state dicts, {listed}; save one of them alone")
        keys += held
        content = content[held[0]]
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
    tensors = {name: value.detach() for name, value in content.items()}
    return Weights(tensors=tensors, place=".".join(keys))


def _state_dicts(content: Any, depth: int) -> list[str]:
    """The keys of `STATE_DICTS` that lead to tensors; if none does, those that hold a mapping.

    Args:
        content: Anything.
        depth: How many keys may lead to the tensors.
    """
    if not isinstance(content, Mapping) or not depth:
        return []
    held = [name for name in STATE_DICTS if isinstance(content.get(name), Mapping)]
    return [name for name in held if _leads_to_tensors(content[name], depth - 1)] or held


def _leads_to_tensors(content: Mapping[Any, Any], depth: int) -> bool:
    own = any(isinstance(value, Tensor) for value in content.values())
    return own or any(
        _leads_to_tensors(content[name], depth - 1) for name in _state_dicts(content, depth)
    )
