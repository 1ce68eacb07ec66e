"""tasearch finds the chain of teacher assistants that distils the best student for a budget.

    study = tasearch.load_study("studies/digits.toml")
    run = tasearch.run(study)                  # or tasearch.Run.open("runs/digits")
    print(run.front.members)
    best = run.best(max_params=1_000)
    tasearch.confirm(run, max_params=1_000)    # do its assistants help?
    tasearch.export(run, "winner", max_params=1_000)
    model = tasearch.load("winner")

The names below are imported when they are first used: reading a run needs no torch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasearch.api.confirming import confirm
    from tasearch.api.estimator import DistilledClassifier
    from tasearch.api.opened import Run
    from tasearch.api.running import run
    from tasearch.api.search import search
    from tasearch.config.study import Study
    from tasearch.config.study_file import load_study, parse_study
    from tasearch.errors import (
        DataError,
        ExportError,
        ModelError,
        NothingFits,
        RunError,
        StoreError,
        StudyError,
        TasearchError,
        TrainingError,
    )
    from tasearch.exports.export import export
    from tasearch.exports.load import load
    from tasearch.pareto.budget import Budget
    from tasearch.pareto.candidate import Candidate
    from tasearch.pareto.front import Front
    from tasearch.search.enqueue import enqueue

_HOMES = {
    "Budget": "pareto.budget",
    "Candidate": "pareto.candidate",
    "DataError": "errors",
    "DistilledClassifier": "api.estimator",
    "ExportError": "errors",
    "Front": "pareto.front",
    "ModelError": "errors",
    "NothingFits": "errors",
    "Run": "api.opened",
    "RunError": "errors",
    "StoreError": "errors",
    "Study": "config.study",
    "StudyError": "errors",
    "TasearchError": "errors",
    "TrainingError": "errors",
    "confirm": "api.confirming",
    "enqueue": "search.enqueue",
    "export": "exports.export",
    "load": "exports.load",
    "load_study": "config.study_file",
    "parse_study": "config.study_file",
    "run": "api.running",
    "search": "api.search",
}


class _Package(ModuleType):
    """The package, in which `search` is the function and never the room of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "search" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package  # Python makes a package's modules its attributes

__version__ = importlib.metadata.version("tasearch")
__all__ = [
    "Budget",
    "Candidate",
    "DataError",
    "DistilledClassifier",
    "ExportError",
    "Front",
    "ModelError",
    "NothingFits",
    "Run",
    "RunError",
    "StoreError",
    "Study",
    "StudyError",
    "TasearchError",
    "TrainingError",
    "confirm",
    "enqueue",
    "export",
    "load",
    "load_study",
    "parse_study",
    "run",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tasearch' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tasearch.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
