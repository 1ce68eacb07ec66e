"""The commands of the command line."""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tasearch
from tasearch.chains.recipes import SEARCHED
from tasearch.cli.console import out, print_named
from tasearch.cli.exit_codes import exit_code, make_streams_safe
from tasearch.cli.option_types import (
    AssistantOption,
    DeviceName,
    LatencyFrom,
    MaxBytes,
    MaxLatency,
    MaxParams,
    RetryFailed,
    RunArgument,
    RunsDir,
    Seed,
    StudentOption,
    Trials,
    Trust,
    Workers,
)
from tasearch.cli.run_command import end_stopped, run_shown
from tasearch.cli.strict import App, invoke
from tasearch.config.arguments import check_folder, check_page
from tasearch.config.files import write_atomic
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study, name_from
from tasearch.config.study_file import load_study, render
from tasearch.errors import ExportError, RunError, StudyError
from tasearch.pareto.budget import Budget

if TYPE_CHECKING:  # torch and optuna are imported by the commands that need them
    from tasearch.runs.run import Run

app = App(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the chain of teacher assistants that distils the best student for a budget.",
    epilog="Start with: tasearch init study.toml, then: tasearch run study.toml",
)


def main() -> None:
    """Run the command line; `tasearch.cli.exit_codes` lists its exit codes."""
    atexit.register(gc.freeze)  # garbage collection at exit would take a second
    make_streams_safe()
    code = exit_code(lambda: invoke(app, sys.argv[1:]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C during Python's own exit prints traces
    sys.exit(code)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        out.print(f"tasearch {tasearch.__version__}")
        raise typer.Exit


@app.command()
def run(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.")],
    runs_dir: RunsDir = Path("runs"),
    trials: Trials = None,
    device: DeviceName = "auto",
    seed: Seed = None,
    latency_from: LatencyFrom = None,
    workers: Workers = "auto",
    retry_failed: RetryFailed = False,
) -> None:
    """Run a study, or continue its run.

    Everything is written to RUNS_DIR/<name of the study>. Stop it at any time; the same command
    continues, and nothing that is finished is trained twice.
    """
    study = load_study(study_file)
    if seed is not None:
        study = study.model_copy(update={"seed": seed})
    options = RunOptions(
        runs_dir=runs_dir,
        trials=trials,
        device=device,
        latency_from=latency_from,
        workers=workers,
        retry_failed=retry_failed,
        from_shell=True,
    )
    finished, path = run_shown(study, options)
    if not finished:
        end_stopped()
    from tasearch.cli.summary import check_any_finished, print_summary

    opened = _open(str(path), runs_dir)
    check_any_finished(opened)
    if study.confirm.after_run:
        from tasearch.cli.confirm_command import confirm_after_run

        if not confirm_after_run(opened, options):
            end_stopped()
        opened = _open(str(path), runs_dir)
    print_summary(opened, options.run_path(study))


@app.command()
def enqueue(
    run: RunArgument,
    chain: Annotated[
        str, typer.Argument(metavar="CHAIN", help="Widths, such as 64-16-8; the student's last.")
    ],
    loss: StudentOption = None,
    temperature: StudentOption = None,
    alpha: StudentOption = None,
    guidance: StudentOption = None,
    learning_rate: StudentOption = None,
    assistant_loss: AssistantOption = None,
    assistant_temperature: AssistantOption = None,
    assistant_alpha: AssistantOption = None,
    assistant_guidance: AssistantOption = None,
    assistant_learning_rate: AssistantOption = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Queue a chain, which the run tries next, after the trials that it has begun.

    It counts as a trial: if all trials are done, run with a higher --trials.
    """
    from tasearch.search.enqueue import enqueue as queue

    student = (loss, temperature, alpha, guidance, learning_rate)
    assistants = (
        assistant_loss,
        assistant_temperature,
        assistant_alpha,
        assistant_guidance,
        assistant_learning_rate,
    )
    queued = queue(
        run,
        chain,
        student=dict(zip(SEARCHED, student, strict=True)),
        assistants=dict(zip(SEARCHED, assistants, strict=True)),
        runs_dir=runs_dir,
    )
    out.print(f"trial {queued.number} is queued: {queued.label}", soft_wrap=True)
    if queued.recipe:
        out.print(f"  recipe    {queued.recipe}", soft_wrap=True)


@app.command()
def best(
    run: RunArgument,
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell why this chain, its cost and the runner-up.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Show the most accurate student within a budget.

    Ends with 1 if nothing fits, and shows the nearest miss.
    """
    from tasearch.cli.best_command import show_best

    budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    show_best(_open(run, runs_dir), budget, as_json=as_json, explain=explain)


@app.command()
def confirm(
    run: RunArgument,
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    front: Annotated[bool, typer.Option("--front", help="Every student of the front.")] = False,
    device: DeviceName = "auto",
    workers: Workers = "auto",
    trust: Trust = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Tell whether assistants help, on fresh seeds, for the best student within a budget.

    Chains with assistants and without are trained again in pairs, the teacher fixed. Stop it at
    any time; the same command continues.
    """
    from tasearch.cli.confirm_command import confirm_shown

    opened = _open(run, runs_dir)
    limits = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    if front and limits != Budget():
        raise RunError("--front: goes without a budget")
    options = RunOptions(
        runs_dir=opened.path.absolute().parent, device=device, workers=workers, from_shell=True
    )
    if not confirm_shown(opened, options, None if front else limits, trust=trust):
        end_stopped()


@app.command()
def report(
    run: RunArgument,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The page; RUN/report.html if not given.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write the report: one HTML page that works offline."""
    opened = _open(run, runs_dir)
    target = out_file or opened.path / "report.html"
    check_page(target)
    from tasearch.report.info import report_info
    from tasearch.report.page import render_page

    write_atomic(target, render_page(report_info(opened)).encode())
    out.print(f"wrote {target}", soft_wrap=True)


@app.command()
def export(
    run: RunArgument,
    out_dir: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="A folder; an earlier export there is replaced."),
    ],
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    trust: Trust = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write the best student within a budget, ready to ship.

    Weights, ONNX, the study file that trains this chain again, metrics and a model card.
    """
    opened = _open(run, runs_dir)
    check_folder(out_dir, "--out", ExportError)
    from tasearch.exports.export import FILES
    from tasearch.exports.export import export as ship

    chosen = ship(
        opened,
        out_dir,
        max_params=max_params,
        max_bytes=max_bytes,
        max_latency_ms=max_latency_ms,
        trust=trust,
    )
    out.print(f"{chosen.label}, accuracy {chosen.accuracy:.2%}, is in {out_dir}:", soft_wrap=True)
    for name in FILES:
        if (out_dir / name).exists():
            out.print(f"  {name:<20} {(out_dir / name).stat().st_size:>9,} bytes")
        else:
            out.print(f"  {name:<20} not there: torch cannot export the model", soft_wrap=True)


@app.command()
def status(run: RunArgument, runs_dir: RunsDir = Path("runs")) -> None:
    """Show how far a run is, and what sharing and pruning saved."""
    from tasearch.report.status import status_lines

    print_named(status_lines(_open(run, runs_dir)))


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Must not exist yet.")],
) -> None:
    """Write a study file with every key, its default and what it means."""
    if os.path.lexists(file):
        raise StudyError(f"{file}: exists already")
    check_folder(file.parent, str(file), StudyError)
    study = Study(name=name_from(file.stem))
    write_atomic(file, render(study, "A study: `tasearch run` reads it.").encode())
    out.print(f"wrote {file}; run it with: tasearch run {shlex.quote(str(file))}", soft_wrap=True)


def _open(run: str, runs_dir: Path) -> Run:
    from tasearch.runs.run import Run

    return Run.open(run, runs_dir)
