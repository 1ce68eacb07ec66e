"""The commands for figures and fronts: they read runs, and train nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tasearch.cli.option_types import AsJson, RunArgument, RunsDir
from tasearch.cli.reading_commands import open_run
from tasearch.errors import RunError

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
    runs_dir: RunsDir = "runs",
) -> None:
    """Write one figure of the report to a file.

    .html works offline, .json is plotly's; .png and .svg need kaleido (the extra `images`) and
    Chrome or Chromium.
    """
    from tasearch.cli.plot_command import write_plot

    write_plot(lambda: open_run(run, runs_dir), name, out_file, x=x, y=y, dark=dark)


def front(
    run: RunArgument,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    runs_dir: RunsDir = "runs",
) -> None:
    """Show the front: the students that no other beats in accuracy, size and latency at once.

    The smallest comes first. What verdicts ship is listed too. --json and --csv have all numbers.
    """
    if as_json and as_csv:
        raise RunError("--json: goes without --csv; give one of them")
    from tasearch.cli.front_command import show_front

    show_front(open_run(run, runs_dir), as_json=as_json, as_csv=as_csv)


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Runs on the same data, two or more.")
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write a figure of all fronts, as plot does."),
    ] = None,
    runs_dir: RunsDir = "runs",
) -> None:
    """Show runs side by side: hypervolume, cost, and the best student of each size.

    Differences are from the first run; one is apart if its 95 % interval does not hold 0.
    """
    from tasearch.cli.compare_command import show_comparison

    show_comparison(runs, runs_dir, out_file)


def dashboard(
    run: RunArgument,
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65_535, help="The port on 127.0.0.1; 0: a free one."),
    ] = 8080,
    runs_dir: RunsDir = "runs",
) -> None:
    """Open the run's Optuna study in optuna-dashboard (the extra `dashboard`).

    It shows a copy, so that the run is never written to. Ctrl-C ends it.
    """
    from tasearch.cli.dashboard_command import check_dashboard, serve_dashboard

    check_dashboard()
    serve_dashboard(open_run(run, runs_dir), port)
