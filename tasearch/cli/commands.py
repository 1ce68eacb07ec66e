"""The commands of the command line."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tasearch
from tasearch.chains.recipes import SEARCHED
from tasearch.cli.console import err, out, print_line
from tasearch.cli.exit_codes import exit_code, make_streams_safe
from tasearch.cli.figure_commands import compare, dashboard, front, plot
from tasearch.cli.option_types import (
    Address,
    AsJson,
    AssistantOption,
    ChainArgument,
    DeviceName,
    Engine,
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
from tasearch.cli.reading_commands import best, export, init, open_run, report, status
from tasearch.cli.run_command import end_stopped, run_shown
from tasearch.cli.strict import App, examples, invoke
from tasearch.config.arguments import front_or_budget
from tasearch.config.places import absolute
from tasearch.config.run_options import RunOptions
from tasearch.config.study_file import load_study
from tasearch.pareto.budget import Budget

if TYPE_CHECKING:  # torch and optuna are imported by the commands that need them
    pass

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


@app.command(epilog=examples("run study.toml", "run study.toml --trials 60 --workers 4"))
def run(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.")],
    runs_dir: RunsDir = "runs",
    trials: Trials = None,
    device: DeviceName = "auto",
    seed: Seed = None,
    latency_from: LatencyFrom = None,
    workers: Workers = "auto",
    retry_failed: RetryFailed = False,
    engine: Engine = "local",
    address: Address = None,
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
        engine=engine,
        address=address,
        from_shell=True,
    )
    finished, path = run_shown(study, options)
    if not finished:
        end_stopped()
    from tasearch.cli.summary import check_any_finished, print_summary

    opened = open_run(str(path), runs_dir)
    check_any_finished(opened)
    if study.confirm.after_run:
        from tasearch.cli.confirm_command import confirm_after_run

        if not confirm_after_run(opened, options):
            end_stopped()
        opened = open_run(str(path), runs_dir)
    print_summary(opened, options.run_place(study))


@app.command(epilog=examples("check study.toml", "check study.toml --json"))
def check(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.")],
    runs_dir: RunsDir = "runs",
    trials: Trials = None,
    device: DeviceName = "auto",
    workers: Workers = "auto",
    as_json: AsJson = False,
) -> None:
    """Tell what a run would search and how long it would take; nothing is trained or written.

    The data are loaded, every model is built and tried, sizes and latencies are measured.
    """
    options = RunOptions(
        runs_dir=runs_dir, trials=trials, device=device, workers=workers, from_shell=True
    )
    from tasearch.cli.check_command import check_shown

    check_shown(load_study(study_file), options, as_json=as_json)
    if not as_json:
        print_line(f"\nNothing was trained or written. Start it:\n  tasearch run {study_file}")


@app.command(epilog=examples("enqueue digits 24-8", "enqueue digits 64-24-8 --temperature 2"))
def enqueue(
    run: RunArgument,
    chain: ChainArgument,
    loss: StudentOption = None,
    temperature: StudentOption = None,
    alpha: StudentOption = None,
    guidance: StudentOption = None,
    learning_rate: StudentOption = None,
    teacher_epoch: StudentOption = None,
    start: StudentOption = None,
    hidden: StudentOption = None,
    hidden_weight: StudentOption = None,
    assistant_loss: AssistantOption = None,
    assistant_temperature: AssistantOption = None,
    assistant_alpha: AssistantOption = None,
    assistant_guidance: AssistantOption = None,
    assistant_learning_rate: AssistantOption = None,
    assistant_teacher_epoch: AssistantOption = None,
    assistant_start: AssistantOption = None,
    assistant_hidden: AssistantOption = None,
    assistant_hidden_weight: AssistantOption = None,
    runs_dir: RunsDir = "runs",
) -> None:
    """Queue a chain, which the run tries next, after the trials that it has begun.

    It counts as a trial: if all trials are done, run with a higher --trials.
    """
    given = {**locals()}  # the options by their names
    from tasearch.report.queue_text import next_text
    from tasearch.search.enqueue import enqueue as queue

    queued = queue(
        open_run(run, runs_dir),
        chain,
        student={name: given[name] for name in SEARCHED},
        assistants={name: given[f"assistant_{name}"] for name in SEARCHED},
    )
    print_line(f"trial {queued.number} is queued: {queued.label}")
    if queued.recipe:
        print_line(f"  recipe    {queued.recipe}")
    print_line(f"  next      {next_text(open_run(run, runs_dir))}")


@app.command(epilog=examples("confirm digits --max-params 1000", "confirm digits --front"))
def confirm(
    run: RunArgument,
    max_params: MaxParams = None,
    max_bytes: MaxBytes = None,
    max_latency_ms: MaxLatency = None,
    front: Annotated[bool, typer.Option("--front", help="Every student of the front.")] = False,
    device: DeviceName = "auto",
    workers: Workers = "auto",
    engine: Engine = "local",
    address: Address = None,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = "runs",
) -> None:
    """Tell whether assistants help, on fresh seeds, for the best student within a budget.

    Chains with assistants and without are trained again in pairs, the teacher fixed. Stop it at
    any time; the same command continues.
    """
    from tasearch.cli.confirm_command import confirm_shown

    opened = open_run(run, runs_dir)
    limits = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    chosen = front_or_budget(front, limits, "--front")
    options = RunOptions(
        runs_dir=absolute(opened.place).parent,
        device=device,
        workers=workers,
        engine=engine,
        address=address,
        from_shell=True,
    )
    if not confirm_shown(opened, options, chosen, trust=trust, as_json=as_json):
        end_stopped(err if as_json else out)


READING = {  # each with two examples
    best: ("best digits", "best digits --max-params 1000 --explain"),
    report: ("report digits", "report digits --out page.html"),
    front: ("front digits", "front digits --csv > front.csv"),
    compare: ("compare digits digits-2", "compare digits digits-2 --out fronts.svg"),
    plot: (
        "plot digits front --out front.html",
        "plot digits front --x latency_ms --y accuracy --out front.png",
    ),
    dashboard: ("dashboard digits", "dashboard digits --port 8081"),
    export: ("export digits --out winner", "export digits --max-params 1000 --out winner"),
    status: ("status digits", "status runs/digits"),
    init: ("init study.toml", "init mine.toml --data photos --teacher resnet18.pt"),
}
for _command, _examples in READING.items():
    app.command(epilog=examples(*_examples))(_command)
