"""A worker: `python -m tasearch.train.worker`, told by lines of JSON on its standard input.

A line is either what to train for (the study, its data, the run's folder, the device and the
modes), or tasks that go together, or widths to find the modes of. Answers are lines of a kind and a
content, the first of which tells that all is imported. The end of the input is the end of the
worker, at once, whatever it does: rungs are saved.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tasearch.chain import Hop
from tasearch.cuda import set_up_cuda
from tasearch.data import Dataset
from tasearch.data.handover import taken_over
from tasearch.errors import TasearchError
from tasearch.models import Models
from tasearch.numerics import flush_denormals_everywhere, keep_freed_memory
from tasearch.skyline import Bar
from tasearch.store import Store
from tasearch.study import Study
from tasearch.train.hops import Task, train_hops
from tasearch.train.messages import Warned
from tasearch.train.precision import study_modes
from tasearch.train.trainer import Trainer


@lru_cache(maxsize=1)
def _known(study: str, data: str) -> tuple[Study, Dataset]:
    return Study.model_validate_json(study), taken_over(data)


def _find_modes(content: dict[str, Any], warn: Any) -> dict[int, str]:
    study, data = _known(content["study"], content["data"])
    device = torch.device(content["device"])
    if device.type == "cuda":
        set_up_cuda(device, deterministic=study.training.deterministic)
    return study_modes(Models.of(study, data), content["widths"], device, warn)


def _make_trainer(content: dict[str, Any], warn: Any) -> Trainer:
    study, data = _known(content["study"], content["data"])
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

    gc.freeze()  # what is imported is no garbage
    flush_denormals_everywhere()
    keep_freed_memory()
    try:
        torch.set_num_interop_threads(1)
        tell("Ready", None)
        trainer: Trainer | None = None
        while True:
            content = json.loads(lines.get())
            if "widths" in content:
                tell("Modes", _find_modes(content, warn))
            elif "tasks" in content:
                assert trainer is not None
                for message in train_hops(trainer, [*map(_task, content["tasks"])]):
                    tell(type(message).__name__, asdict(message))
            else:
                trainer = _make_trainer(content, warn)
    except BrokenPipeError:  # nobody is there any more
        os._exit(0)
    except TasearchError as error:
        tell("error", {"kind": type(error).__name__, "message": str(error)})
    except Exception:
        tell("bug", traceback.format_exc())


def _task(content: dict[str, Any]) -> Task:
    bars = tuple(Bar(**bar) if bar else None for bar in content["bars"])
    part = tuple(content["part"])
    return Task(key=content["key"], hop=Hop.of(content["hop"]), bars=bars, part=part)


def _listen(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
