"""Which trials can be compared: those of a run whose study has changed, and those of two runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasearch.chains.recipes import SEARCHED
from tasearch.config.study import Study
from tasearch.errors import RunError, option
from tasearch.runs.directory import RunDirectory
from tasearch.runs.manifest import Manifest

DATA = "digest of data"  # of the training and the validation set
CHANGED = {  # what is told of a digest, which says nothing to its reader
    DATA: "its data have changed",
    "digest of family": "the family or its code has changed",
    "digest of teacher": "its teacher has changed",
    "digest of losses": "the code of a loss has changed",
    "digest of augment": "the code of the augmentation has changed",
    "digest of unlabelled": "the samples without labels have changed",
    "digest of metric": "the code of the metric has changed",
}
MAY_CHANGE = {  # keys that say which chains are tried, and how they are chosen
    *("assistants.widths", "assistants.min", "assistants.max", "student.widths"),
    *(f"{role}.{field}" for role in ("assistants", "student") for field in SEARCHED),
    *("budget.max_params", "budget.max_bytes", "budget.max_latency_ms"),
    *("search.sampler", "search.pruner", "search.gain_quantile", "search.noise_margin"),
    *("search.n_startup_trials", "search.audit_fraction", "search.max_concurrent"),
    "digest of sampler",
}


def check_comparable(
    run: RunDirectory, manifest: Manifest, study: Study, inputs: Mapping[str, str]
) -> None:
    """Refuse a study whose trials could not be compared with those that the run has.

    Args:
        run: The directory of the run.
        manifest: The manifest that the run has.
        study: The study to continue with.
        inputs: What decides that study's results besides its file.

    Raises:
        RunError: They are incomparable; the message names the first value that differs.
    """
    was = manifest.study.identity() | dict(manifest.inputs)
    now = study.identity() | dict(inputs)
    for name in [*now, *(name for name in was if name not in now)]:  # defaults of some are left out
        one, other = was.get(name), now.get(name)
        if one != other and not _may_change(name, one, other):
            words = f"{name} was {json.dumps(one)}, is {json.dumps(other)}"
            raise RunError(
                f"{run.path}: was made by a different study: {CHANGED.get(name, words)}; "
                f"give the study another name, or use another {option('runs_dir')}"
            )


def check_same_data(runs: Sequence[tuple[RunDirectory, Manifest]]) -> None:
    """Refuse runs whose accuracies are not of the same validation set, after the same training set.

    Args:
        runs: The directory and the manifest of each run.

    Raises:
        RunError: The data or the metrics of two runs differ; the message names both.
    """
    first, manifest = runs[0]
    for run, other in runs[1:]:
        ours, theirs = manifest.metric.name, other.metric.name
        if ours != theirs:
            raise RunError(
                f"{run.path}: is of the metric {theirs}, {first.path} of {ours}: their values "
                f"cannot be compared; run both studies with the same objective.metric"
            )
        if other.inputs[DATA] != manifest.inputs[DATA]:
            raise RunError(
                f"{run.path}: has other data than {first.path}, or the same ones split in another "
                f"way, so their accuracies cannot be compared; run both studies with the same "
                f"section [data]"
            )


def _may_change(name: str, was: Any, now: Any) -> bool:
    """Whether trials before and after a change of one value can be compared.

    Losses may be added or removed, but the source of one that is kept must be the same.
    """
    if name != "digest of losses":
        return name in MAY_CHANGE
    old, new = ({d.partition("#")[0]: d for d in str(digests).split()} for digests in (was, now))
    return all(new[loss] == digest for loss, digest in old.items() if loss in new)
