"""Recipes, durations, ties and numbers in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasearch.chains.recipe import LABELS_ONLY, TOLD, complete_recipe, told_texts
from tasearch.chains.recipes import ONLY_DISTILLED
from tasearch.chains.sizes import sized
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.metric import ACCURACY, Metric

PREFIXES = ("", "k", "M", "G", "T", "P", "E")  # of the SI, a factor of 1,000 each
SHORT = {"temperature": "T", "learning_rate": "lr"}


def recipe_text(recipe: Mapping[str, Mapping[str, object] | None]) -> str:
    """A recipe in one line: the student's, then the assistants' where they differ.

    Args:
        recipe: Values by role, "student" and "assistants".

    Returns:
        Text such as "kd, T 4, alpha 0.9, lr 0.01, 40 epochs"; empty without a student.
    """
    student, assistants = recipe.get("student"), recipe.get("assistants")
    if not student:
        return ""
    text = _one_recipe(student)
    if assistants and assistants != student:
        text += f"; assistants {_one_recipe(assistants)}"
    return text


def _one_recipe(values: Mapping[str, object]) -> str:
    text = str(values["loss"])
    if values["loss"] != "ce":
        text += f", T {values['temperature']:g}, alpha {values['alpha']:g}"
        text += "".join(f", {told}" for told in told_texts(values))
    epochs = values["epochs"]
    return f"{text}, lr {values['learning_rate']:g}, {epochs} epoch{'s' * (epochs != 1)}"


def searched_text(recipes: Sequence[Mapping[str, Mapping[str, object] | None]]) -> list[str]:
    """The fields in which recipes differ, in words, for each of them.

    Args:
        recipes: Values by role, "student" and "assistants", of each trial.

    Returns:
        Texts such as "loss kd, assistants' T 4"; empty where nothing differs.
    """
    values: dict[tuple[str, str], set[object]] = {}
    for recipe in recipes:
        for role, fields in recipe.items():
            for name, value in complete_recipe(fields).items() if fields else ():
                values.setdefault((role, name), set()).add(value)
    differing = [place for place, found in values.items() if len(found) > 1]
    return [_searched(recipe, differing) for recipe in recipes]


def _searched(
    recipe: Mapping[str, Mapping[str, object] | None], differing: Sequence[tuple[str, str]]
) -> str:
    words = []
    for role, name in differing:
        fields = recipe.get(role) or {}
        without_teacher = fields.get("loss") == LABELS_ONLY and name in ONLY_DISTILLED
        if name in fields and not without_teacher:  # those in LATER may not be
            whose = "assistants' " if role == "assistants" else ""
            words.append(f"{whose}{_field_text(name, fields)}")
    return ", ".join(words)


def _field_text(name: str, fields: Mapping[str, object]) -> str:
    if name in TOLD:
        return TOLD[name](fields)
    value = fields[name]
    return f"{SHORT.get(name, name)} " + (f"{value:g}" if isinstance(value, float) else str(value))


def ties_text(measured: Mapping[int, Measurement]) -> str:
    """All widths that count as equally fast, in sentences.

    Args:
        measured: Measurements by width.

    Returns:
        Text such as "Widths 12 and 8 are tied, at 0.0445 ms."; empty if none are tied.
    """
    groups: dict[float, list[int]] = {}
    for size in measured.values():
        groups.setdefault(size.latency_ms, []).append(size.width)
    return " ".join(
        f"{sized(*widths).capitalize()} are tied, at {latency:.4g} ms."
        for latency, widths in sorted(groups.items())
        if len(widths) > 1
    )


def duration(seconds: float) -> str:
    """A duration in words.

    Args:
        seconds: Duration in seconds.

    Returns:
        Hours and minutes, minutes and seconds, or seconds.

    Example:
        >>> duration(7500), duration(200), duration(12)
        ('2 h 05 min', '3 min 20 s', '12 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def flops_text(flops: float) -> str:
    """A number of floating-point operations with an SI prefix.

    Args:
        flops: Floating-point operations.

    Returns:
        Three significant digits, a prefix and the unit.

    Example:
        >>> flops_text(3.684e11), flops_text(999_700.0), flops_text(0)
        ('368 GFLOPs', '1 MFLOPs', '0 FLOPs')
    """
    value, power = float(f"{flops:.3g}"), 0
    while value >= 1000 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.4g} {PREFIXES[power]}FLOPs"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in percent; "unknown" for None."""
    return "unknown" if share is None else f"{share:.1%}"


def ends_text(interval: tuple[float, float], metric: Metric = ACCURACY) -> str:
    """The ends of an interval of scores, those of a share in percent.

    Example:
        >>> ends_text((0.9702, 0.9911))
        '97.0 to 99.1'
    """
    return metric.range(*interval)


def interval_text(interval: tuple[float, float] | None, metric: Metric = ACCURACY) -> str:
    """An interval of scores in words.

    Example:
        >>> interval_text((0.9702, 0.9911))
        '95 % interval 97.0 to 99.1'
    """
    if interval is None:
        return "its interval is not known"
    return f"95 % interval {ends_text(interval, metric)}"
