"""A worker: `python -m tasearch.train.worker`, told by lines of JSON on its standard input.

The first line is what to work on: the study, the run's folder, the device, the modes and the
data's fingerprint. Each further line is a hop and its bars; the answers are lines of a kind and a
content. The end of the input is the end of the worker, at once, whatever it does: rungs are saved.
"""

from __future__ import annotations

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
from tasearch.errors import DataError, TasearchError
from tasearch.models import Models
from tasearch.skyline import Bar
from tasearch.store import Store
from tasearch.study import Study
from tasearch.train.hops import train_hop
from tasearch.train.messages import Warned
from tasearch.train.trainer import Trainer


def setup(study: Study, run: Path, modes: dict[int, str], fingerprint: str) -> dict[str, Any]:
    """The first line, without the device."""
    return {
        "study": study.model_dump(mode="json"),
        "run": str(run.resolve()),
        "modes": modes,
        "fingerprint": fingerprint,
    }


def make_trainer(content: dict[str, Any], warn: Any) -> Trainer:
    """The trainer that a first line asks for.

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

    try:
        torch.set_num_interop_threads(1)
        trainer = make_trainer(json.loads(lines.get()), warn)
        while True:
            task = json.loads(lines.get())
            bars = [Bar(**bar) if bar else None for bar in task["bars"]]
            for message in train_hop(trainer, Hop.of(task["hop"]), bars):
                tell(type(message).__name__, asdict(message))
    except TasearchError as error:
        tell("error", {"kind": type(error).__name__, "message": str(error)})
    except Exception:
        tell("bug", traceback.format_exc())


def _listen(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
