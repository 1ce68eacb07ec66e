"""A worker: `python -m tasearch.train.workers.worker`, which reads lines of JSON on standard input.

A line is one of: a setup (the study, its data, the run's folder, the device and the modes), tasks
that train together, widths to find the modes of, or a function of tasearch to call. Each answer is
a line with a kind and a content. The first says that all is imported; while there is progress, one
comes at least every second. At the end of its input the worker ends at once: rungs are saved.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import queue
import signal
import socket
import threading
import time
import traceback
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tasearch.chains.hop import Hop
from tasearch.chains.mode import modes_as_text, modes_from_text
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset
from tasearch.data.shared import read_shared
from tasearch.errors import RunError, StudyError, TasearchError, option, raised
from tasearch.models import Models
from tasearch.models.numerics import flush_denormals_everywhere, keep_freed_memory
from tasearch.pareto.skyline import Threshold
from tasearch.runs import heartbeat
from tasearch.runs.addresses import store_at
from tasearch.runs.events import Notice
from tasearch.train.cuda import set_up_cuda
from tasearch.train.fast.autotuning import study_modes
from tasearch.train.tasks import Task, train_hops
from tasearch.train.trainer import Trainer
from tasearch.train.workers.worker_process import CUT_OFF

HEARTBEAT = 0.5  # seconds


@lru_cache(maxsize=1)
def _known(study: str, data: str) -> tuple[Study, Dataset]:
    try:
        return Study.model_validate_json(study), read_shared(data)
    except FileNotFoundError:
        raise RunError(
            f"{data}: a worker on {socket.gethostname()} does not see it; "
            f"{option('runs_dir')} must be a folder that all machines of the cluster share, at the "
            f"same path"
        ) from None


def _find_modes(content: dict[str, Any], warn: Any) -> dict[str, str] | None:
    """The modes of widths; None if the user's code raised something like SystemExit."""
    study, data = _known(content["study"], content["data"])
    device = torch.device(content["device"])
    if device.type == "cuda":
        set_up_cuda(device, deterministic=study.training.deterministic)
    try:
        models = Models.for_study(study, data)
        widths = [width for width in study.widths if width in content["widths"]]  # with names
        return modes_as_text(study_modes(models, widths, device, warn))
    except Exception:
        raise
    except BaseException:  # such as sys.exit()
        return None


def _arrived(content: dict[str, Any]) -> dict[str, Any]:
    """A setup with the paths of this machine."""
    if content["store"]["remote"] is None:  # all machines see the folder of the run
        return content
    from tasearch.runs.remote.arrival import arrived

    return arrived(content)


def _make_trainer(content: dict[str, Any], warn: Any) -> Trainer:
    content = _arrived(content)
    study, data = _known(content["study"], content["data"])
    trainer = Trainer(
        study=study,
        models=Models.for_study(study, data),
        data=data,
        store=store_at(content["store"], warn),
        device=torch.device(content["device"]),
        modes=modes_from_text(content["modes"]),
    )
    UserCode(digests={Path(file): digest for file, digest in content["code"].items()}).check()
    return trainer


class _Wire:
    """The worker's standard input and output, out of reach of the user's code.

    What that code prints goes to standard error, and what it reads is empty.
    """

    def __init__(self) -> None:
        self._told = threading.Lock()
        self._process, self._out, self.questions = os.getpid(), os.dup(1), os.fdopen(os.dup(0))
        self._same = os.fstat(self._out).st_ino
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        try:
            os.dup2(2, 1)  # for what the user's code prints
        except OSError:  # there is no standard error either
            os.dup2(nothing, 1)
        os.close(nothing)

    def tell(self, kind: str, content: Any) -> None:
        """Write an answer, or end the process if that is not possible."""
        if os.getpid() != self._process:  # the user's code has forked
            os._exit(0)
        line = (json.dumps([kind, content]) + "\n").encode()
        with self._told:
            try:
                if os.fstat(self._out).st_ino != self._same:
                    os._exit(CUT_OFF)
                while line:
                    line = line[os.write(self._out, line) :]
            except OSError:  # the driver is gone, or the user's code has closed the file
                os._exit(CUT_OFF)


def main() -> None:
    """Answer until the input ends."""
    wire = _Wire()
    lines: queue.Queue[str] = queue.Queue()
    for task in (lambda: _listen(wire, lines), lambda: _tell_progress(wire)):
        threading.Thread(target=task, daemon=True).start()
    gc.freeze()  # imported modules need not be searched for garbage
    flush_denormals_everywhere()
    keep_freed_memory()
    torch.set_num_interop_threads(1)
    wire.tell("Ready", None)
    _work(wire, lines)


def _work(wire: _Wire, lines: queue.Queue[str]) -> None:
    """Do what each line asks for, until an error that concerns more than one hop."""
    trainer: Trainer | None = None
    at = "code that the study file names"

    def step(words: str) -> None:
        nonlocal at
        at = words
        wire.tell("At", words)

    def warn(text: str) -> None:
        wire.tell("Notice", asdict(Notice(message=text)))

    try:
        while True:
            content = json.loads(lines.get())
            if "widths" in content:
                wire.tell("Modes", _find_modes(content, warn))
            elif "call" in content:
                module, _, name = content["call"].partition(":")
                function = getattr(importlib.import_module(module), name)
                wire.tell("Done", function(content, step))
            elif "tasks" in content:
                assert trainer is not None
                tasks = [*map(_task, content["tasks"])]
                _agree(trainer, tasks)
                for event in train_hops(trainer, tasks):
                    wire.tell(type(event).__name__, asdict(event))
            else:
                trainer = _make_trainer(content, warn)
                wire.tell("SetUp", None)
    except TasearchError as error:
        wire.tell("error", {"kind": type(error).__name__, "message": str(error)})
    except Exception:
        wire.tell("bug", traceback.format_exc())
    except BaseException as error:  # of a user's code; there is no Ctrl-C here
        text = f"{at}: raised {raised(error)}"
        wire.tell("error", {"kind": StudyError.__name__, "message": text})


def _agree(trainer: Trainer, tasks: list[Task]) -> None:
    """Refuse tasks whose keys this process computes otherwise than the driver."""
    for task in tasks:
        if trainer.key(task.hop) != task.key:
            raise RunError(
                f"hop {task.hop.label}: a worker finds other code, data or models than the driver "
                f"did; nothing was trained with them; run the same command again"
            )


def _task(content: dict[str, Any]) -> Task:
    thresholds = tuple(
        Threshold(**threshold) if threshold else None for threshold in content["thresholds"]
    )
    part = tuple(content["part"])
    return Task(
        key=content["key"],
        hop=Hop.from_json(content["hop"]),
        thresholds=thresholds,
        part=part,
        keep_rungs=content["keep_rungs"],
    )


def _listen(wire: _Wire, lines: queue.Queue[str]) -> None:
    for line in wire.questions:
        lines.put(line)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():  # with all that it has started
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


def _tell_progress(wire: _Wire) -> None:
    """Report progress, as long as there is some."""
    told = 0
    while True:
        time.sleep(HEARTBEAT)
        if heartbeat.count() != told:
            told = heartbeat.count()
            wire.tell("Alive", None)


if __name__ == "__main__":
    main()
