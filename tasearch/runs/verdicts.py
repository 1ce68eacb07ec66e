"""Verdicts: chains compared again on fresh seeds, and whether their assistants help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from tasearch.chains.chain import label
from tasearch.runs.accuracies import mean_of_known
from tasearch.runs.quality import Quality

Answer = Literal["helps", "hurts", "no difference", "cannot tell"]
Question = Literal["assistants", "distillation"]

SENTENCES: dict[Question, dict[Answer, str]] = {  # the verdicts in words
    "assistants": {
        "helps": "assistants help",
        "hurts": "assistants hurt",
        "no difference": "assistants make no difference beyond {margin}",
        "cannot tell": "it cannot be told whether assistants help",
    },
    "distillation": {
        "helps": "distillation helps",
        "hurts": "distillation hurts",
        "no difference": "distillation makes no difference beyond {margin}",
        "cannot tell": "it cannot be told whether distillation helps",
    },
}


@dataclass(frozen=True, kw_only=True)
class LookPlan:
    """When the pairs of a comparison are looked at, and how much each look may spend.

    Args:
        pairs: The number of pairs at each look, rising, at least 2.
        shares: The share of alpha that each look may spend; they sum to 1.
        alpha: Probability of any false "helps" or "hurts" in all comparisons of a command.
        margin: Largest difference in accuracy that makes no difference: 0.01 is one point.
    """

    pairs: tuple[int, ...] = (8, 18)
    shares: tuple[float, ...] = (0.3, 0.7)
    alpha: float = 0.05
    margin: float = 0.01

    @property
    def blocks(self) -> tuple[int, ...]:
        """The number of pairs that each look adds."""
        return tuple(b - a for a, b in zip((0, *self.pairs), self.pairs, strict=False))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is known of one comparison.

    Args:
        answer: What the first chain does to the accuracy; "cannot tell" as long as it is open.
        settled: Whether no further look is needed.
        pairs: The number of pairs that count.
        difference: Mean difference in accuracy, first less second; None without a pair.
        low: Lower end of its interval; None with fewer than two pairs.
        high: Upper end of its interval; None with fewer than two pairs.
        p: p value, corrected for the looks and for the other comparisons of the command.
        needed: The number of pairs with which a difference as large as the margin would be found
            in 80 % of cases; None with fewer than two pairs.
    """

    answer: Answer = "cannot tell"
    settled: bool = False
    pairs: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the two chains of a comparison, with what it reached on the fresh seeds.

    Args:
        chain: Widths, the teacher's first.
        recipe: The recipes of the chain, as `Candidate.recipe` has them.
        accuracies: Validation score on each fresh seed, the accuracy in 0..1 unless the study has
            another metric; None where training failed.
        test: Score on the held-out test set on each fresh seed; empty until the verdict.
        quality: Quality on the held-out test set, mean over the fresh seeds; None until the
            verdict, and for a confirmation that was made before it was measured.
        flops: Training FLOPs of its models beyond the teacher, on all of these seeds.
        teacher: Name of the teacher in chains; empty for its width.
        errors: Standard errors of the scores on the validation samples, of the seeds that count;
            empty for a metric that is a proportion of samples.
    """

    chain: tuple[int, ...]
    recipe: Mapping[str, Any]
    accuracies: tuple[float | None, ...] = ()
    test: tuple[float | None, ...] = ()
    quality: Quality | None = None
    flops: float = 0.0
    teacher: str = ""
    errors: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The chain in one line, such as `64 → 24 → 6`."""
        return label(self.chain, self.recipe, self.teacher)

    @property
    def accuracy(self) -> float | None:
        """Mean validation accuracy on the fresh seeds; None where none was trained."""
        return mean_of_known(self.accuracies)

    @property
    def seeds(self) -> int:
        """The number of fresh seeds that count: those on which training did not fail."""
        return sum(accuracy is not None for accuracy in self.accuracies)

    @property
    def test_accuracy(self) -> float | None:
        """Mean accuracy on the test set; None before the verdict."""
        return mean_of_known(self.test)

    def is_chain(self, chain: Sequence[int], recipe: Mapping[str, Any]) -> bool:
        """Whether it is this chain with these recipes."""
        return self.chain == tuple(chain) and dict(self.recipe) == dict(recipe)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two chains that end in a student of the same width, on the same fresh seeds.

    Args:
        question: "assistants": a chain with assistants against direct distillation with the same
            recipe. "distillation": a distilled student against one that learns from labels alone.
        first: The chain with assistants, or with a teacher.
        second: The shorter chain.
        verdict: What is known so far.
        faults: Why seeds are missing, each once.
    """

    question: Question
    first: Arm
    second: Arm
    verdict: Verdict = Verdict()
    faults: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """The width of the student."""
        return self.first.chain[-1]

    @property
    def label(self) -> str:
        """The two chains in one line, such as `64 → 24 → 6 against 64 → 6`."""
        return f"{self.first.label} against {self.second.label}"

    @property
    def differences(self) -> tuple[float | None, ...]:
        """First less second, seed by seed; None where one of the two failed."""
        pairs = zip(self.first.accuracies, self.second.accuracies, strict=True)
        return tuple(None if a is None or b is None else a - b for a, b in pairs)

    def __repr__(self) -> str:
        return f"<Comparison: {self.label}: {self.answer_words('the margin')}{self._figures}>"

    def answer_words(self, margin: str) -> str:
        """The answer as a sentence.

        Args:
            margin: The margin in words.
        """
        return SENTENCES[self.question][self.verdict.answer].format(margin=margin)

    @property
    def _figures(self) -> str:
        """The difference in the score, its interval and the pairs, as the end of a sentence."""
        own = self.verdict
        if own.difference is None or own.low is None or own.high is None:
            return ""
        size = f"{own.difference:+.3g} ({own.low:+.3g} to {own.high:+.3g})"
        return f", {size} on {own.pairs} fresh seeds"


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """One `tasearch confirm`: what it compares, and what came of it.

    Args:
        plan: The looks, fixed before the first fresh seed was trained.
        comparisons: The comparisons, corrected for their number.
        finished: Whether every comparison is settled and the test set was read.
    """

    plan: LookPlan
    comparisons: tuple[Comparison, ...]
    finished: bool = False

    def of_width(self, width: int) -> list[Comparison]:
        """The comparisons of a student width."""
        return [c for c in self.comparisons if c.width == width]

    def arm(self, chain: Sequence[int], recipe: Mapping[str, Any]) -> Arm | None:
        """What a chain has reached, on the most seeds that it has; None if it takes no part."""
        return _with_most_seeds(self.comparisons, chain, recipe)

    def same_plan(self, other: Confirmation) -> bool:
        """Whether another one compares the same chains in the same way."""
        return self.plan == other.plan and self._chains() == other._chains()

    def __repr__(self) -> str:
        state = "" if self.finished else " (not finished)"
        margin = f"{self.plan.margin:g}"
        found = [f"{c.label}: {c.answer_words(margin)}{c._figures}" for c in self.comparisons]
        return f"<Confirmation{state}: {'; '.join(found) or 'no comparison'}>"

    def _repr_html_(self) -> str:
        heads = ("compared", "verdict", "difference", "95 % interval", "fresh seeds")
        body = "".join(f"<tr>{_cells(self._texts(c))}</tr>" for c in self.comparisons)
        note = "" if self.finished else "<p>not finished</p>"
        return f"{note}<table><tr>{_cells(heads, 'th')}</tr>{body}</table>"

    def _texts(self, own: Comparison) -> tuple[str, ...]:
        """The cells of a comparison's row."""
        found = own.verdict
        words = own.answer_words(f"{self.plan.margin:g}")
        difference = "" if found.difference is None else f"{found.difference:+.3g}"
        interval = "" if found.low is None else f"{found.low:+.3g} to {found.high:+.3g}"
        return own.label, words, difference, interval, str(found.pairs)

    def _chains(self) -> list[Any]:
        return [
            (c.question, *((a.chain, a.recipe) for a in (c.first, c.second)))
            for c in self.comparisons
        ]


