"""The metric of a study: its name, its range, and how its values are told. Pure.

A score is a value of the metric with the sign that makes more the better: the search, the pruner,
the front and the verdicts know scores only. The negative log-likelihood is the one metric of which
less is better; its score is the log-likelihood, and people read it with its own sign.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

ACCURACY_NAME = "accuracy"
METRICS = {  # names in a study file, and what they are called
    ACCURACY_NAME: "accuracy",
    "balanced-accuracy": "balanced accuracy",
    "macro-f1": "macro F1",
    "auc": "AUC",
    "nll": "negative log-likelihood",
}
TOP_K = re.compile(r"top-([1-9][0-9]{0,5})")
BARELY = 1.5  # times the score of guessing


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a study's models are compared by.

    Args:
        name: Its name in a study file.
        words: What it is called in sentences.
        guess: The score of guessing.
        best: The score of perfect predictions.
        share: Whether its values are 0 to 1, told in percent, and their differences in points.
        proportion: Whether a value is the fraction of samples that are right in some sense.
        sign: 1; -1 if less is better, where a value is told as minus its score.
        unit: Unit of its values and differences; empty where there is none.
    """

    name: str
    words: str
    guess: float
    best: float = 1.0
    share: bool = True
    proportion: bool = False
    sign: int = 1
    unit: str = ""

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the accuracy, the default."""
        return self.name == ACCURACY_NAME

    def text(self, score: float | None, digits: int = 1) -> str:
        """A value: `93.2%` or `0.3127`; "unknown" for None.

        Args:
            score: The score.
            digits: Digits after the point of a share in percent.
        """
        if score is None:
            return "unknown"
        return f"{score:.{digits}%}" if self.share else f"{self.sign * score:.4g}"

    def named(self, score: float) -> str:
        """A value with the name of the metric: `accuracy 93.2%`."""
        return f"{self.words} {self.text(score)}"

    def of(self, score: float, samples: str) -> str:
        """A value and what it was measured on.

        Args:
            score: The score.
            samples: The samples, such as "the validation part".

        Example:
            >>> metric_of("accuracy", 10).of(0.932, "the test part")
            '93.2% of the test part'
            >>> metric_of("macro-f1", 10).of(0.932, "the test part")
            'macro F1 93.2% on the test part'
        """
        if self.is_accuracy:
            return f"{self.text(score)} of {samples}"
        return f"{self.named(score)} on {samples}"

    @property
    def scale(self) -> float:
        """What differences of scores are multiplied with to be told."""
        return 100.0 if self.share else float(self.sign)

    @property
    def units(self) -> str:
        """The unit of differences: "points", "nats" or nothing."""
        return "points" if self.share else self.unit

    def titled(self, words: str) -> str:
        """A title with the unit of differences: `gain, points`."""
        return f"{words}, {self.units}" if self.units else words

    def difference(self, score: float) -> str:
        """A difference of scores with its sign, without its unit: `+1.3`; of nats `-0.013`."""
        shown = self.scale * score
        text = f"{shown:+.1f}" if self.share else f"{shown:+.3g}"
        return ("0.0" if self.share else "0") if float(text) == 0 else text

    def difference_words(self, score: float) -> str:
        """A difference of scores with sign and unit: `+1.3 points`."""
        return f"{self.difference(score)} {self.units}".rstrip()

    def size(self, score: float, low: str, high: str) -> str:
        """The size of a difference, and which of two words says its sign as people read it.

        Args:
            score: The difference of scores.
            low: Word for a value that is less.
            high: Word for a value that is more, or equal.
        """
        shown = self.scale * score
        text = f"{abs(shown):.1f}" if self.share else f"{abs(shown):.3g}"
        return " ".join(filter(None, (text, self.units, high if shown >= 0 else low)))

    def range(self, low: float, high: float) -> str:
        """The ends of an interval of scores, the smaller value first: `97.0 to 99.1`."""
        if self.share:
            return f"{100 * low:.1f} to {100 * high:.1f}"
        return " to ".join(f"{end:.4g}" for end in sorted((self.sign * low, self.sign * high)))

    def difference_range(self, low: float, high: float) -> str:
        """The ends of an interval of differences, the smaller first: `+0.4 to +2.2`."""
        ends = (low, high) if self.scale > 0 else (high, low)
        return " to ".join(map(self.difference, ends))

    def near_chance(self, score: float) -> bool:
        """Whether a score is hardly better than that of guessing."""
        if not self.share:
            return score <= self.guess
        return score < min(BARELY * self.guess, self.guess + (self.best - self.guess) / 10)

    def clipped(self, score: float) -> float:
        """The score, no better than perfect and, for a share, no less than 0."""
        return min(self.best, max(0.0, score) if self.share else score)


def metric_of(name: str, classes: int, bounds: tuple[float, float] | None = None) -> Metric:
    """The metric that a study names.

    Args:
        name: Its name in the study file, or `"package.module:function"`.
        classes: Number of classes in the data.
        bounds: Scores of guessing and of perfect predictions, for a function of the user's.
    """
    top = TOP_K.fullmatch(name)
    if top:
        k = int(top[1])
        return Metric(
            name=name, words=f"top-{k} accuracy", guess=min(1.0, k / classes), proportion=True
        )
    if name == "nll":
        return Metric(
            name=name,
            words=METRICS[name],
            guess=-math.log(classes),
            best=0.0,
            share=False,
            sign=-1,
            unit="nats",
        )
    if name in METRICS:
        chance = 0.5 if name == "auc" else 1 / classes
        return Metric(
            name=name, words=METRICS[name], guess=chance, proportion=name == ACCURACY_NAME
        )
    guess, best = bounds or (0.0, 1.0)
    words = name.rpartition(":")[2]
    return Metric(name=name, words=words, guess=guess, best=best, share=False)


ACCURACY = metric_of(ACCURACY_NAME, 2)
