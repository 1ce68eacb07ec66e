"""The commands that read a run, or write a study file: nothing is trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasearch.cli.console import out, print_line, print_named
from tasearch.cli.option_types import (
    AsJson,
    MaxBytes,
    MaxLatency,
    MaxParams,
    Quantize,
    RunArgument,
    RunsDir,
    Trial,
    Trust,
)
from tasearch.config.arguments import check_folder
from tasearch.errors import ExportError, RunError, StudyError
from tasearch.pareto.budget import Budget

if TYPE_CHECKING:  # torch and optuna are imported by the commands that need them
    from tasearch.runs.run import Run


def open_run(run: str, runs_dir: str) -> Run:
    """The run that a command names."""
    from tasearch.runs.run import Run

    opened = Run.open(run, runs_dir)
    opened.directory.tell_wait = print_line
    return opened


def best(
    run: RunArgument,
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    trial: Trial = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell why this chain, its cost and the runner-up.")
    ] = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = "runs",
) -> None:
    """Show the most accurate student within a budget.

    Ends with 1 if nothing fits, and shows the nearest miss.
    """
    from tasearch.cli.best_command import show_best

    budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    _check_alone(trial, budget)
    show_best(open_run(run, runs_dir), budget, trial=trial, as_json=as_json, explain=explain)


def report(
    run: RunArgument,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The page; RUN/report.html if not given.",
        ),
    ] = None,
    runs_dir: RunsDir = "runs",
) -> None:
    """Write the report: one HTML page that works offline."""
    opened = open_run(run, runs_dir)
    from tasearch.report.page import write_report

    out.print(f"wrote {write_report(opened, out_file)}", soft_wrap=True)


def export(
    run: RunArgument,
    out_dir: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="A folder; an earlier export there is replaced."),
    ],
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    trial: Trial = None,
    trust: Trust = False,
    quantize: Quantize = None,
    runs_dir: RunsDir = "runs",
) -> None:
    """Write the best student within a budget, ready to ship.

    Weights, ONNX, the study file that trains this chain again, metrics and a model card.
    """
    budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    _check_alone(trial, budget)
    opened = open_run(run, runs_dir)
    check_folder(out_dir, "--out", ExportError)
    from tasearch.exports.export import ALL_FILES
    from tasearch.exports.export import export as ship

    chosen = ship(
        opened,
        out_dir,
        max_params=max_params,
        max_bytes=max_bytes,
        max_latency_ms=max_latency_ms,
        trial=trial,
        trust=trust,
        quantize=quantize,
    )
    out.print(
        f"{chosen.label}, {chosen.metric.named(chosen.accuracy)}, is in {out_dir}:", soft_wrap=True
    )
    for name in reversed(ALL_FILES):
        if (out_dir / name).exists():
            out.print(f"  {name:<20} {(out_dir / name).stat().st_size:>9,} bytes")
        elif name == "student.onnx":
            out.print(f"  {name:<20} not there: torch cannot export the model", soft_wrap=True)


def status(run: RunArgument, runs_dir: RunsDir = "runs") -> None:
    """Show how far a run is, and what sharing and pruning saved."""
    from tasearch.report.status import status_lines

    print_named(status_lines(open_run(run, runs_dir)))


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Must not exist yet.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Your data: a folder of images, or a file."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of labels of a table.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Your teacher: weights, torchvision:NAME, timm:NAME, hf:FOLDER, or module:make.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of a teacher that is given by its name."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Write every key.")] = False,
) -> None:
    """Look at your data and your teacher, and write a study file with the keys that matter.

    Without data, for scikit-learn's digits.
    """
    if os.path.lexists(file):
        raise StudyError(f"{file}: exists already")
    check_folder(file.parent, str(file), StudyError)
    from tasearch.cli.init_command import write_study

    given = {"label": label, "teacher": teacher, "checkpoint": checkpoint}
    write_study(file, data, given, full=full)


def _check_alone(trial: int | None, budget: Budget) -> None:
    """Refuse a trial together with a budget.

    Raises:
        RunError: Both are named.
    """
    if trial is not None and budget != Budget():
        raise RunError("--trial: goes without a budget; leave one of the two out")
