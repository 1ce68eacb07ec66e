"""What a report says, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import betaincinv

from tasearch.chains.hop import arrows
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.pareto.measurement import Measurement
from tasearch.runs.directory import Manifest
from tasearch.runs.records import Bill, Costs, TrialRecord, candidates, states
from tasearch.runs.run import Run

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Point:
    """One mark of the front's plots.

    Args:
        kind: "front", "dominated", "pruned", "assistant", "over budget" or "teacher".
        label: the chain.
        detail: what hovering adds.
        accuracy: of the validation part; at its last rung for a pruned one.
        params: size.
        latency_ms: latency.
        trial: None for a hop that is no trial's student.
    """

    kind: str
    label: str
    detail: str
    accuracy: float
    params: int
    latency_ms: float
    trial: int | None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A student's accuracy over its epochs."""

    kind: str
    label: str
    trial: int
    epochs: tuple[int, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """The front after one trial: cost paid so far in FLOPs, hypervolume in 0..1."""

    trial: int
    cost: float
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class Link:
    """One model that a front member's weights depend on: teacher, assistant or student."""

    role: str
    width: int
    params: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class AuditCount:
    """What the audit of the pruning rule found."""

    audited: int
    wrong: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the false-prune rate, 95 % (Clopper and Pearson, 1934)."""
        wrong, right, tail = self.wrong, self.audited - self.wrong, (1 - CONFIDENCE) / 2
        low = float(betaincinv(wrong, right + 1, tail)) if wrong else 0.0
        high = float(betaincinv(wrong + 1, right, 1 - tail)) if right else 1.0
        return low, high

    @property
    def words(self) -> str:
        """`12 ran on to measure the rule and 1 reached the skyline: 8% (0% to 38%)`."""
        if not self.audited:
            return "none ran on to measure the rule"
        low, high = self.interval
        rate = self.wrong / self.audited
        return (
            f"{self.audited} ran on to measure the rule and {self.wrong} reached the skyline: "
            f"{rate:.0%} ({low:.0%} to {high:.0%})"
        )


@dataclass(frozen=True, kw_only=True)
class Info:
    """A whole report.

    Args:
        ties: widths that count as equally fast, in words.
        notices: how the machine was while latencies were measured.
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


def report_info(run: Run) -> Info:
    """Everything that a run's page shows."""
    manifest, trials, front = run.manifest, run.trials, run.front
    measured = manifest.measured
    kinds = {c.trial: "dominated" for c in front.candidates}
    kinds |= {c.trial: "front" for c in front.members}
    kinds |= {t.number: "pruned" for t in trials if t.state == "pruned"}
    return Info(
        name=manifest.study.name,
        device=manifest.device,
        ties=_ties(measured),
        notices=manifest.timing.notices,
        budget=manifest.study.limits(),
        space=manifest.space,
        states=dict(states(trials)),
        front=front,
        points=(*_students(trials, kinds, measured), *_others(run)),
        curves=tuple(
            Curve(
                kind=kinds[t.number],
                label=t.label,
                trial=t.number,
                epochs=t.epochs,
                accuracy=t.curve,
            )
            for t in trials
            if t.number in kinds and t.curve
        ),
        progress=tuple(_progress(trials, manifest)),
        chains={c.trial: _links(c, run) for c in front.members},
        costs=run.costs,
        audit=audit_count(trials),
    )


def _ties(measured: Mapping[int, Measurement]) -> str:
    """`Widths 12 and 8 are tied, at 0.0445 ms.`, of all that are; empty where none are."""
    groups: dict[float, list[str]] = {}
    for size in measured.values():
        groups.setdefault(size.latency_ms, []).append(str(size.width))
    return " ".join(
        f"Widths {', '.join(widths[:-1])} and {widths[-1]} are tied, at {latency:.4g} ms."
        for latency, widths in sorted(groups.items())
        if len(widths) > 1
    )


def audit_count(trials: list[TrialRecord]) -> AuditCount:
    """Students that the rule would have stopped, and those of them that reached their skyline."""
    audited = [t for t in trials if t.audit is not None]
    return AuditCount(audited=len(audited), wrong=sum(t.falsely_pruned for t in audited))


def teacher_accuracy(run: Run) -> float | None:
    """Of the validation part; None before the teacher is trained or loaded."""
    wanted = (run.manifest.study.teacher.width,)
    uses = [use for t in run.trials for use in t.hops[:-1] if use.width == wanted[0]]
    for use in uses:
        if use.accuracy is not None and use.trained == use.epochs:
            return use.accuracy
    store = run.directory.store()
    for key in sorted({use.key for use in uses}) or store.finished():
        record = store.record("hops", key)
        if record is not None and record.widths == wanted:
            return record.curve[-1]
    return None


def recipe_text(recipe: dict[str, dict[str, object] | None]) -> str:
    """A recipe in one line: the student's, then the assistants' where they differ."""
    student, assistants = recipe.get("student"), recipe.get("assistants")
    if not student:
        return ""
    text = _recipe(student)
    if assistants and assistants != student:
        text += f"; assistants {_recipe(assistants)}"
    return text


def _recipe(values: dict[str, object]) -> str:
    text = str(values["loss"])
    if values["loss"] != "ce":
        text += f", T {values['temperature']:g}, alpha {values['alpha']:g}"
    epochs = values["epochs"]
    return f"{text}, lr {values['learning_rate']:g}, {epochs} epoch{'s' * (epochs != 1)}"


def _students(
    trials: list[TrialRecord], kinds: dict[int, str], measured: Mapping[int, Measurement]
) -> list[Point]:
    points = []
    for trial in trials:
        if trial.number not in kinds or trial.accuracy is None:
            continue
        size = measured[trial.chain[-1]]
        points.append(
            Point(
                kind=kinds[trial.number],
                label=trial.label,
                detail=recipe_text(dict(trial.recipe or {})),
                accuracy=trial.accuracy,
                params=size.params,
                latency_ms=size.latency_ms,
                trial=trial.number,
            )
        )
    return points


def _others(run: Run) -> list[Point]:
    """The teacher and the assistants: trained on the way, students of no trial."""
    measured, budget = run.manifest.measured, run.manifest.study.limits()
    over = [trial for trial in run.trials if trial.state in ("complete", "pruned")]
    students = {trial.hops[-1].key for trial in over}
    teacher = (run.manifest.study.teacher.width,)
    store, points = run.directory.store(), []
    for key in store.finished():
        record = None if key in students else store.record("hops", key)
        if record is None or record.widths[-1] not in measured:
            continue
        size = measured[record.widths[-1]]
        kind = "assistant" if budget.admits(size) else "over budget"
        points.append(
            Point(
                kind="teacher" if record.widths == teacher else kind,
                label=arrows(record.widths),
                detail="the teacher" if record.widths == teacher else "an assistant",
                accuracy=record.curve[-1],
                params=size.params,
                latency_ms=size.latency_ms,
                trial=None,
            )
        )
    return points


def _progress(trials: list[TrialRecord], manifest: Manifest) -> list[Step]:
    measured, reference = manifest.measured, manifest.reference
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
        steps.append(
            Step(
                trial=trial.number,
                cost=bill.paid,
                hypervolume=volume,
            )
        )
    return steps


def _links(candidate: Candidate, run: Run) -> tuple[Link, ...]:
    """The chain's models with their accuracies, as far as the store has them."""
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
