"""Contents of a report as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.report.audit import AuditCount, audit_count
from tasearch.report.evidence import evidence
from tasearch.report.points import Point, other_points, student_points
from tasearch.report.text import ties_text
from tasearch.runs.directory import Manifest
from tasearch.runs.records import Bill, Costs, TrialRecord, candidates, states
from tasearch.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A student's accuracy over its epochs.

    Args:
        kind: "front", "dominated" or "pruned".
        label: The chain.
        trial: Number of the trial.
        epochs: Epochs after which the accuracy was measured.
        accuracy: Accuracy on the validation set after each of these epochs, 0 to 1.
    """

    kind: str
    label: str
    trial: int
    epochs: tuple[int, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """The front after one trial.

    Args:
        trial: Number of the trial.
        flops: Training FLOPs of the study so far.
        hypervolume: Hypervolume of the front, 0 to 1.
    """

    trial: int
    flops: float
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Link:
    """One model of a chain on the front.

    Args:
        role: "teacher", "assistant" or "student".
        width: Width of the model.
        params: Number of parameters.
        accuracy: Accuracy on the validation set, 0 to 1; None if the store does not have it.
    """

    role: str
    width: int
    params: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The student to ship.

    Args:
        student: The student.
        times_fewer: How many times as many parameters the teacher has.
        evidence: What is known of it beyond the search, a line each.
    """

    student: Candidate
    times_fewer: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Info:
    """Contents of a whole report.

    Args:
        name: The study's name.
        device: Backend and machine that latencies hold for, in words.
        ties: Widths that count as equally fast, in words.
        notices: Notices about the machine while latencies were measured.
        budget: Limits of the study.
        space: Number of chains within the budget.
        states: Number of trials by state.
        front: All finished students and the best of them.
        points: Marks of the front's plots.
        curves: Learning curves of the students.
        progress: The front after each trial.
        chains: Models of each chain on the front, by number of trial, teacher first.
        costs: Training costs of the study.
        audit: Result of the audit of pruning.
        candidates: The students that may be picked for a budget, the best first; of a confirmed
            width, what the verdicts say to ship.
        answer: What to ship within the study's budget, and what is known of it; None where no
            student is finished.
    """

    name: str
    device: str
    ties: str
    notices: tuple[str, ...]
    budget: Budget
    space: int
    states: dict[str, int]
    front: Front
    points: tuple[Point, ...]
    curves: tuple[Curve, ...]
    progress: tuple[Step, ...]
    chains: dict[int, tuple[Link, ...]]
    costs: Costs
    audit: AuditCount
    candidates: tuple[Candidate, ...]
    answer: Answer | None


def report_info(run: Run) -> Info:
    """Collect everything that a run's page shows.

    Args:
        run: A run, finished or not.

    Returns:
        The contents of its report.
    """
    manifest, trials, front = run.manifest, run.trials, run.front
    measured = manifest.measured
    kinds = {c.trial: "dominated" for c in front.candidates}
    kinds |= {c.trial: "front" for c in front.members}
    kinds |= {t.number: "pruned" for t in trials if t.state == "pruned"}
    return Info(
        name=manifest.study.name,
        device=manifest.device,
        ties=ties_text(measured),
        notices=manifest.timing.notices,
        budget=manifest.study.limits(),
        space=manifest.space,
        states=dict(states(trials)),
        front=front,
        points=(*student_points(trials, kinds, measured), *other_points(run)),
        curves=tuple(_curves(trials, kinds)),
        progress=tuple(_progress(trials, manifest)),
        chains={c.trial: _links(c, run) for c in front.members},
        costs=run.costs,
        audit=audit_count(trials),
        candidates=run.choices,
        answer=_answer(run) if front.candidates else None,
    )


def _answer(run: Run) -> Answer:
    student, measured = run.best(), run.manifest.measured
    return Answer(
        student=student,
        times_fewer=measured[run.manifest.study.teacher.width].params / student.params,
        evidence=tuple(evidence(run, student)),
    )


def _curves(trials: list[TrialRecord], kinds: dict[int, str]) -> list[Curve]:
    return [
        Curve(
            kind=kinds[t.number],
            label=t.label,
            trial=t.number,
            epochs=t.epochs,
            accuracy=t.curve,
        )
        for t in trials
        if t.number in kinds and t.curve
    ]


def _progress(trials: list[TrialRecord], manifest: Manifest) -> list[Step]:
    measured, reference = manifest.measured, manifest.reference_box
    steps: list[Step] = []
    members: tuple[Candidate, ...] = ()
    volume = 0.0
    bill = Bill(manifest.trained_samples, measured)
    for trial in trials:
        bill.add(trial)
        if trial.state not in ("complete", "pruned", "failed"):
            continue
        grown = Front([*members, *candidates([trial], measured)]).members
        if grown != members:
            members, volume = grown, hypervolume(grown, reference)
        steps.append(Step(trial=trial.number, flops=bill.paid, hypervolume=volume))
    return steps


def _links(candidate: Candidate, run: Run) -> tuple[Link, ...]:
    """Models of a candidate's chain, teacher first."""
    trial = run.trials[candidate.trial]
    store, measured = run.directory.store(), run.manifest.measured
    links = []
    for use in trial.hops:
        record = store.record("hops", use.key)
        role = {candidate.chain[0]: "teacher", candidate.chain[-1]: "student"}
        links.append(
            Link(
                role=role.get(use.width, "assistant"),
                width=use.width,
                params=measured[use.width].params,
                accuracy=record.curve[-1] if record else None,
            )
        )
    return tuple(links)
