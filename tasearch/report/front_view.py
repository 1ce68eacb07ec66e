"""What the figure of the front shows, and its axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from tasearch.pareto.metric import ACCURACY, Metric
from tasearch.report.rows import Row
from tasearch.report.style import error_axis, percent_axis, plain_axis, size_axis

X = Literal["params", "bytes", "latency_ms"]
Y = Literal["error", "accuracy"]
TITLES: Mapping[str, str] = {
    "params": "parameters",
    "bytes": "bytes",
    "latency_ms": "latency of a batch, ms",
    "error": "error on the validation part",
    "accuracy": "accuracy on the validation part",
}


@dataclass(frozen=True, kw_only=True)
class FrontView:
    """What the figure shows.

    Args:
        rows: The run's rows.
        samples: Number of samples in the validation set.
        teacher: The teacher in words.
        teacher_accuracy: Its score on the validation set; None if it is not known.
        metric: What the students are compared by.
    """

    rows: tuple[Row, ...]
    samples: int
    teacher: str
    teacher_accuracy: float | None
    metric: Metric = ACCURACY

    @property
    def finished(self) -> list[Row]:
        """The students that were trained to their end."""
        return [row for row in self.rows if row.finished]

    def height(self, accuracy: float, y: Y) -> float:
        """Where a score is on the y axis; no error is less than that of half a sample.

        A metric that is no share has one axis, that of its values.
        """
        if not self.metric.share:
            return self.metric.sign * accuracy
        return accuracy if y == "accuracy" else max(1 - accuracy, 0.5 / self.samples)

    def title(self, name: str) -> str:
        """The title of an axis."""
        if self.metric.is_accuracy or name not in get_args(Y):
            return TITLES[name]
        words = f"{self.metric.words} on the validation part"
        if self.metric.share:
            return words if name == "accuracy" else f"1 - {words}"
        return f"{words}, {self.metric.unit}" if self.metric.unit else words


def front_axes(view: FrontView) -> dict[str, dict[str, object]]:
    """Layout of each axis that the figure may have, by its name."""
    found: dict[str, dict[str, object]] = {}
    for x in get_args(X):
        found[x] = {**size_axis([getattr(row, x) for row in view.finished]), **_title(view, x)}
    shown = [row.accuracy for row in view.finished if row.accuracy is not None]
    ends = [end for row in view.finished if row.front and row.interval for end in row.interval]
    shown += [row.confirmed.accuracy for row in view.finished if row.front and row.confirmed]
    if view.teacher_accuracy is not None:
        shown.append(view.teacher_accuracy)
    if not view.metric.share:
        heights = [view.height(score, "accuracy") for score in (*shown, *ends)]
        axis = {**plain_axis(heights), **_title(view, "accuracy")}
        return found | {"accuracy": axis, "error": axis}
    found["accuracy"] = {**percent_axis([*shown, *ends]), **_title(view, "accuracy")}
    errors = [view.height(accuracy, "error") for accuracy in (*shown, *ends)]
    found["error"] = {**error_axis(errors), **_title(view, "error")}
    return found


def _title(view: FrontView, name: str) -> dict[str, object]:
    return {"title": {"text": view.title(name), "standoff": 10}}
