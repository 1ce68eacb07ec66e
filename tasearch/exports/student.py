"""The student to export, rebuilt from the run and compared with what the run says of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tasearch.data import Dataset, load_data
from tasearch.errors import RunError, StoreError
from tasearch.models import Models, Standardized
from tasearch.pareto.candidate import Candidate
from tasearch.runs.records import TrialRecord
from tasearch.runs.run import Run
from tasearch.runs.store import replicate
from tasearch.train.loop import evaluate

MAX_DRIFT = 0.005  # difference in accuracy that rounding on another machine may cause


@dataclass(frozen=True, kw_only=True)
class ExportedStudent:
    """The student of one candidate, with everything that an export says of it.

    Args:
        run: The run that trained it.
        candidate: The candidate.
        trial: The candidate's trial.
        module: Trained model in eval mode, which takes raw samples.
        data: Training set and validation set.
    """

    run: Run
    candidate: Candidate
    trial: TrialRecord
    module: Standardized
    data: Dataset

    @property
    def title(self) -> str:
        """First line of chain.toml."""
        return (
            f"Trains {self.candidate.label} again: trial {self.candidate.trial} of the "
            f"study {self.run.manifest.study.name!r}."
        )


def rebuild_student(run: Run, candidate: Candidate) -> ExportedStudent:
    """Rebuild a candidate's student from the run's store.

    Args:
        run: The run that trained it.
        candidate: The candidate.

    Returns:
        The student with the weights of its first replicate, not those of the luckiest one.

    Raises:
        RunError: If the data, the family or the student's accuracy have changed.
        StoreError: If the weights are missing or damaged.
    """
    manifest = run.manifest
    trial = run.trials[candidate.trial]
    data = load_data(manifest.study)
    models = Models.for_study(manifest.study, data)
    for name, now in (("digest of data", data.fingerprint), ("digest of family", models.family)):
        if manifest.inputs[name] != now:
            raise RunError(
                f"{run.path}: {name} was {manifest.inputs[name]!r}, is {now!r}: "
                f"this is not what the student was trained with"
            )
    width = candidate.chain[-1]
    if width not in manifest.study.widths[1:]:
        raise RunError(f"{run.path}: trial {candidate.trial} is of width {width}, not the study's")
    net = models.build(width)
    net.load_state_dict(replicate(_stored_weights(run, trial.hops[-1].key), 0))
    module = Standardized(net, torch.from_numpy(data.mean), torch.from_numpy(data.std))
    module.eval()
    student = ExportedStudent(run=run, candidate=candidate, trial=trial, module=module, data=data)
    _check_accuracy(student)
    return student


def _stored_weights(run: Run, key: str) -> dict[str, torch.Tensor]:
    damage: list[str] = []
    saved = run.directory.store(damage.append).load("hops", key)
    if saved is None:
        reason = damage[0] if damage else f"{run.path}/hops/{key}.safetensors: is missing"
        raise StoreError(f"{reason}; `tasearch run` on the same study trains it again")
    return saved[0]


def _check_accuracy(student: ExportedStudent) -> None:
    candidate, validation = student.candidate, student.data.validation
    now = evaluate(student.module, *map(torch.tensor, (validation.x, validation.y)))
    recorded, *_ = student.trial.accuracies or (candidate.accuracy,)
    if abs(now - recorded) > MAX_DRIFT:
        raise RunError(
            f"{student.run.path}: trial {candidate.trial} has an accuracy of {recorded:.2%} in the "
            f"journal, but its weights have {now:.2%} on the validation set now"
        )
