"""The student to export, rebuilt from the run and compared with what the run says of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tasearch.chains.sizes import sized
from tasearch.data import Dataset, load_data
from tasearch.errors import RunError, StoreError
from tasearch.models import Models, Standardized
from tasearch.models.tensors import as_tensor
from tasearch.models.wrappers import ChannelsLast
from tasearch.pareto.candidate import Candidate
from tasearch.runs.comparable import CHANGED, DATA
from tasearch.runs.records import TrialRecord
from tasearch.runs.run import Run
from tasearch.runs.store import replicate
from tasearch.train.loop import evaluate
from tasearch.train.metrics import score_function

# Difference in score that rounding on another machine may cause; or a standard error, if it is
# larger: of a rare class one sample is more.
MAX_DRIFT = 0.005


@dataclass(frozen=True, kw_only=True)
class ExportedStudent:
    """The student of one candidate, with everything that an export says of it.

    Args:
        run: The run that trained it.
        candidate: The candidate.
        trial: The candidate's trial.
        module: Trained model in eval mode, which takes raw samples, images with channels first.
        teacher: The run's teacher, its first replicate, which takes raw samples; None if it is not
            there any more as the run had it, or its factory may not run.
        data: Training set and validation set.
    """

    run: Run
    candidate: Candidate
    trial: TrialRecord
    module: Standardized
    teacher: Standardized | None
    data: Dataset

    @property
    def exported(self) -> nn.Module:
        """The model as it is exported: it takes images as the arrays of the data have them."""
        return ChannelsLast(self.module).eval() if self.data.channels_last else self.module

    @property
    def title(self) -> str:
        """First line of chain.toml."""
        return (
            f"Trains {self.candidate.label} again: trial {self.candidate.trial} of the "
            f"study {self.run.manifest.study.name!r}."
        )


def rebuild_student(run: Run, candidate: Candidate, *, trusted: bool) -> ExportedStudent:
    """Rebuild a candidate's student from the run's store.

    Args:
        run: The run that trained it.
        candidate: The candidate.
        trusted: Whether a teacher's factory may run, to compare the student with its teacher.

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
    for name, now in ((DATA, data.fingerprint), ("digest of family", models.family)):
        if manifest.inputs[name] != now:
            raise RunError(
                f"{run.path}: {CHANGED[name]}: this is not what the student was trained with"
            )
    width = candidate.chain[-1]
    if width not in manifest.study.widths[1:]:
        raise RunError(f"{run.path}: trial {candidate.trial} is of {sized(width)}, not the study's")
    net = models.build(width)
    net.load_state_dict(replicate(_stored_weights(run, trial.hops[-1].key), 0))
    student = ExportedStudent(
        run=run,
        candidate=candidate,
        trial=trial,
        module=_standardized(net, data),
        teacher=stored_teacher(run, models, data, trusted=trusted),
        data=data,
    )
    _check_accuracy(student)
    return student


def stored_teacher(
    run: Run, models: Models, data: Dataset, *, trusted: bool
) -> Standardized | None:
    """The run's teacher with the weights of its first replicate, in eval mode.

    Args:
        run: The run.
        models: The models of its study.
        data: Training set and validation set.
        trusted: Whether the teacher's factory, which is user code, may run.

    Returns:
        The teacher, which takes raw samples; None if the run's store or the teacher's checkpoint or
        code is not there any more, or is not what the run had, if its factory may not run, or if
        there are only its outputs.
    """
    section, store = run.manifest.study.teacher, run.directory.store(lambda damage: None)
    if section.outputs is not None or (section.own_factories and not trusted):
        return None
    used = (t.hops[0] for t in run.trials if t.hops and t.hops[0].width == section.width)
    try:
        stored = (store.load("hops", key) for key in dict.fromkeys(use.key for use in used))
        tensors, record = next(found for found in stored if found is not None)
        net = models.build(section.width)
        net.load_state_dict(replicate(tensors, 0))
        teacher = _standardized(net, data)
        now = _score(run, teacher, data)
    except Exception:  # nothing is stored, or the teacher's own code, which may raise anything
        return None
    drift = max((MAX_DRIFT, *record.errors[:1]))
    return teacher if abs(now - record.accuracies[0]) <= drift else None


def _standardized(net: nn.Module, data: Dataset) -> Standardized:
    """A model of standardized samples as one of raw samples, in eval mode."""
    module = Standardized(net, as_tensor(data.mean), as_tensor(data.std))
    return module.eval()


def _stored_weights(run: Run, key: str) -> dict[str, torch.Tensor]:
    damage: list[str] = []
    saved = run.directory.store(damage.append).load("hops", key)
    if saved is None:
        reason = damage[0] if damage else f"{run.path}/hops/{key}.safetensors: is missing"
        raise StoreError(f"{reason}; `tasearch run` on the same study trains it again")
    return saved[0]


def _check_accuracy(student: ExportedStudent) -> None:
    candidate, metric = student.candidate, student.run.metric
    now = _score(student.run, student.module, student.data)
    recorded, *_ = student.trial.accuracies or (candidate.accuracy,)
    if abs(now - recorded) > max((MAX_DRIFT, *student.trial.errors[:1])):
        name = "an accuracy" if metric.is_accuracy else f"a {metric.words}"
        raise RunError(
            f"{student.run.path}: trial {candidate.trial} has {name} of "
            f"{metric.text(recorded, 2)} in the journal, but its weights have "
            f"{metric.text(now, 2)} on the validation set now"
        )


def _score(run: Run, net: nn.Module, data: Dataset) -> float:
    """Score of a model of raw samples on the validation set, by the run's metric."""
    study = run.manifest.study
    x, y = map(as_tensor, (data.validation.x, data.validation.y))
    return evaluate(net, x, y, score_function(study.objective.metric, study.root))
