"""The first parts of the page, readable without a script: the head, and the answer."""

from __future__ import annotations

from collections.abc import Mapping

from tasearch.report.answer import Answer
from tasearch.report.gains import Gain
from tasearch.report.head import Head
from tasearch.report.html import escape, figure, list_of, table
from tasearch.report.info import Info

NOT_ON_A_PHONE = ("samples", "latency", "versions")  # there the answer comes first
HOW = {"no teacher": "without a teacher", "direct": "distilled directly", "assistants": ""}


def head_html(head: Head) -> str:
    """Name, facts and warnings of a run."""
    facts = "".join(
        f'<div class="{"wide" * (name in NOT_ON_A_PHONE)}"><dt>{escape(name)}</dt>'
        f"<dd>{escape(value)}</dd></div>"
        for name, value in head.facts
    )
    warnings = list_of(head.warnings)
    bar = f'<div class="warning" role="note">{warnings}</div>' if warnings else ""
    return f'<h1>{escape(head.name)}</h1>{bar}<dl class="facts">{facts}</dl>'


def answer_html(info: Info) -> str:
    """What to ship, whether assistants help, and the command that exports it."""
    if info.answer is None:
        return _no_answer(info)
    answer = info.answer
    return (
        f'<p class="ship">Ship <b>{escape(_what(answer))}</b></p>'
        f"<p>{escape(_upper(answer.accuracy))}.<br>{escape(answer.size)}.</p>"
        f"<dl>"
        f"<dt>Do assistants help?</dt><dd>{_sentence(answer.assistants)}</dd>"
        f"<dt>Does distillation help?</dt><dd>{_sentence(answer.distillation)}</dd>"
        f"<dt>What did it cost?</dt><dd>{escape(answer.cost)}.</dd>"
        f"</dl>"
        f"{list_of(map(_upper, answer.notes), name='notes')}"
        f"{command_html(answer.command)}"
    )


def _sentence(words: str) -> str:
    """The answer in bold, then its reasons."""
    answer, colon, reasons = _upper(words).partition(":")
    return f"<b>{escape(answer)}{colon}</b>{escape(reasons)}."


def _what(answer: Answer) -> str:
    how = HOW[answer.row.teaching]
    if answer.row.teaching == "no teacher":
        return f"{answer.row.width}, {how}"
    return f"{answer.row.label}, {how}" if how else answer.row.label


def _no_answer(info: Info) -> str:
    failed = [row for row in info.rows if row.state == "failed"]
    if failed and not any(row.state in ("running", "waiting") for row in info.rows):
        what = "No student was trained to its end; the reasons are above."
        how = (
            "Mend the cause, then <code>tasearch run STUDY.toml --retry-failed</code> tries again."
        )
    else:
        what = "No student is trained to its end yet."
        how = "<code>tasearch run STUDY.toml</code> goes on; write this page again after it."
    return f'<p class="ship">Nothing yet</p><p>{what}</p><p>{how}</p>'


def command_html(command: str) -> str:
    """A command with a button that copies it."""
    return (
        f'<div class="command"><code>{escape(command)}</code>'
        f'<button type="button" class="copy" data-copy="{escape(command)}">Copy</button></div>'
    )


def gains_html(info: Info, heights: Mapping[str, int]) -> str:
    """The section "Does an assistant help?": the figure, then the same as a table.

    Args:
        info: Contents of the report.
        heights: Height of each figure of the page, in pixels.
    """
    if not info.gains:
        return "<p>No student is trained to its end yet.</p>"
    head = (
        ("student's width", "n"),
        ("parameters", "n wide"),
        ("chains", "n wide"),
        (info.metric.titled("best gain in the search"), "n"),
        ("verdict", "words"),
    )
    rows = [
        (gain.width, f"{gain.params:,}", gain.chains, _best(gain), gain.words)
        for gain in info.gains
    ]
    words = "Gain of every chain over direct distillation, by student width; the table has it too."
    return (
        "<p>Each diamond is a chain with assistants; 0 is the same student, distilled directly "
        "with the same recipe. Most differences within the band are noise.</p>"
        f"{figure('assistants', heights['assistants'], words)}"
        f"{table(head, rows, 'Does an assistant help? By student width')}"
    )


def _best(gain: Gain) -> str:
    gains = [row.over_direct for row in gain.rows if row.over_direct is not None]
    return gain.metric.difference(max(gains)) if gains else ""


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
