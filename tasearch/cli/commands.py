"""The command line. Errors become messages here, and nowhere else."""

from __future__ import annotations

import atexit
import gc
import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

import tasearch
from tasearch.chains.recipes import SEARCHED
from tasearch.cli.console import out
from tasearch.cli.exit_codes import INTERRUPTED, exit_code, make_streams_safe
from tasearch.cli.run_command import run_shown
from tasearch.cli.strict import App, invoke
from tasearch.config.arguments import check_folder, check_page
from tasearch.config.files import write_atomic
from tasearch.config.study import Study, name_from
from tasearch.config.study_file import load_study, render
from tasearch.config.values import MOST_COUNT, MOST_SEED, MOST_TRIALS
from tasearch.errors import ExportError, NothingFits, StudyError, TrainingError
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import latency_words

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

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run: its folder, or its name under --runs-dir.")
]
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.")]
MaxParams = Annotated[
    int | None, typer.Option(min=1, max=MOST_COUNT, help="At most so many parameters.")
]
MaxBytes = Annotated[
    int | None, typer.Option(min=1, max=MOST_COUNT, help="At most so many bytes of weights.")
]
MOST_MS = 1e9
MaxLatency = Annotated[
    float | None, typer.Option(min=0, max=MOST_MS, help="At most so many milliseconds a batch.")
]
StudentOption = Annotated[str | None, typer.Option(help="The student's, if it is searched.")]
AssistantOption = Annotated[str | None, typer.Option(help="The assistants', if it is searched.")]


def main() -> None:
    """Run the command line; see `tasearch.cli.exit_codes` for the codes that it ends with."""
    atexit.register(gc.freeze)  # else the end looks through all that was imported, for a second
    make_streams_safe()
    sys.exit(exit_code(lambda: invoke(app, sys.argv[1:])))


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
    trials: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_TRIALS, help="Go on to this number of trials in all."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[
        int | None, typer.Option(min=0, max=MOST_SEED, help="Instead of the study's seed.")
    ] = None,
    latency_from: Annotated[
        str | None, typer.Option(metavar="RUN", help="Take this run's latencies, do not measure.")
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            help="Training processes, search.max_concurrent at most; auto: one a GPU or core.",
        ),
    ] = "auto",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again all that failed.")
    ] = False,
) -> None:
    """Run a study, or go on with it.

    Everything ends in RUNS_DIR/<name of the study>. Stop it at any time; the same command goes on
    from there, and what is finished is never trained twice.
    """
    study = load_study(study_file)
    if seed is not None:
        study = study.model_copy(update={"seed": seed})
    finished, path = run_shown(
        study,
        trials=study.search.trials if trials is None else trials,
        runs_dir=runs_dir,
        device=device,
        latency_from=latency_from,
        workers=workers,
        retry_failed=retry_failed,
    )
    if not finished:
        again = shlex.join(["tasearch", *sys.argv[1:]])
        out.print(
            f"\nStopped; nothing finished is lost. This continues:\n  {again}", soft_wrap=True
        )
        raise typer.Exit(INTERRUPTED)
    opened = _open(str(path), runs_dir)
    if not opened.front.candidates:
        reasons = [trial.reason for trial in opened.trials if trial.reason]
        last = (reasons or ["none"])[-1]
        raise TrainingError(f"no student was trained to the end; the last reason: {last}")
    path = runs_dir / study.name
    shown = shlex.quote(str(path))
    out.print(f"\nResults are in {path}. Next:", soft_wrap=True)
    for command in ("best", "report", "status"):
        out.print(f"  tasearch {command} {shown}", soft_wrap=True)
    own = ":" in study.model.family + study.data.source
    out.print(f"  tasearch export {shown} --out winner{' --trust' * own}", soft_wrap=True)


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
    assistant_edges: AssistantOption = None,
    assistant_learning_rate: AssistantOption = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Name a chain that the run tries next, after what it has begun.

    It counts as a trial: where all that were asked for are done, run with more --trials.
    """
    from tasearch.search.enqueue import enqueue as queue

    student = (loss, temperature, alpha, guidance, learning_rate)
    assistants = (
        assistant_loss,
        assistant_temperature,
        assistant_alpha,
        assistant_edges,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Show the most accurate student within a budget.

    Ends with 1 where nothing fits, and shows the nearest miss.
    """
    opened = _open(run, runs_dir)
    try:
        found = opened.best(
            max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms
        )
    except NothingFits as error:
        if as_json and opened.front.candidates:
            budget = Budget(
                max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms
            )
            near = opened.front.nearest_miss(budget)
            _print_json({"error": str(error), "nearest": _json(near)})
            raise typer.Exit(1) from None
        raise
    if as_json:
        _print_json(_json(found))
        return
    from tasearch.report.text import recipe_text

    free = ", an assistant within the budget" if opened.trials[found.trial].free else ""
    out.print(Text(found.label, style="bold") + Text(f"  (trial {found.trial}{free})"))
    accuracies = opened.trials[found.trial].accuracies
    spread = ""
    if accuracies:
        spread = f", standard deviation {stdev(accuracies):.2%} over {len(accuracies)} replicates"
    out.print(f"  accuracy  {found.accuracy:.2%} of the validation part{spread}", soft_wrap=True)
    out.print(f"  size      {found.params:,} params, {found.bytes:,} bytes")
    latency = latency_words(found.chain[-1], opened.manifest.measured)
    out.print(f"  latency   {latency} ({opened.manifest.device})", soft_wrap=True)
    out.print(f"  recipe    {recipe_text(found.recipe)}", soft_wrap=True)


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
    trust: Annotated[
        bool, typer.Option("--trust", help="Run a family or data source of the user's own.")
    ] = False,
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

    for name, value in status_lines(_open(run, runs_dir)):
        out.print(f"{name:<10} {value}", soft_wrap=True)


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


def _json(candidate: Candidate) -> dict[str, Any]:
    return {**asdict(candidate), "label": candidate.label}


def _print_json(value: dict[str, Any]) -> None:
    """In ASCII, without any character that a terminal acts on."""
    print(json.dumps(value, indent=1).replace("\x7f", "\\u007f"))
