"""The file student.safetensors: the weights, and what is needed to build their model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tasearch.chains.keys import canonical_json
from tasearch.chains.sizes import size_names
from tasearch.config.files import not_regular
from tasearch.data.features import Features
from tasearch.data.ids import KINDS, LARGEST, Ids, Tokens
from tasearch.errors import ExportError, first_line
from tasearch.exports.student import ExportedStudent

NAME = "student.safetensors"
META = "tasearch"  # key of the file's metadata
MOST_CLASSES = 2**24  # more can only be damage


@dataclass(frozen=True, kw_only=True)
class StudentWeights:
    """Content of the file.

    Args:
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        class_names: Names of the classes by number, which is the order of the logits.
        width: Width of the model; any JSON value in a file that is not ours.
        state: State dict of the model.
        scale: The tensors "mean" and "std" of the standardization.
        features: How rows of a table become samples; None for other data.
        ids: What samples of integers hold; None for numbers to compute with.
        channels_last: Whether `tasearch.load` takes images with their channels last.
        columns: Names of the columns of a text; empty for other data.
        tokenizer: Digest of the content of tokenizer.json; empty for other data than texts.
    """

    in_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    width: Any
    state: dict[str, Tensor]
    scale: dict[str, Tensor]
    features: Features | None = None
    ids: Ids | None = None
    channels_last: bool = False
    columns: tuple[str, ...] = ()
    tokenizer: str = ""


def write_weights(student: ExportedStudent) -> bytes:
    """The content of the file.

    Args:
        student: The student to export.

    Returns:
        Bytes in the safetensors format.
    """
    meta = {
        "family": student.run.manifest.study.model.family,
        "width": int(student.candidate.chain[-1]),
        "in_shape": student.data.in_shape,
        "num_classes": student.data.num_classes,
        "class_names": student.data.class_names,
    }
    if student.data.channels_last:
        meta["layout"] = "hwc"
    if student.data.ids is not None:
        meta["ids"] = _ids_content(student.data.ids)
    if student.data.text is not None:
        text = student.data.text
        meta["text"] = {"columns": text.columns, "tokenizer": text.digest}
    if size_names(student.candidate.chain[-1:]):
        meta["size"] = str(student.candidate.chain[-1])
    if student.data.table is not None:
        meta["features"] = student.data.table.features.content()
    state = {name: t.clone().contiguous() for name, t in student.module.state_dict().items()}
    return save(state, metadata={META: canonical_json(meta)})


def read_weights(file: Path) -> StudentWeights:
    """Read the file.

    Args:
        file: Path of student.safetensors.

    Returns:
        Its content.

    Raises:
        ExportError: If it is missing, or not the file of an export.
    """
    reason = not_regular(file)
    if reason is not None:
        raise ExportError(f"{file}: is no exported student: {reason}")
    try:
        with safe_open(file, framework="pt") as stored:
            meta = json.loads(stored.metadata()[META])
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return StudentWeights(
            in_shape=tuple(meta["in_shape"]),
            class_names=_class_names(meta),
            width=meta["width"],
            state=state,
            scale={name: state[name] for name in ("mean", "std")},
            features=_features(meta),
            ids=_ids(meta),
            channels_last=meta.get("layout") == "hwc",
            columns=tuple(meta.get("text", {}).get("columns", ())),
            tokenizer=meta.get("text", {}).get("tokenizer", ""),
        )
    except FileNotFoundError:
        raise ExportError(f"{file}: no such file; `tasearch export` writes one") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{file}: is no exported student: {first_line(error)}") from None


def _features(meta: dict[str, Any]) -> Features | None:
    """How rows of a table become samples."""
    return Features.from_content(meta["features"]) if "features" in meta else None


def _ids_content(ids: Ids) -> dict[str, Any]:
    """What samples of integers hold, as plain values."""
    content = asdict(ids)
    if ids.tokens is None:
        del content["tokens"]
    return content


def _ids(meta: dict[str, Any]) -> Ids | None:
    """What samples of integers hold."""
    if "ids" not in meta:
        return None
    content = meta["ids"]
    tokens = Tokens(**content["tokens"]) if "tokens" in content else None
    ids = Ids(**{**content, "tokens": tokens})
    if ids.dtype not in KINDS or not -LARGEST <= ids.low <= ids.high < LARGEST:
        raise ValueError(f"ids should be {' or '.join(KINDS)}, found {ids}")
    return ids


def _class_names(meta: dict[str, Any]) -> tuple[str, ...]:
    """The names of the classes by number; exports of before classes had names have numbers."""
    count = meta["num_classes"]
    if not 1 <= count <= MOST_CLASSES:
        raise ValueError(f"num_classes should be 1 to {MOST_CLASSES:,}, found {count:,}")
    names = tuple(meta.get("class_names", map(str, range(count))))
    if len(names) != count or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names should be {count} strings")
    return names
