"""The steps of a preparation, with their seconds."""

from __future__ import annotations

import io

from rich.console import Console

from tasearch.cli.preparation import Preparation


def test_preparation_tells_the_seconds_of_each_step() -> None:
    lines = Console(file=io.StringIO(), width=200)
    status = Console(file=io.StringIO()).status("")
    clock = iter([0.0, 0.0, 2.0, 2.5, 6.0, 6.0])
    shown = Preparation("preparing x", status, lines, clock=lambda: next(clock))
    for name in ("data", "models", "data"):
        shown.step(name)
    assert status.status == "preparing x: data (data 2.0 s, models 0.5 s)"
    shown.decoded(7, 1000)
    assert status.status == (
        "preparing x: data, decoded 7 of 1,000 images (data 2.0 s, models 0.5 s)"
    )
    shown.end()
    told = lines.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
    assert told == "prepared in 6.0 s: data 5.5 s, models 0.5 s"


def test_preparation_without_a_console_prints_nothing() -> None:
    status = Console(file=io.StringIO()).status("")
    shown = Preparation("preparing x", status, None)
    shown.step("data")
    shown.say("a line")
    shown.end()
    assert "data" in str(status.status)
