"""The report page: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from pathlib import Path
from string import Template
from typing import Any

from tasearch.config.arguments import check_page
from tasearch.config.files import write_atomic
from tasearch.errors import RunError, option
from tasearch.pareto.metric import Metric
from tasearch.report.figure_files import PLOTLY
from tasearch.report.front_figure import HEIGHT
from tasearch.report.front_view import front_axes
from tasearch.report.html import asset, escape, script_json
from tasearch.report.html import figure as place_of
from tasearch.report.info import Info, report_info
from tasearch.report.page_answer import answer_html, gains_html, head_html
from tasearch.report.page_details import details_html
from tasearch.report.page_trials import trials_html
from tasearch.report.plots import PLOTS, Look
from tasearch.report.rows import Row
from tasearch.report.style import DARK, LIGHT
from tasearch.runs.run import Run, shortened

COLUMNS = (  # of the rows that the script has
    "trial",
    "label",
    "teaching",
    "accuracy",
    "interval",
    "replicates",
    "params",
    "bytes",
    "latency_ms",
    "latency_p95_ms",
    "recipe",
    "front",
    "finished",
    "smaller",
    "over_direct",
    "over_labels",
    "models",
    "confirmed",
)
PLAIN = len(COLUMNS) - 2  # the others are made of values of their own


def write_report(run: Run, out: Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        run: The run.
        out: The page; `report.html` in the run's folder if not given.

    Returns:
        The path of the page.

    Raises:
        RunError: It cannot be written, or a file of the run is damaged.
    """
    page = out or run.path / "report.html"
    try:
        check_page(page, "" if out is None else "--out")
    except RunError as error:
        if out is not None:
            raise
        raise RunError(f"{error}; write the page elsewhere with {option('out')}") from None
    write_atomic(page, render_page(report_info(run)).encode())
    return page


def render_page(info: Info) -> str:
    """Write the report as HTML.

    Args:
        info: Contents of the report.

    Returns:
        The page, with plotly's script and the figures inside.
    """
    metric = info.metric
    what = "Error" if metric.is_accuracy else f"{metric.words[:1].upper()}{metric.words[1:]}"
    words = f"{what} of each student against its size; the table of all trials has the same."
    figures = _figures(info)
    heights = {name: figure["layout"]["height"] for name, figure in figures.items()}
    return Template(asset("page.html").decode()).substitute(
        title=escape(info.head.name),
        css=asset("page.css").decode(),
        head=head_html(info.head),
        answer=answer_html(info),
        front=place_of("front", HEIGHT, words) if info.view.finished else _EMPTY,
        metric=escape(metric.words),
        what=escape(what),
        heights=_height_options(metric),
        gains=gains_html(info, heights),
        trials=trials_html(info),
        details=details_html(info, heights),
        data=script_json(_data(info)),
        figures=script_json(figures),
        plotly=base64.b64encode(asset(PLOTLY)).decode(),
        script=asset("page.js").decode(),
    )


def _height_options(metric: Metric) -> str:
    """The axes of the figure that go up; a metric that is no share has one."""
    error = "error" if metric.is_accuracy else f"1 - {metric.words}"
    other = f'<option value="error">{escape(error)}</option>' if metric.share else ""
    return f'{other}<option value="accuracy">{escape(metric.words)}</option>'


_EMPTY = "<p>No student is trained to its end yet; the figure needs one.</p>"


def _figures(info: Info) -> dict[str, Any]:
    """The figures by the id of their place in the page."""
    shown = {name: plot for name, plot in PLOTS.items() if plot.shows(info)}
    return {name: json.loads(plot.draw(info, Look()).to_json()) for name, plot in shown.items()}


def _data(info: Info) -> dict[str, Any]:
    """What the page's script knows besides the figures."""
    return {
        "columns": COLUMNS,
        "rows": [_row(row) for row in info.rows],
        "choices": info.choices,
        "axes": front_axes(info.view),
        "samples": info.view.samples,
        "metric": {
            **{name: getattr(info.metric, name) for name in ("words", "share", "sign", "scale")},
            "units": info.metric.units,
            "accuracy": info.metric.is_accuracy,
        },
        "teacher": asdict(info.teacher) | {"rounds": None},
        "export": info.answer.export_any if info.answer else "",
        "dark": dict(zip(asdict(LIGHT).values(), asdict(DARK).values(), strict=True)),
    }


def _row(row: Row) -> list[Any]:
    """A row for the script, without what only figures need: values by `COLUMNS`."""
    values: list[Any] = [getattr(row, name) for name in COLUMNS[:PLAIN]]
    models = [(m.role, m.name, m.params, m.accuracy) for m in row.models]
    fresh = asdict(replace(row.confirmed, quality=None)) if row.confirmed else None
    known = zip(COLUMNS, (*values, models, fresh), strict=True)
    return [value if name == "latency_ms" else _short(value) for name, value in known]


def _short(value: Any) -> Any:
    """The same value, its floats with as many digits as anyone sees."""
    if isinstance(value, float):
        return shortened(value)
    if isinstance(value, list | tuple):
        return [_short(own) for own in value]
    return value
