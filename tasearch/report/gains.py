"""Does an assistant help? What every chain gains over direct distillation, by student width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.report.rows import Row
from tasearch.report.verdict_text import verdict_text
from tasearch.runs.leads import no_assistants_words
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Comparison, Confirmation

NORMAL_95 = 1.96  # 95 % of a normal distribution are within so many standard deviations


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What assistants do to the student of one width.

    Args:
        width: Width of the student.
        params: Number of its parameters.
        rows: The finished chains with assistants of which the gain is known.
        chains: Number of finished chains with assistants.
        noise: Difference in accuracy within which 95 % of pairs of trainings of equally good
            chains lie: measured on fresh seeds if there are any, else that of the samples alone;
            None if neither is known.
        measured: Whether the noise was measured on fresh seeds, and so is that of seeds as well.
        comparison: The comparison on fresh seeds; None if there is none.
        words: The verdict in words.
        metric: What the chains are compared by.
    """

    width: int
    params: int
    rows: tuple[Row, ...]
    chains: int
    noise: float | None
    measured: bool
    comparison: Comparison | None
    words: str
    metric: Metric = ACCURACY

    @property
    def answer(self) -> str:
        """The verdict in two words."""
        if self.comparison is not None:
            return self.comparison.verdict.answer
        return "not confirmed" if self.chains else "no chain"


def gains_of(run: Run, rows: Sequence[Row]) -> tuple[Gain, ...]:
    """The gains at each student width with a finished chain, the widest first.

    Args:
        run: The run.
        rows: Its rows.
    """
    widths = sorted({row.width for row in rows if row.finished}, reverse=True)
    return tuple(_gain(run, width, [row for row in rows if row.width == width]) for width in widths)


def _gain(run: Run, width: int, rows: Sequence[Row]) -> Gain:
    finished = [row for row in rows if row.finished]
    behind = [row for row in finished if row.teaching == "assistants"]
    confirmation = newest_about(run, width, "assistants")
    comparison = None
    if confirmation is not None:
        comparison = _asked(confirmation, width, "assistants")
    return Gain(
        width=width,
        params=finished[0].params,
        rows=tuple(row for row in behind if row.over_direct is not None),
        chains=len(behind),
        noise=_seed_noise(run, comparison) or _sample_noise(run, finished),
        measured=_seed_noise(run, comparison) is not None,
        comparison=comparison,
        words=question_words(run, width, "assistants", rows),
        metric=run.metric,
    )


def _seed_noise(run: Run, comparison: Comparison | None) -> float | None:
    """Half the width of the band in which differences between equally good chains lie."""
    known = [d for d in comparison.differences if d is not None] if comparison else []
    if len(known) < 2 or not stdev(known):
        return None
    return NORMAL_95 * stdev(known) / math.sqrt(run.manifest.study.search.replicates)


def _sample_noise(run: Run, finished: Sequence[Row]) -> float | None:
    """The same from the samples alone, as if the two chains had other samples."""
    direct = [row for row in finished if row.teaching == "direct" and row.accuracy is not None]
    if not direct:
        return None
    best = max(direct, key=lambda row: row.accuracy or 0.0)
    if not run.metric.proportion:
        errors = run.trials[best.trial].errors
        return NORMAL_95 * math.sqrt(2) * fmean(errors) if errors else None
    accuracy, samples = best.accuracy or 0.0, run.manifest.validation
    if not accuracy:
        return None
    return NORMAL_95 * math.sqrt(2 * accuracy * (1 - accuracy) / samples)


def newest_about(run: Run, width: int, question: str) -> Confirmation | None:
    """The newest finished confirmation that answers a question for a width."""
    for found in reversed(run.confirmations):
        if found.finished and _asked(found, width, question) is not None:
            return found
    return None


def _asked(found: Confirmation, width: int, question: str) -> Comparison | None:
    return next((c for c in found.of_width(width) if c.question == question), None)


def question_words(run: Run, width: int, question: str, rows: Sequence[Row]) -> str:
    """The answer to "do assistants help?" or "does distillation help?" for one width.

    Args:
        run: The run.
        width: Width of the student.
        question: "assistants" or "distillation".
        rows: The run's rows.

    Returns:
        The verdict, or what the search says and that it is not confirmed.
    """
    found = newest_about(run, width, question)
    comparison = None if found is None else _asked(found, width, question)
    if found is not None and comparison is not None:
        words = verdict_text(comparison, found.plan, len(found.comparisons), run.metric)
        return f"{words}; compared were {comparison.first.label} and {comparison.second.label}"
    own = [row for row in rows if row.width == width and row.finished]
    if question == "assistants":
        return _unconfirmed_assistants(run, own, width)
    return _unconfirmed_distillation(run, own)


def _unconfirmed_assistants(run: Run, rows: Sequence[Row], width: int) -> str:
    behind = [row for row in rows if row.teaching == "assistants"]
    if not behind:
        return f"not known: {no_assistants_words(run, width)}"
    leads = [row.over_direct for row in behind if row.over_direct is not None]
    if not leads:
        return "not known: direct distillation with the same recipe was not trained to its end"
    chains = f"the best of {len(leads)} chains" if len(leads) > 1 else "its one chain"
    return _unconfirmed(run, chains, max(leads), "direct distillation with the same recipe")


def _unconfirmed_distillation(run: Run, rows: Sequence[Row]) -> str:
    leads = [row.over_labels for row in rows if row.over_labels is not None]
    if not leads:
        distilled = any(row.teaching != "no teacher" for row in rows)
        missing = "trained on the labels alone" if distilled else "distilled"
        return f"not known: the same student was not {missing}"
    chains = f"the best of {len(leads)} chains" if len(leads) > 1 else "its one chain"
    return _unconfirmed(run, chains, max(leads), "training on the labels alone")


def _unconfirmed(run: Run, subject: str, lead: float, other: str) -> str:
    """A lead in the search in words: in samples, with the number of seeds."""
    samples, replicates = run.manifest.validation, run.manifest.study.search.replicates
    seeds = "one seed" if replicates == 1 else f"mean of {replicates} seeds"
    hits, side = round(abs(lead) * samples, 2), "ahead of" if lead > 0 else "behind"
    place = "level with"
    if hits and run.metric.proportion:
        place = f"{hits:g} of {samples:,} samples {side}"
    elif lead:
        place = f"{run.metric.difference_words(lead)} {side}"
    return f"not confirmed: {subject} is {place} {other} ({seeds})"
