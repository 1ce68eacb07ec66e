"""Small pieces of HTML. Text of a run is always escaped: the run may come from a stranger."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from tasearch.errors import printable


def asset(name: str) -> bytes:
    """A file that pages are made of."""
    return files("tasearch.report").joinpath("assets", name).read_bytes()


def escape(text: object) -> str:
    """Text for HTML, without control characters and markup."""
    return html.escape(printable(str(text)))


def script_json(value: Any) -> str:
    """JSON that cannot end the script element which contains it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def list_of(items: Iterable[str], *, name: str = "") -> str:
    """A list of texts; empty if there are none."""
    inner = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<ul class="{name}">{inner}</ul>' if inner else ""


def table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], caption: str) -> str:
    """A table.

    Args:
        head: Name and class of each column; class "n" is for numbers.
        rows: The cells of each row.
        caption: What the table shows, for those who do not see it.
    """
    columns = "".join(
        f'<th scope="col" class="{style}">{escape(name)}</th>' for name, style in head
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{style}">{escape(cell)}</td>'
            for cell, (_, style) in zip(row, head, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table><caption class="hidden">{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(name: str, height: int, words: str) -> str:
    """The place of a figure, which the page's script draws.

    Args:
        name: Id of the element.
        height: Height in pixels; the place has it before the figure is drawn.
        words: What the figure shows, for those who do not see it.
    """
    return (
        f'<div class="figure" id="{name}" role="img" aria-label="{escape(words)}" '
        f'style="height:{height}px"></div>'
    )
