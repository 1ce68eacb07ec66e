"""Small studies on real digits."""

from __future__ import annotations

from typing import Any

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study

TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {"family": "mlp"},
    "teacher": {"width": 16, "epochs": 3},
    "assistants": {"max": 2, "widths": [12, 8, 6], "epochs": 3},
    "student": {"widths": [6, 4, 2], "epochs": 4},
    "training": {"precision": "fp32"},
    "latency": {"backend": "torch"},
    "search": {"trials": 10, "rungs": 4, "n_startup_trials": 3},
}

SMALL: dict[str, Any] = {  # sections of a study that is trained in a second, with a searched recipe
    "teacher": {"epochs": 1},
    "assistants": {"max": 2, "widths": [12, 8, 6], "epochs": 1},
    "student": {"widths": [6, 4, 2], "epochs": 1, "temperature": [2.0, 4.0]},
}
BASELINES = 3  # chains without assistants that the small study tries first

LADDERS = {  # widths to try each family at that computes with its samples
    "cnn": (9, 4, 1),
    "mlp": (9, 4, 1),
    "mobile": (9, 4, 1),
    "plain": (10, 8, 6, 4, 2),
    "resnet": (20, 14, 8),
    "vit": (9, 4, 2),
}
IMAGES_ONLY = ("mobile", "plain", "resnet", "vit")
PRUNES_OFTEN: dict[str, Any] = {
    "pruner": "skyline",
    "gain_quantile": 0.0,
    "noise_margin": 0.0,
    "n_startup_trials": 1,
}  # of [search]


def tiny(**sections: Any) -> Study:
    """The tiny study, with keys of sections, or whole values, replaced."""
    content = {key: dict(v) if isinstance(v, dict) else v for key, v in TINY.items()}
    for name, value in sections.items():
        if isinstance(value, dict):
            content[name] = {**content.get(name, {}), **value}
        else:
            content[name] = value
    return parse_study(content)
