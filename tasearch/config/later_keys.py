"""Keys of the study file that came later, with the values that they have in runs of before."""

from __future__ import annotations

from typing import Any

from tasearch.chains.recipe import NO_HIDDEN, RANDOM, TRAINED
from tasearch.config.data_section import MISSING, TRAINED_VOCABULARY
from tasearch.pareto.metric import ACCURACY_NAME

# runs of before there was a key are the same study as with its default
LATER_KEYS: dict[str, Any] = {
    "assistants.teacher_epoch": [TRAINED],
    "student.teacher_epoch": [TRAINED],
    "assistants.start": [RANDOM],
    "student.start": [RANDOM],
    "assistants.hidden": [NO_HIDDEN],
    "student.hidden": [NO_HIDDEN],
    "assistants.hidden_weight": [1.0],
    "student.hidden_weight": [1.0],
    "data.size": None,
    "data.channels": "auto",
    "data.drop": [],
    "data.categories": [],
    "data.missing": [*MISSING],
    "data.standardize": True,
    "data.pad": 0,
    "teacher.pretrained": False,
    **dict.fromkeys(("teacher.size", "teacher.mean", "teacher.std", "teacher.outputs")),
    "model.sizes": [],
    **dict.fromkeys(("data.unlabelled", "data.tokenizer", "training.views", "training.mixup")),
    "data.text": ["text"],
    "data.length": 128,
    "data.vocabulary": TRAINED_VOCABULARY,
    "training.teacher": "cached",
    "training.unlabelled_share": 0.5,
    "objective.metric": ACCURACY_NAME,
    "training.class_weights": "none",
    "teacher.members": [],
    "latency.lengths": [],
}
