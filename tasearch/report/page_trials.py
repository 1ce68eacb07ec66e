"""The table of all trials."""

from __future__ import annotations

from tasearch.report.html import escape
from tasearch.report.info import Info
from tasearch.report.rows import Row
from tasearch.report.text import ends_text

COLUMNS = (  # name, class
    ("trial", "n"),
    ("chain", ""),
    ("learns from", ""),
    ("accuracy", "n"),
    ("95 % interval", "n"),
    ("parameters", "n"),
    ("latency, ms", "n"),
    ("over direct, points", "n"),
    ("searched", ""),
    ("state", ""),
)
LEARNS_FROM = {"no teacher": "labels", "direct": "teacher", "assistants": "assistants"}


def trials_html(info: Info) -> str:
    """All trials as a table that can be sorted and filtered."""
    if not info.rows:
        return "<p>No trial has begun yet.</p>"
    head = "".join(
        f'<th scope="col" class="{style}" aria-sort="none">'
        f'<button type="button" data-column="{i}">{escape(_title(name, info))}</button></th>'
        for i, (name, style) in enumerate(COLUMNS)
        if _shown(name, info)
    )
    states = dict.fromkeys(row.state for row in info.rows)
    options = "".join(f"<option>{escape(state)}</option>" for state in states)
    kinds = "".join(f"<option>{escape(kind)}</option>" for kind in LEARNS_FROM.values())
    body = "".join(_row(row, info) for row in info.rows)
    return (
        '<form class="filter" onsubmit="return false">'
        '<label>find<input id="find" type="search" placeholder="such as 64 → 12"></label>'
        f'<label>state<select id="of-state"><option value="">all</option>{options}</select></label>'
        f'<label>learns from<select id="of-kind"><option value="">all</option>{kinds}</select>'
        '</label><span id="count" role="status"></span></form>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of all trials">'
        '<table id="trials"><caption class="hidden">All trials</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _title(name: str, info: Info) -> str:
    """The head of a column, in the words of the metric."""
    if name == "accuracy":
        return info.metric.words
    return info.metric.titled("over direct") if name == "over direct, points" else name


def _shown(name: str, info: Info) -> bool:
    return name != "searched" or any(row.searched for row in info.rows)


def _row(row: Row, info: Info) -> str:
    known, lead = row.accuracy is not None, row.over_direct
    state = "front" if row.front else row.state
    words = f"{state}: {row.reason}" if row.reason else state
    cells = (
        str(row.trial),
        row.label,
        LEARNS_FROM[row.teaching],
        row.metric.text(row.accuracy) if known else "",
        ends_text(row.interval, row.metric) if row.finished and row.interval else "",
        f"{row.params:,}",
        f"{row.latency_ms:.4g}",
        row.metric.difference(lead) if lead is not None else "",
        row.searched,
        words,
    )
    inner = "".join(
        f'<td class="n">{_cell(name, text, row)}</td>' if style else f"<td>{escape(text)}</td>"
        for (name, style), text in zip(COLUMNS, cells, strict=True)
        if _shown(name, info)
    )
    kind = LEARNS_FROM[row.teaching]
    return f'<tr data-trial="{row.trial}" data-state="{row.state}" data-kind="{kind}">{inner}</tr>'


def _cell(name: str, text: str, row: Row) -> str:
    if name == "trial" and row.finished:
        return f'<button type="button" class="choose" data-trial="{row.trial}">{text}</button>'
    return escape(text)
