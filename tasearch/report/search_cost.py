"""What a search has cost, and what came of it: plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.runs.records import (
    ENDED,
    Bill,
    Costs,
    HopUse,
    TrialRecord,
    candidates,
    costs,
    training_flops,
)
from tasearch.runs.run import Run


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
class Spent:
    """Training FLOPs by kind of model, each hop counted once.

    Args:
        teacher: The teacher; 0 if it was loaded.
        assistants: Models that have taught a student, though they may be students as well.
        students: All other models that were trained to their end, or failed.
        stopped: Students that were stopped early.
    """

    teacher: float
    assistants: float
    students: float
    stopped: float


@dataclass(frozen=True, kw_only=True)
class HopNode:
    """A hop in the tree of all hops.

    Args:
        width: Width of its model.
        uses: Number of trials that needed it.
        accuracy: Its accuracy on the validation set; None if it was not trained to its end.
        below: The hops that learn from it.
    """

    width: int
    uses: int
    accuracy: float | None
    below: tuple[HopNode, ...]


def progress_of(run: Run) -> tuple[Step, ...]:
    """The front after each trial that has ended.

    Args:
        run: A run, finished or not.
    """
    manifest = run.manifest
    steps: list[Step] = []
    members: tuple[Candidate, ...] = ()
    volume = 0.0
    bill = Bill(manifest.trained_samples, manifest.measured)
    for trial in run.trials:
        bill.add(trial)
        if trial.state not in ENDED:
            continue
        grown = Front([*members, *candidates([trial], manifest.measured)]).members
        if grown != members:
            members, volume = grown, hypervolume(grown, manifest.reference_box)
        steps.append(Step(trial=trial.number, flops=bill.paid, hypervolume=volume))
    return tuple(steps)


def spent_of(run: Run) -> Spent:
    """Training FLOPs by kind of model.

    Args:
        run: A run, finished or not.
    """
    manifest = run.manifest
    furthest: dict[str, HopUse] = {}
    taught: set[str] = set()
    for trial in run.trials:
        taught |= {use.key for use in trial.hops[:-1]}
        for use in trial.hops:
            if use.key not in furthest or furthest[use.key].trained < use.trained:
                furthest[use.key] = use
    sums = {"teacher": 0.0, "assistants": 0.0, "students": 0.0, "stopped": 0.0}
    for key, use in furthest.items():
        kind = "students" if use.trained == use.epochs else "stopped"
        if use.width == manifest.study.teacher.width:
            kind = "teacher"
        elif key in taught:
            kind = "assistants"
        samples = manifest.trained_samples
        sums[kind] += training_flops(use.width, use.trained, samples, manifest.measured)
    return Spent(**sums)


def costs_beyond_teacher(run: Run) -> Costs:
    """What training has cost without the teacher: a hand-made search would train it once as well.

    Args:
        run: A run, finished or not.
    """
    teacher = run.manifest.study.teacher.width

    def without(trial: TrialRecord) -> TrialRecord:
        return replace(trial, hops=tuple(use for use in trial.hops if use.width != teacher))

    manifest = run.manifest
    return costs(map(without, run.trials), manifest.trained_samples, manifest.measured)


def hop_tree(trials: Sequence[TrialRecord]) -> tuple[HopNode, ...]:
    """All hops as trees: below each model those that learn from it.

    Args:
        trials: The run's trials.

    Returns:
        The hops without ancestors, such as the teacher, the widest first.
    """
    below: dict[str | None, dict[str, None]] = {}
    uses: dict[str, int] = {}
    last: dict[str, HopUse] = {}
    for trial in trials:
        before = None
        for use in trial.hops:
            below.setdefault(before, {})[use.key] = None
            uses[use.key] = uses.get(use.key, 0) + (not trial.free)
            if use.key not in last or last[use.key].trained <= use.trained:
                last[use.key] = use
            before = use.key

    def nodes(key: str | None) -> tuple[HopNode, ...]:
        found = (
            HopNode(
                width=last[own].width,
                uses=uses[own],
                accuracy=last[own].accuracy if last[own].trained == last[own].epochs else None,
                below=nodes(own),
            )
            for own in below.get(key, ())
        )
        return tuple(sorted(found, key=lambda node: -node.width))

    return nodes(None)
