"""The figures show the values that they are made of."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import log10
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasearch
from tasearch.report.assistants_figure import assistants_figure
from tasearch.report.figures import cost_figure, curves_figure, importance_figure, progress_figure
from tasearch.report.front_figure import front_figure
from tasearch.report.front_view import TITLES, X, Y, front_axes
from tasearch.report.info import report_info
from tasearch.report.rows import Confirmed
from tasearch.report.style import DARK, LIGHT, SYMBOLS, error_axis

AXES: list[tuple[X, Y]] = [("params", "error"), ("latency_ms", "accuracy"), ("bytes", "error")]


@pytest.mark.parametrize(("x", "y"), AXES)
def test_front_figure_marks_every_student_once(budgeted: tasearch.Run, x: X, y: Y) -> None:
    view = report_info(budgeted).view
    figure = front_figure(view, x, y)
    marks = {}
    for trace in figure.data:
        if trace.name == "targets":
            continue  # of the mouse, at the members of the front
        for i, trial in enumerate(trace.customdata or ()):
            assert trial not in marks
            marks[trial] = (trace.x[i], trace.y[i])
    rows = {row.trial: row for row in view.rows if row.accuracy is not None and row.within}
    assert set(marks) == set(rows)
    for trial, (across, up) in marks.items():
        row = rows[trial]
        assert across == getattr(row, x)
        assert row.accuracy is not None
        least = 0.5 / view.samples
        assert up == (row.accuracy if y == "accuracy" else max(1 - row.accuracy, least))


def test_front_figure_hides_stopped_students_at_first(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    figure = front_figure(info.view)
    (stopped,) = (trace for trace in figure.data if "stopped early" in trace.name)
    count = sum(row.state == "pruned" for row in info.rows)
    assert stopped.name == f"{count} stopped early"
    assert stopped.visible == "legendonly"


def test_members_have_their_interval_and_width(budgeted: tasearch.Run) -> None:
    view = report_info(budgeted).view
    figure = front_figure(view, "params", "accuracy")
    shown = {}
    for trace in figure.data:
        if trace.error_y.array is not None:
            ends = zip(trace.error_y.arrayminus, trace.error_y.array, strict=True)
            for trial, y, (low, high) in zip(trace.customdata, trace.y, ends, strict=True):
                shown[trial] = (y - low, y + high)
    members = {row.trial: row.interval for row in view.rows if row.front}
    assert shown.keys() == members.keys()
    assert all(shown[trial] == pytest.approx(members[trial]) for trial in members)


@pytest.mark.parametrize("name", [*TITLES])
def test_axes_have_room_for_all_students(budgeted: tasearch.Run, name: str) -> None:
    view = report_info(budgeted).view
    axis = front_axes(view)[name]
    low, high = axis["range"]  # type: ignore[misc]
    for row in view.finished:
        value = view.height(row.accuracy or 0, name) if name in ("error", "accuracy") else None  # type: ignore[arg-type]
        at = getattr(row, name) if value is None else value
        assert low < (log10(at) if axis["type"] == "log" else at) < high


@pytest.mark.parametrize(("x", "y"), AXES)
def test_figure_cuts_off_no_mark(confirmed: tasearch.Run, x: X, y: Y) -> None:
    """Fresh seeds may find a student worse than any is in the search; text needs its point."""
    view = report_info(confirmed).view
    row = next(row for row in view.finished if row.front)
    far = Confirmed(accuracy=0.01, interval=(0.0, 0.02), test=None, seeds=8)
    rows = tuple(replace(r, confirmed=far) if r is row else r for r in view.rows)
    figure = front_figure(replace(view, rows=rows), x, y)
    for trace in figure.data:
        if trace.visible != "legendonly":
            for name, axis in (("x", figure.layout.xaxis), ("y", figure.layout.yaxis)):
                low, high = axis.range
                values = [log10(v) if axis.type == "log" else v for v in trace[name] or ()]
                assert all(low < value < high for value in values), (trace.name, name)


@given(st.floats(1e-4, 0.9), st.floats(1.05, 100))
def test_error_axis_has_round_ticks_within_it(low: float, times: float) -> None:
    axis = error_axis([low, min(1.0, low * times)])
    first, last = (10**end for end in cast("list[float]", axis["range"]))
    ticks = cast("list[float]", axis["tickvals"])
    assert len(ticks) >= 3
    assert all(first * 0.999 <= tick <= last * 1.001 for tick in ticks)
    assert len(set(cast("list[str]", axis["ticktext"]))) == len(ticks)


def test_assistants_figure_marks_every_gain_and_verdict(confirmed: tasearch.Run) -> None:
    info = report_info(confirmed)
    figure = assistants_figure(info.gains)
    chains, verdicts = figure.data[0], figure.data[1]
    gains = {row.trial: 100 * (row.over_direct or 0) for g in info.gains for row in g.rows}
    assert dict(zip(chains.customdata, chains.x, strict=True)) == gains
    assert [*verdicts.x] == [pytest.approx(9.3)]
    assert [*verdicts.error_x.array] == [pytest.approx(4.3)]
    words = [note.text for note in figure.layout.annotations]
    assert words.count("<b>helps</b>") == 1
    assert len(words) == len(info.gains)
    low, high = figure.layout.xaxis.range
    assert all(low < gain < high for gain in (*gains.values(), 13.6))


def test_curves_figure_has_a_trace_for_each_kind(budgeted: tasearch.Run) -> None:
    rows = report_info(budgeted).rows
    figure = curves_figure(rows)
    assert {trace.name for trace in figure.data} <= {"stopped early", "finished", "front"}
    points = sum(epoch is not None for trace in figure.data for epoch in trace.x)
    assert points == sum(len(row.curve) for row in rows)
    for trace in figure.data:
        steps = [b - a for a, b in zip(trace.x, trace.x[1:], strict=False) if None not in (a, b)]
        assert all(step > 0 for step in steps)  # a gap between two students


def test_curve_of_one_epoch_is_seen(budgeted: tasearch.Run) -> None:
    row = replace(report_info(budgeted).rows[0], epochs=(1,), curve=(0.5,))
    (trace,) = curves_figure([row]).data
    assert "markers" in trace.mode
    assert trace.marker.size > 0


def test_cost_figure_stacks_all_parts(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    figure = cost_figure(info.spent)
    assert sum(bar.x[0] for bar in figure.data) == pytest.approx(info.costs.paid)
    assert progress_figure(info.progress).data[0].y[-1] == info.progress[-1].hypervolume
    assert [*importance_figure({"a": 0.2, "b": 0.8}).data[0].y] == ["a", "b"]


def test_dark_theme_replaces_every_colour_and_no_other_value(confirmed: tasearch.Run) -> None:
    """The page turns a light figure into a dark one by replacing texts."""
    assert len(set(asdict(LIGHT).values())) == len(asdict(LIGHT))
    assert not set(asdict(LIGHT).values()) & set(asdict(DARK).values())
    info = report_info(confirmed)
    for light, dark in (
        (front_figure(info.view), front_figure(info.view, theme=DARK)),
        (assistants_figure(info.gains), assistants_figure(info.gains, DARK)),
        (curves_figure(info.rows), curves_figure(info.rows, DARK)),
        (cost_figure(info.spent), cost_figure(info.spent, DARK)),
    ):
        text = light.to_json()
        for one, other in zip(asdict(LIGHT).values(), asdict(DARK).values(), strict=True):
            text = text.replace(one, other)
        assert json.loads(text) == json.loads(dark.to_json())


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_marks_have_a_contrast_of_three_to_one(theme: object) -> None:
    """As WCAG 2.2 asks for of graphical objects, and 4.5 of text."""
    colours = asdict(theme)  # type: ignore[call-overload]
    paper = luminance(colours["paper"])
    for name, least in {"ink": 4.5, "soft": 4.5, "stopped": 3}.items():
        assert contrast(luminance(colours[name]), paper) >= least, name
    for teaching in SYMBOLS:
        assert contrast(luminance(colours[teaching.replace(" ", "_")]), paper) >= 3, teaching


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)
