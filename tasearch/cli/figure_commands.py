"""The commands for figures and fronts: they read runs, and train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tasearch.cli.option_types import RunArgument, RunsDir
from tasearch.cli.reading_commands import open_run

FigureFile = Annotated[
    Path,
    typer.Option("--out", metavar="FILE", help="Ends in .png, .svg, .html or .json."),
]


def plot(
    run: RunArgument,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="front, assistants, curves, cost, progress or importance."
        ),
    ],
    out_file: FigureFile,
    x: Annotated[
        str | None,
        typer.Option(metavar="AXIS", help="Of the front: params (default), bytes or latency_ms."),
    ] = None,
    y: Annotated[
        str | None, typer.Option(metavar="AXIS", help="Of the front: error (default) or accuracy.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Light marks on a dark background.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write one figure of the report to a file.

    .html works offline, .json is plotly's; .png and .svg need kaleido (the extra `images`) and
    Chrome or Chromium.
    """
    from tasearch.cli.plot_command import write_plot

    write_plot(lambda: open_run(run, runs_dir), name, out_file, x=x, y=y, dark=dark)
