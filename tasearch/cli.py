"""The command line. Errors become messages here, and nowhere else."""

from __future__ import annotations

import atexit
import gc
import io
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

import tasearch
from tasearch.errors import NothingFits, StudyError, TasearchError
from tasearch.front import Budget, Candidate
from tasearch.running import err, out, run_shown
from tasearch.space import SEARCHED
from tasearch.store import no_room, write_atomic
from tasearch.study import Study
from tasearch.studyfile import load_study, render

if TYPE_CHECKING:  # torch and optuna are imported by the commands that need them
    from tasearch.search.results import Run

INTERRUPTED = 130

app = typer.Typer(
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
MaxParams = Annotated[int | None, typer.Option(min=1, help="At most so many parameters.")]
MaxBytes = Annotated[int | None, typer.Option(min=1, help="At most so many bytes of weights.")]
MaxLatency = Annotated[
    float | None, typer.Option(min=0, help="At most so many milliseconds a batch.")
]
StudentOption = Annotated[str | None, typer.Option(help="The student's, if it is searched.")]
AssistantOption = Annotated[str | None, typer.Option(help="The assistants', if it is searched.")]


def main() -> None:
    """Run the command line; end with 0, 1 (nothing fits, training failed), 2 (wrong input)."""
    atexit.register(gc.freeze)  # else the end looks through all that was imported, for a second
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that knows no arrows
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except TasearchError as error:
        fail(str(error), error.exit_code)
    except OSError as error:  # what the system refuses: no room, no rights, a name too long
        fail(str(no_room(Path(error.filename or "the system"), error)), 2)


def fail(message: str, code: int) -> None:
    """Say what is wrong and end."""
    err.print(Text("error: ", style="bold red") + Text(message), soft_wrap=True)
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
    trials: Annotated[
        int | None, typer.Option(min=1, help="Go on to this number of trials in all.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the study's seed.")] = None,
    latency_from: Annotated[
        str | None, typer.Option(metavar="RUN", help="Take this run's latencies, do not measure.")
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            help="Processes that train, search.lookahead at most; auto: one a GPU, or one a core.",
        ),
    ] = "auto",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again all that failed.")
    ] = False,
) -> None:
    """Run a study, or go on with it.

    Everything lands in RUNS_DIR/<name of the study>. Stop it at any time; the same command goes on
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
        fail(f"no student was trained to the end; the last reason: {(reasons or ['none'])[-1]}", 1)
    shown = shlex.quote(str(path))
    out.print(f"\nResults are in {path}. Next:", soft_wrap=True)
    for command in ("best", "report", "status"):
        out.print(f"  tasearch {command} {shown}", soft_wrap=True)
    out.print(f"  tasearch export {shown} --out winner", soft_wrap=True)


@app.command()
def enqueue(
    run: RunArgument,
    chain: Annotated[
        str, typer.Argument(metavar="CHAIN", help="Widths, such as 64-16-8; the student's last.")
    ],
    loss: StudentOption = None,
    temperature: StudentOption = None,
    alpha: StudentOption = None,
    edges: StudentOption = None,
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

    student = (loss, temperature, alpha, edges, learning_rate)
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
            print(json.dumps({"error": str(error), "nearest": _json(near)}, indent=1))
            raise typer.Exit(1) from None
        raise
    if as_json:
        print(json.dumps(_json(found), indent=1))
        return
    from tasearch.report.info import recipe_text

    free = ", an assistant within the budget" if opened.trials[found.trial].free else ""
    out.print(Text(found.label, style="bold") + Text(f"  (trial {found.trial}{free})"))
    accuracies = opened.trials[found.trial].accuracies
    spread = ""
    if accuracies:
        spread = f", standard deviation {stdev(accuracies):.2%} over {len(accuracies)} replicates"
    out.print(f"  accuracy  {found.accuracy:.2%} of the validation part{spread}", soft_wrap=True)
    out.print(f"  size      {found.params:,} params, {found.bytes:,} bytes")
    out.print(f"  latency   {found.latency_ms:.4g} ms ({opened.snapshot.device})", soft_wrap=True)
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
    from tasearch.report.info import report_info
    from tasearch.report.page import render_page

    opened = _open(run, runs_dir)
    target = out_file or opened.path / "report.html"
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
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write the best student within a budget, ready to ship.

    Weights, ONNX, the study file that trains this chain again, metrics and a model card.
    """
    from tasearch.shipping import FILES
    from tasearch.shipping import export as ship

    chosen = ship(
        _open(run, runs_dir),
        out_dir,
        max_params=max_params,
        max_bytes=max_bytes,
        max_latency_ms=max_latency_ms,
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
    if file.exists():
        raise StudyError(f"{file}: exists already")
    study = Study(name=_name_from(file.stem))
    write_atomic(file, render(study, "A study: `tasearch run` reads it.").encode())
    out.print(f"wrote {file}; run it with: tasearch run {shlex.quote(str(file))}", soft_wrap=True)


def _name_from(stem: str) -> str:
    """A file's stem as the name of a study."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return name.lstrip("._-") or "study"


def _open(run: str, runs_dir: Path) -> Run:
    from tasearch.search.results import Run

    return Run.open(run, runs_dir)


def _json(candidate: Candidate) -> dict[str, Any]:
    return {**asdict(candidate), "label": candidate.label}
