"""What `tasearch init` is given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasearch.config.data_section import HUB_PREFIX
from tasearch.errors import StudyError, quoted

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a first study is made from.

    Args:
        name: Name of the study.
        folder: Folder of the study file; paths in it are relative to that.
        data: File or folder of the data.
        label: Column of labels of a table; None to find it.
        teacher: Name of a teacher's factory, or of a package's model; None to train one.
        checkpoint: File of a teacher's weights.
    """

    name: str
    folder: Path
    data: Path
    label: str | None = None
    teacher: str | None = None
    checkpoint: Path | None = None

    @classmethod
    def of(
        cls, *, teacher: str | None, checkpoint: Path | None, name: str, folder: Path, **data: Any
    ) -> Given:
        """What is given on the command line, where a teacher may be the file of its weights.

        Raises:
            StudyError: The teacher is neither a file of weights nor a name of a model.
        """
        if teacher is not None and ":" not in teacher:
            if Path(teacher).suffix.lower() not in WEIGHTS:
                stem = Path(teacher).stem
                code = teacher == f"{stem}.py" and stem.isidentifier()
                raise StudyError(
                    f"--teacher: should be a file of weights ({', '.join(WEIGHTS)}), "
                    f'"torchvision:NAME", "timm:NAME", "hf:FOLDER", or "package.module:make", '
                    f"found {quoted(teacher)}{f'; such as {stem}:make' if code else ''}"
                )
            if checkpoint is not None:
                raise StudyError("--checkpoint: goes with the name of a model as --teacher")
            checkpoint, teacher = Path(teacher), None
        elif checkpoint is not None and teacher is None:
            raise StudyError("--checkpoint: goes with the name of its model, as --teacher")
        if teacher is not None and teacher.startswith(HUB_PREFIX):
            brought = Path(teacher.removeprefix(HUB_PREFIX))  # from the current folder, as data are
            if brought.is_dir() and not brought.is_absolute():
                teacher = f"{HUB_PREFIX}{os.path.relpath(brought, folder)}"
        return cls(name=name, folder=folder, teacher=teacher, checkpoint=checkpoint, **data)
