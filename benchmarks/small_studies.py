"""Study files that take seconds, as text: for benchmarks that kill or damage their runs."""

from __future__ import annotations

import json
from typing import Any


def study_text(name: str, *, epochs: int = 2, **sections: dict[str, Any]) -> str:
    """A study file in TOML: multilayer perceptrons on scikit-learn's digits.

    Args:
        name: Name of the study.
        epochs: Epochs of every model.
        **sections: Sections that replace the usual ones, or are added to them.
    """
    usual: dict[str, dict[str, Any]] = {
        "model": {"family": "mlp"},
        "teacher": {"width": 16, "epochs": epochs},
        "assistants": {"max": 1, "widths": [8, 6], "epochs": epochs},
        "student": {"widths": [6, 4], "epochs": epochs},
        "training": {"precision": "fp32"},
        "latency": {"backend": "torch"},
        "search": {"trials": 6, "rungs": 2, "n_startup_trials": 2},
    }
    lines = [f"name = {json.dumps(name)}"]
    for section, keys in {**usual, **sections}.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([*lines, ""])
