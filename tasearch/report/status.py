"""Progress of a run in words: the lines of `tasearch status`."""

from __future__ import annotations

import time
from collections import Counter

from tasearch.report.audit import audit_count
from tasearch.report.evidence import damage_text
from tasearch.report.progress import logged_time_left
from tasearch.report.search_cost import costs_beyond_teacher
from tasearch.report.student_text import short_verdict
from tasearch.report.text import duration, flops_text
from tasearch.report.time_left import left_text
from tasearch.runs.event_log import History
from tasearch.runs.records import ENDED, states
from tasearch.runs.run import Run


def status_lines(run: Run) -> list[tuple[str, str]]:
    """Name and value of each line of `tasearch status`.

    Args:
        run: A run, finished or not.

    Returns:
        Pairs of a name, such as "trials", and its value in words.
    """
    history, counts, costs = run.directory.history(), states(run.trials), run.costs
    over = sum(counts[state] for state in ENDED)
    damage = history.damage
    if history.target is None and run.trials and not damage:
        damage = f"{run.path / 'events.jsonl'}: is missing, or has lost its lines"
    teacher = teacher_accuracy(run)
    beyond = costs_beyond_teacher(run)
    shared = ""
    if beyond.paid:
        shared = (
            f"; beyond the teacher {beyond.unshared / beyond.paid:.1f} times less than unshared"
        )
    saved = 1 - costs.paid / costs.unpruned if costs.unpruned else 0.0
    left_out = "; it is left out" if history.damage else ""
    lines = [
        ("run", f"{run.place}, study {run.manifest.study.name!r}"),
        ("trials", _trials(run, counts, over, history.target)),
        ("space", f"{run.manifest.space:,} chains within the budget"),
        ("teacher", "not there yet" if teacher is None else run.metric.named(teacher)),
        ("hops", _hops(run, history)),
        ("paid", f"{flops_text(costs.paid)} of training{shared}"),
        ("pruning", f"saved {saved:.1%}; {audit_count(run.trials).words}"),
        ("time", _time(run, history, over, whole=not damage)),
        ("front", f"{len(run.front)} of {len(run.front.candidates)} finished students"),
    ]
    lines += [("verdict", words) for words in _verdicts(run)]
    if damage:
        lines.append(("damage", f"{damage}{left_out}"))
    if run.verdicts_damage:
        lines.append(("damage", damage_text(run)))
    if run.test_reads_damage:
        lines.append(("damage", run.test_reads_damage))
    return lines


def _verdicts(run: Run) -> list[str]:
    """The newest verdicts of each student width, and whether a confirmation is not over."""
    newest = {
        c.width: found for found in run.confirmations if found.finished for c in found.comparisons
    }
    words = [
        short_verdict(c, found, run.metric)
        for width, found in sorted(newest.items())
        for c in found.of_width(width)
    ]
    if any(not found.finished for found in run.confirmations):
        words.append("not settled yet: the same `tasearch confirm` command goes on")
    return words


def teacher_accuracy(run: Run) -> float | None:
    """The teacher's accuracy on the validation set.

    Args:
        run: A run, finished or not.

    Returns:
        Accuracy of 0 to 1; None before the teacher is trained or loaded.
    """
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


def _trials(run: Run, counts: Counter[str], over: int, target: int | None) -> str:
    """`9 of 40: 8 complete, 1 pruned; besides, 2 of their assistants are students, for free`."""
    shown = Counter(counts)
    if shown["running"] and not run.directory.busy:
        shown["interrupted"] = shown.pop("running")
    words = ", ".join(f"{count} {state}" for state, count in sorted(shown.items()) if count)
    free = sum(trial.free and trial.state == "complete" for trial in run.trials)
    if free:
        students = "is a student" if free == 1 else "are students"
        words += f"; besides, {free} of their assistants {students}, for free"
    asked = "unknown" if target is None else str(min(target, run.manifest.space))
    return f"{over} of {asked}: {words or 'none yet'}"


def _hops(run: Run, history: History) -> str:
    """`15 trained, 9 times reused`, hops of trials that are still running included."""
    used = {use.key for trial in run.trials if trial.state in ENDED for use in trial.hops}
    ahead = {e["hop"] for e in history.events if e["event"] == "end"} - used
    return f"{run.costs.hops + len(ahead)} trained, {run.costs.uses - run.costs.hops} times reused"


def _time(run: Run, history: History, over: int, *, whole: bool) -> str:
    """The wall time, that of training, and what is left; a lower bound where lines are lost."""
    training = sum(e.get("seconds", 0.0) for e in history.events)
    least = "" if whole else "at least "
    known = (
        f"wall time {least}{duration(history.seconds)}, "
        f"training time {least}{duration(training)}, all workers together"
    )
    if history.finished:
        left = f"finished: {history.finished['reason']}"
    elif history.target is None:
        left = "how long is left is not known"
    else:
        left = _left(run, min(history.target, run.manifest.space) - over)
    return f"{known}; {left}"


def _left(run: Run, remaining: int) -> str:
    if remaining <= 0:
        return "nothing left to do"
    return left_text(logged_time_left(run, remaining, time.time()))
