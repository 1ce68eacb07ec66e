"""Verdicts in words, with all that belongs to them."""

from __future__ import annotations

from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.runs.verdicts import Comparison, LookPlan


def verdict_text(
    comparison: Comparison, plan: LookPlan, comparisons: int, metric: Metric = ACCURACY
) -> str:
    """A verdict in one line.

    Args:
        comparison: The comparison.
        plan: Its looks.
        comparisons: Number of comparisons in the command.
        metric: What the chains are compared by.

    Example:
        >>> from tasearch.runs.verdicts import Arm, Verdict
        >>> arm = Arm(chain=(64, 8, 4), recipe={})
        >>> found = Verdict(answer="helps", settled=True, pairs=8, difference=0.013, low=0.004,
        ...     high=0.022, p=0.008, needed=10)
        >>> own = Comparison(question="assistants", first=arm, second=arm, verdict=found)
        >>> for part in verdict_text(own, LookPlan(), 3).split("; "):
        ...     print(part)
        assistants help: +1.3 points (95 % interval of this one alone +0.4 to +2.2
        8 fresh seeds in common, same recipe, this teacher
        p = 0.008, corrected for 3 comparisons and 2 looks)
    """
    found = comparison.verdict
    margin = margin_text(plan, metric)
    answer = comparison.answer_words(margin)
    if found.difference is None or found.low is None or found.high is None:
        return f"{answer}: no two fresh seeds were trained"
    same = "same recipe, " if comparison.question == "assistants" else ""
    corrected = f"{len(plan.pairs)} looks"
    if comparisons > 1:
        corrected = f"{comparisons} comparisons and {corrected}"
    alone = " of this one alone" if comparisons > 1 else ""
    words = (
        f"{answer}: {metric.difference_words(found.difference)}{_of(metric)} (95 % interval{alone} "
        f"{metric.difference_range(found.low, found.high)}; {found.pairs} fresh seeds in common, "
        f"{same}this teacher; p = {found.p:.2g}, corrected for {corrected})"
    )
    more = found.needed is not None and found.needed > found.pairs
    if found.answer == "cannot tell" and more:
        words += f"; about {found.needed} seeds would find a difference of {margin}"
    return words


def margin_text(plan: LookPlan, metric: Metric = ACCURACY) -> str:
    """The margin in words, such as `1 point`."""
    size = f"{abs(metric.scale) * plan.margin:.3g}"
    if metric.share:
        return f"{size} point{'s' * (size != '1')}"
    return f"{size} {metric.unit}".rstrip()


def _of(metric: Metric) -> str:
    """The name of a metric that is not the accuracy, after a difference."""
    return "" if metric.is_accuracy else f" of {metric.words}"
