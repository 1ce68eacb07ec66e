"""Students and verdicts as plain values for programs: one name for one fact in every command.

Accuracies, their intervals and their differences are 0 to 1. What is not known is None. In a study
of another metric, which `metric` names, they are scores of that metric, of which more is better;
`accuracy` of a test part and of a class is the accuracy all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tasearch.chains.sizes import Size, size_names
from tasearch.pareto.metric import Metric
from tasearch.report.intervals import Interval, score_interval
from tasearch.report.rows import Row
from tasearch.runs.leads import lead_over_direct
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, Verdict, shipped


def student_numbers(run: Run, row: Row) -> dict[str, Any]:
    """What is known of a finished student.

    Args:
        run: The run.
        row: The row of its trial.

    Returns:
        Values by name: `accuracy` and `interval` are those of the search, `confirmed` is what fresh
        seeds say, `as_good_as` the trial of the smallest student that cannot be told apart.
    """
    assert row.interval is not None
    candidate, study = run.candidate(row.trial), run.manifest.study
    confirmed, lead = run.confirmed(candidate), lead_over_direct(run, candidate)
    source = {"part": "validation", "seeds": "search", "seed": study.seed}
    return {
        "trial": row.trial,
        **_chain(row.chain),
        "label": row.label,
        "teacher": candidate.teacher,  # its name in the label; empty where it is its width
        "teaching": row.teaching,
        "recipe": candidate.recipe,
        "metric": study.objective.metric,
        "accuracy": row.accuracy,
        "interval": row.interval,
        "accuracies": row.replicates or (row.accuracy,),
        "replicates": study.search.replicates,
        # the search chose by it: it is optimistic
        "accuracy_of": {**source, "replicates": study.search.replicates, "selected": True},
        "params": row.params,
        "bytes": row.bytes,
        "latency_ms": row.latency_ms,
        "latency_p95_ms": row.latency_p95_ms,
        **({"latency_by_length": {str(n): ms for n, ms in row.by_length}} if row.by_length else {}),
        "latency_notices": run.manifest.timing.notices,
        "front": row.front,
        "shipped": row.shipped,
        "as_good_as": row.smaller,
        "over_direct": row.over_direct,
        "over_labels": row.over_labels,
        "recalls": row.recalls,
        "lead_over_direct": None if lead is None else lead.content,
        "confirmed": None if confirmed is None else _confirmed_numbers(run, *confirmed),
    }


def flat_numbers(run: Run, row: Row) -> dict[str, Any]:
    """The same for a table: each value is a number or a text; lists are separated by spaces."""
    found = student_numbers(run, row)
    confirmed = found["confirmed"] or {}
    low, high = found["interval"]
    fresh_low, fresh_high = confirmed.get("interval") or (None, None)
    same = ("params", "bytes", "latency_ms", "latency_p95_ms", "front", "shipped")
    leads = ("as_good_as", "over_direct", "over_labels")
    return {
        "trial": row.trial,
        "chain": " ".join(map(str, found["chain"])),
        "label": found["label"],
        "teaching": found["teaching"],
        "metric": found["metric"],
        "accuracy": found["accuracy"],
        "low": low,
        "high": high,
        "accuracies": " ".join(map(str, found["accuracies"])),
        "replicates": found["replicates"],
        **{name: found[name] for name in (*same, *leads)},
        "confirmed_accuracy": confirmed.get("accuracy"),
        "confirmed_low": fresh_low,
        "confirmed_high": fresh_high,
        "confirmed_seeds": confirmed.get("seeds"),
        **{f"latency_ms_{length}": ms for length, ms in row.by_length},
        "recipe": row.recipe,
    }


def confirmation_numbers(run: Run, found: Confirmation) -> dict[str, Any]:
    """A confirmation: its plan, its comparisons, and what to ship of each width.

    Args:
        run: The run.
        found: The confirmation.
    """
    ship = {}
    for width in dict.fromkeys(c.width for c in found.comparisons):
        arm = shipped(found.of_width(width))
        trial = run.trial_of(arm)
        number = None if trial is None else trial.number
        ship[str(width)] = {**_names(arm), "trial": number}
    return {
        "plan": asdict(found.plan),
        "comparisons": [_comparison_numbers(run, c) for c in found.comparisons],
        "finished": found.finished,
        "ship": ship,
    }


def _comparison_numbers(run: Run, comparison: Comparison) -> dict[str, Any]:
    arms = {"first": comparison.first, "second": comparison.second}
    return {
        "question": comparison.question,
        "width": int(comparison.width),
        **({"size": str(comparison.width)} if isinstance(comparison.width, Size) else {}),
        "label": comparison.label,
        **{name: {**_names(arm), **_arm_numbers(run, arm)} for name, arm in arms.items()},
        "verdict": _verdict_numbers(comparison.verdict),
        "faults": comparison.faults,
    }


def _names(arm: Arm) -> dict[str, Any]:
    return {**_chain(arm.chain), "label": arm.label, "recipe": arm.recipe}


def _chain(chain: Sequence[int]) -> dict[str, Any]:
    """The widths of a chain, and beside them the names of those that are sizes with names."""
    names = size_names(chain)
    return {"chain": tuple(map(int, chain)), **({"sizes": names} if names else {})}


def _confirmed_numbers(run: Run, found: Confirmation, arm: Arm) -> dict[str, Any]:
    own = found.of_width(arm.chain[-1])
    verdicts = {c.question: _verdict_numbers(c.verdict) for c in own}
    return {**_arm_numbers(run, arm), "verdicts": verdicts}


def _arm_numbers(run: Run, arm: Arm) -> dict[str, Any]:
    """What a chain has reached on fresh seeds."""
    source = {"seeds": "fresh", "replicates": arm.seeds, "selected": False}
    test, errors = None, tuple[float, ...]()
    if arm.quality is not None and arm.quality.error is not None:
        errors = (arm.quality.error,)
    if arm.quality is not None:
        test = {"of": {"part": "test", **source}, **arm.quality.as_json(run.manifest.class_names)}
    return {
        "accuracy": arm.accuracy,
        "interval": _interval(run.metric, arm.accuracies, run.manifest.validation, arm.errors),
        "accuracies": arm.accuracies,
        "accuracy_of": {"part": "validation", **source},
        "test_accuracy": arm.test_accuracy,
        "test_interval": _interval(
            run.metric, arm.test, arm.quality.samples if arm.quality else 0, errors
        ),
        "test_accuracies": arm.test,
        "test": test,
        "seeds": arm.seeds,
    }


def _interval(
    metric: Metric,
    accuracies: tuple[float | None, ...],
    samples: int,
    errors: tuple[float, ...],
) -> Interval | None:
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return score_interval(metric, known, samples, errors) if known and samples else None


def _verdict_numbers(verdict: Verdict) -> dict[str, Any]:
    values = asdict(verdict)
    low, high = values.pop("low"), values.pop("high")
    return {**values, "interval": None if low is None or high is None else (low, high)}
