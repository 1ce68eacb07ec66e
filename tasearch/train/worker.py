"""A worker: `python -m tasearch.train.worker`, told by lines of JSON on its standard input.

A line is either what to train for (the study, the run's folder, the device, the modes and the
data's fingerprint), or tasks that go together, or a model to export. Answers are lines of a kind
and a content. The end of the input is the end of the worker, at once, whatever it does: rungs are
saved.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tasearch.chain import Hop
from tasearch.data import load_data
from tasearch.errors import DataError, ModelError, TasearchError
from tasearch.measure import to_onnx
from tasearch.models import Models, Standardized
from tasearch.numerics import cpu_threads, flush_denormals_everywhere, keep_freed_memory
from tasearch.skyline import Bar
from tasearch.store import Store
from tasearch.study import Study
from tasearch.train.hops import Task, train_hops
from tasearch.train.messages import Warned
from tasearch.train.trainer import Trainer


def training_setup(
    study: Study, run: Path, modes: dict[int, str], fingerprint: str
) -> dict[str, Any]:
    """What to train for, without the device."""
    return {
        "study": study.model_dump(mode="json"),
        "run": str(run.resolve()),
        "modes": modes,
        "fingerprint": fingerprint,
    }


def onnx_request(models: Models, width: int) -> dict[str, Any]:
    """A model to export, of standardized samples, on raw ones."""
    return {
        "study": models.study.model_dump(mode="json"),
        "in_shape": models.in_shape,
        "num_classes": models.num_classes,
        "mean": models.mean.tolist(),
        "std": models.std.tolist(),
        "width": width,
    }


def exported(content: dict[str, Any]) -> dict[str, Any]:
    """The model that was asked for, in ONNX and base 64, or why there is none."""
    mean, std = torch.tensor(content["mean"]), torch.tensor(content["std"])
    in_shape, width = tuple(content["in_shape"]), content["width"]
    models = Models(
        study=Study.model_validate_json(json.dumps(content["study"])),
        in_shape=in_shape,
        num_classes=content["num_classes"],
        mean=mean,
        std=std,
    )
    try:
        model = to_onnx(Standardized(models.build(width), mean, std), in_shape)
    except ModelError as error:
        return {"width": width, "model": "", "error": str(error)}
    return {"width": width, "model": base64.b64encode(model).decode(), "error": ""}


def make_trainer(content: dict[str, Any], warn: Any) -> Trainer:
    """The trainer of what a line says.

    Raises:
        TasearchError: where the data or the models are not what they were.
    """
    study = Study.model_validate_json(json.dumps(content["study"]))
    data = load_data(study)
    if data.fingerprint != content["fingerprint"]:
        raise DataError(
            f"{study.data.source}: gave other data to a worker than before; it should give the "
            f"same each time, or use --workers 1"
        )
    return Trainer(
        study=study,
        models=Models.of(study, data),
        data=data,
        store=Store(Path(content["run"]), warn),
        device=torch.device(content["device"]),
        modes={int(width): mode for width, mode in content["modes"].items()},
    )


def main() -> None:
    """Work until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a user's code prints
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()

    def tell(kind: str, content: Any) -> None:
        answers.write(json.dumps([kind, content]) + "\n")
        answers.flush()

    def warn(text: str) -> None:
        tell("Warned", asdict(Warned(text=text)))

    flush_denormals_everywhere()
    keep_freed_memory()
    try:
        torch.set_num_interop_threads(1)
        trainer: Trainer | None = None
        while True:
            content = json.loads(lines.get())
            if "onnx" in content:
                with cpu_threads(1):
                    tell("Exported", exported(content["onnx"]))
            elif "tasks" in content:
                assert trainer is not None
                for message in train_hops(trainer, [*map(_task, content["tasks"])]):
                    tell(type(message).__name__, asdict(message))
            else:
                trainer = make_trainer(content, warn)
    except TasearchError as error:
        tell("error", {"kind": type(error).__name__, "message": str(error)})
    except Exception:
        tell("bug", traceback.format_exc())


def _task(content: dict[str, Any]) -> Task:
    bars = tuple(Bar(**bar) if bar else None for bar in content["bars"])
    return Task(key=content["key"], hop=Hop.of(content["hop"]), bars=bars)


def _listen(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
