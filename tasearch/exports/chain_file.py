"""The file chain.toml: a study whose only chain is the exported one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tasearch.chains.recipe import complete_recipe
from tasearch.chains.recipes import SEARCHED
from tasearch.config.study import Study
from tasearch.exports.student import ExportedStudent


def pinned_study(student: ExportedStudent, folder: Path) -> Study:
    """The study that trains the exported chain again, and no other chain.

    Args:
        student: The student to export.
        folder: Folder of the file, from which the study's root is given.

    Returns:
        The study, with the widths, recipes, modes and inputs that made the student.
    """
    study, trial = student.run.manifest.study, student.trial
    assert trial.recipe is not None
    widths = trial.chain[1:-1]
    own, shared = complete_recipe(trial.recipe["student"]), trial.recipe["assistants"]
    values = study.model_dump()
    values["name"] = f"{study.name}-trial-{trial.number}"
    values["root"] = os.path.relpath(study.root, folder.resolve())
    values["assistants"] |= {"min": len(widths), "max": len(widths), "widths": widths}
    if shared:
        shared = complete_recipe(shared)
        values["assistants"] |= {name: (shared[name],) for name in SEARCHED}
    values["student"] |= {"widths": (trial.chain[-1],)}
    values["student"] |= {name: (own[name],) for name in SEARCHED}
    # If the student is an assistant within the budget, these are the assistants' values.
    values["student"] |= {name: own[name] for name in ("epochs", "teacher_dropout")}
    values["budget"] = {}
    modes, chain = student.run.manifest.pinned_modes(), map(str, trial.chain)
    values["training"] |= {"modes": {name: modes[name] for name in chain if name in modes}}
    values["search"] |= {"trials": 1, "pruner": "none"}
    values["expects"] = _expected_inputs(student, values)
    return Study.model_validate(values)


def _expected_inputs(student: ExportedStudent, values: dict[str, Any]) -> dict[str, str]:
    """Digests that the inputs must have, of the losses only of those that the chain uses."""
    inputs = student.run.manifest.inputs
    losses = {*values["assistants"]["loss"], *values["student"]["loss"]}
    used = [d for d in inputs["digest of losses"].split(" ") if d.partition("#")[0] in losses]
    names = {name: f"digest of {name}" for name in ("unlabelled", "augment")}
    return {name: inputs[digest] for name, digest in names.items() if digest in inputs} | {
        "data": inputs["digest of data"],
        "family": inputs["digest of family"],
        "teacher": inputs["digest of teacher"],
        "losses": " ".join(used),
    }
