"""How far a run is."""

from __future__ import annotations

from tasearch.report.info import audit_count, teacher_accuracy
from tasearch.runs.records import states
from tasearch.runs.run import Run

OVER = ("complete", "pruned", "failed")


def status_lines(run: Run) -> list[tuple[str, str]]:
    """Name and value of each line of `tasearch status`."""
    trials, costs = run.trials, run.costs
    counts = states(trials)
    over = sum(counts[state] for state in OVER)
    history = run.directory.history()
    events, target, damage = history.events, history.target, history.damage
    if target is None and trials:
        damage = damage or f"{run.path / 'events.jsonl'}: is missing, or has lost its lines"
    seconds = sum(e.get("seconds", 0.0) for e in events)
    audit = audit_count(trials)
    if counts["running"] and not run.directory.busy:
        counts["interrupted"] = counts.pop("running")
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    free = sum(trial.free and trial.state == "complete" for trial in trials)
    if free:
        students = "is a student" if free == 1 else "are students"
        words += f"; besides, {free} of their assistants {students}, for free"
    used = {use.key for trial in trials if trial.state in OVER for use in trial.hops}
    ahead = {e["hop"] for e in events if e["event"] == "end"} - used  # of trials not over yet
    teacher = teacher_accuracy(run)
    asked = "unknown" if target is None else str(min(target, run.manifest.space))
    left = "how long is left is not known"
    if target is not None:
        left = _left(seconds, over, target, run)
    if history.finished:
        left = f"finished: {history.finished['reason']}"
    known = f"at least {duration(seconds)}" if damage else duration(seconds)
    shared = f", {costs.unshared / costs.paid:.1f} times less than unshared" if costs.paid else ""
    spared = 1 - costs.paid / costs.unpruned if costs.unpruned else 0.0
    left_out = "; it is left out" if history.damage else ""
    return [
        ("run", f"{run.path}, study {run.manifest.study.name!r}"),
        ("trials", f"{over} of {asked}: {words or 'none yet'}"),
        ("space", f"{run.manifest.space:,} chains within the budget"),
        ("teacher", "not there yet" if teacher is None else f"accuracy {teacher:.2%}"),
        ("hops", f"{costs.hops + len(ahead)} trained, {costs.uses - costs.hops} times reused"),
        ("paid", f"{costs.paid:.3g} training FLOPs{shared}"),
        ("pruning", f"spared {spared:.1%}; of those to stop, {audit.words}"),
        ("time", f"{known} of training, {left}"),
        ("front", f"{len(run.front)} of {len(run.front.candidates)} finished students"),
        *([("damage", f"{damage}{left_out}")] if damage else []),
    ]


def _left(seconds: float, over: int, target: int, run: Run) -> str:
    remaining = min(target, run.manifest.space) - over
    if remaining <= 0:
        return "nothing left to do"
    if not over:
        return "no trial is over yet"
    return f"about {duration(seconds / over * remaining)} left"


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
