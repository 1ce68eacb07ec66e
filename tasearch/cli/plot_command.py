"""One figure of a run, written to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

from tasearch.cli.console import out
from tasearch.config.arguments import check_choice, check_figure
from tasearch.config.files import write_atomic
from tasearch.errors import RunError
from tasearch.report.figure_files import check_images, figure_bytes
from tasearch.report.front_view import X, Y
from tasearch.report.plots import PLOTS, Look, drawn
from tasearch.report.style import DARK, LIGHT
from tasearch.runs.run import Run


def write_plot(
    opened: Callable[[], Run], name: str, file: Path, *, x: str | None, y: str | None, dark: bool
) -> None:
    """Write one of the report's figures.

    Args:
        opened: Opens the run, after the other arguments were checked.
        name: Name of the figure.
        file: The file; its ending says what is written.
        x: The x axis of the front; None if not given.
        y: The y axis of the front; None if not given.
        dark: Whether the background is dark.

    Raises:
        RunError: An argument is wrong, or the run cannot be read.
        NothingFits: The run has nothing to show in this figure yet.
        TasearchError: An image needs kaleido and a browser, and one of them is missing.
    """
    check_choice(name, [*PLOTS], "NAME")
    look = Look(x=_x(name, x), y=_y(name, y), theme=DARK if dark else LIGHT)
    ending = check_figure(file)
    check_images(ending)
    run = opened()
    title = f"{run.manifest.study.name}: {name}"
    write_atomic(file, figure_bytes(drawn(run, name, look), ending, title))
    out.print(f"wrote {file}", soft_wrap=True)


def _x(name: str, value: str | None) -> X:
    return cast(X, _axis(name, value, get_args(X), "--x"))


def _y(name: str, value: str | None) -> Y:
    return cast(Y, _axis(name, value, get_args(Y), "--y"))


def _axis(name: str, value: str | None, choices: tuple[str, ...], option: str) -> str:
    """The axis that is asked for; the first one if none is."""
    if value is None:
        return choices[0]
    if name != "front":
        raise RunError(f"{option}: goes with the figure front only, found {name}; leave it out")
    check_choice(value, choices, option)
    return value
