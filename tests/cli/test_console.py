"""Lines in a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from tasearch.cli.console import SafeConsole, print_line

WORDS = (
    "assistants help: +1.3 points (95 % interval +0.4 to +2.2; 8 fresh seeds in common), settled"
)


@pytest.mark.parametrize("indent", [0, 2, 4])
def test_terminal_keeps_the_indent_where_it_breaks_a_line(indent: int) -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, width=40, markup=False, highlight=False)
    print_line(f"{' ' * indent}{WORDS}", console)
    first, *others = stream.getvalue().splitlines()
    assert others
    assert all(len(line) <= 40 for line in (first, *others))
    for line in (first, *others):
        assert len(line) - len(line.lstrip()) == indent
    assert " ".join(line.strip() for line in (first, *others)) == WORDS


def test_line_is_whole_outside_a_terminal() -> None:
    stream = io.StringIO()
    print_line(f"    {WORDS}", SafeConsole(file=stream, width=40, markup=False, highlight=False))
    assert stream.getvalue() == f"    {WORDS}\n"


def test_terminal_shows_escapes_and_line_breaks() -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, width=40, markup=False, highlight=False)
    print_line("\n  a\x1b[31mb", console)
    assert stream.getvalue() == "\n  a\\x1b[31mb\n"
