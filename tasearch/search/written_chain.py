"""Chains as a person writes them: `16-8-4`, `64 -> 16 -> 4`, or names of sizes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from tasearch.chains.hop import arrows
from tasearch.config.study import Study
from tasearch.errors import StudyError, short
from tasearch.search.queue import shown

SEPARATORS = re.compile(r"\s*(?:->|→|-|,|\s)\s*")


def written_widths(chain: str | Sequence[int | str], study: Study) -> list[int]:
    """The widths that a person has written, behind the teacher's name or not.

    Args:
        chain: Widths or names of sizes, joined or one by one.
        study: The study whose chain it is.

    Raises:
        StudyError: They are no integers, or no sizes of the study, or do not fall strictly.
    """
    words: list[object] = []
    if isinstance(chain, Sequence):
        words = [*chain]
    if isinstance(chain, str):
        teacher = study.teacher.label
        named = rf"{re.escape(teacher)}(?:{SEPARATORS.pattern})+" if teacher else ""
        words = [*SEPARATORS.split(re.sub(f"^{named}", "", chain.strip()))]
    sizes = {str(width): width for width in study.widths} if study.model.sizes else {}
    known = all(str(word) in sizes for word in words) if sizes else all(map(_is_integer, words))
    kind = "sizes" if sizes else "widths"
    if not words or not known:
        example = "-".join([*sizes][-2:]) or "16-8-4"
        raise StudyError(
            f'chain: should be {kind} joined by "-", such as {example}, found {shown(chain)}'
        )
    widths = [sizes[str(word)] if sizes else int(str(word)) for word in words]
    if any(a <= b for a, b in itertools.pairwise(widths)):
        found = short(arrows(tuple(widths)))
        raise StudyError(f"chain: {kind} should fall strictly, found {found}")
    return widths


def _is_integer(word: object) -> bool:
    written = isinstance(word, str) and re.fullmatch("[0-9]{1,9}", word) is not None
    return type(word) is int or written