def _cells(texts: Sequence[str], tag: str = "td") -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def shipped(comparisons: Sequence[Comparison]) -> Arm:
    """The chain to ship, on the most seeds that it has: the shortest that no verdict calls worse.

    Without distillation unless that helps, without assistants unless they help.

    Args:
        comparisons: The finished comparisons of one student width, at least one.
    """
    ship = _shortest(comparisons)
    return _with_most_seeds(comparisons, ship.chain, ship.recipe) or ship


def _with_most_seeds(
    comparisons: Sequence[Comparison], chain: Sequence[int], recipe: Mapping[str, Any]
) -> Arm | None:
    arms = (arm for c in comparisons for arm in (c.first, c.second))
    own = [arm for arm in arms if arm.is_chain(chain, recipe)]
    return max(own, key=lambda arm: len(arm.accuracies), default=None)


def _shortest(comparisons: Sequence[Comparison]) -> Arm:
    by_question = {comparison.question: comparison for comparison in comparisons}
    distillation = by_question.get("distillation")
    if distillation is not None and distillation.verdict.answer != "helps":
        return distillation.second
    assistants = by_question.get("assistants")
    if assistants is not None and assistants.verdict.answer == "helps":
        return assistants.first
    if distillation is not None and len(distillation.first.chain) == 2:
        return distillation.first
    found = assistants or distillation
    assert found is not None
    return found.second if found is assistants else found.first
