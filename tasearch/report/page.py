"""The report page: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from html import escape as escape_html
from importlib.resources import files
from string import Template
from typing import Any

import plotly.offline

from tasearch.errors import printable
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.report.figures import figures
from tasearch.report.info import Info
from tasearch.report.text import flops_text, recipe_text

TITLES = re.compile(r"^(confirmed|test|verdict) +")


def render_page(info: Info) -> str:
    """Write the report as HTML.

    Args:
        info: Contents of the report.

    Returns:
        The page, with plotly's script and the figures inside.
    """
    template = Template(files("tasearch.report").joinpath("page.html").read_text("utf-8"))
    plots = {name: json.loads(figure.to_json()) for name, figure in figures(info).items()}
    return template.substitute(
        title=escape(info.name),
        summary=_summary(info),
        answer=_answer(info),
        cards="".join(_card(*card) for card in _cards(info)),
        rows="".join(map(_row, info.front.members)),
        device=escape(_measured(info)),
        plots=_script_json(plots),
        candidates=_script_json([_candidate(c) for c in info.candidates]),
        plotly=plotly.offline.get_plotlyjs(),
    )


def _measured(info: Info) -> str:
    """Backend and machine of the latencies, widths that are tied, and notices."""
    sentences = (f"{info.device}.", info.ties, *(f"Notice: {n}." for n in info.notices))
    return " ".join(filter(None, sentences))


def _summary(info: Info) -> str:
    done = sum(info.states.get(state, 0) for state in ("complete", "pruned", "failed"))
    limits = "" if info.budget == Budget() else f" within {escape(str(info.budget))}"
    return (
        f"{done} of {info.space:,} chains{limits} were tried; "
        f"{len(info.front)} students are on the front."
    )


def _answer(info: Info) -> str:
    """What to ship, in HTML that needs no script."""
    if info.answer is None:
        return "<p>No student is finished yet: <code>tasearch run</code> goes on.</p>"
    student, fewer = info.answer.student, info.answer.times_fewer
    size = f"{student.params:,} parameters, {fewer:.3g} times fewer than the teacher"
    shown = (
        f"<p><b>Ship {escape(student.label)}</b>: {student.accuracy:.1%} of the validation part in "
        f"the search, {size}.</p>"
    )
    lines = [TITLES.sub(r"\1: ", line) for line in info.answer.evidence]
    if not any(line.startswith("verdict:") for line in lines):
        lines.append("not confirmed on fresh seeds: `tasearch confirm` does that")
    return shown + "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _cards(info: Info) -> list[tuple[str, str, str]]:
    """Value, name and explanation of each card."""
    costs, states, audit = info.costs, info.states, info.audit
    shared = costs.unshared / costs.paid if costs.paid else 1.0
    pruned = 1 - costs.paid / costs.unpruned if costs.unpruned else 0.0
    failed = f"{states.get('failed', 0)} trials failed"
    return [
        (
            str(len(info.front.candidates)),
            "students finished",
            f"assistants within the budget included; {failed}",
        ),
        (flops_text(costs.paid), "training cost", "all hops, each trained once"),
        (
            f"{shared:.1f}×",
            "cheaper by sharing hops",
            f"{costs.hops} hops trained, {costs.uses - costs.hops} times reused",
        ),
        (f"{pruned:.1%}", "saved by pruning", f"{states.get('pruned', 0)} students stopped early"),
        (f"{audit.wrong} of {audit.audited}", "audited students wrongly pruned", _rate(info)),
    ]


def escape(text: str) -> str:
    """Escape text of a run for HTML: the run may come from a stranger.

    Args:
        text: Any text.

    Returns:
        The text without control characters and markup.
    """
    return escape_html(printable(text))


def _rate(info: Info) -> str:
    if not info.audit.audited:
        return "no student that pruning would stop was trained on"
    low, high = info.audit.interval
    return f"95% interval of the rate: {low:.0%} to {high:.0%}"


def _card(value: str, name: str, meaning: str) -> str:
    return (
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span>'
        f"<small>{escape(meaning)}</small></div>"
    )


def _row(candidate: Candidate) -> str:
    cells = (
        (str(candidate.trial), "n"),
        (candidate.label, ""),
        (f"{candidate.accuracy:.2%}", "n"),
        (f"{candidate.params:,}", "n"),
        (f"{candidate.bytes:,}", "n"),
        (f"{candidate.latency_ms:.4g}", "n"),
        (recipe_text(candidate.recipe), ""),
    )
    inner = "".join(f'<td class="{style}">{escape(text)}</td>' for text, style in cells)
    return f'<tr data-trial="{candidate.trial}">{inner}</tr>'


def _candidate(candidate: Candidate) -> dict[str, Any]:
    values = asdict(candidate)
    values["recipe"] = recipe_text(candidate.recipe)
    values["label"] = candidate.label
    return values


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element which contains it."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
