"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from tasearch.config.values import MOST_COUNT, MOST_SEED, MOST_TRIALS

MOST_MS = 1e9

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run: its folder or URL, or its name in --runs-dir.")
]
RunsDir = Annotated[
    str, typer.Option(metavar="DIR|URL", help="The folder of all runs, or a URL such as s3://a/b.")
]
MaxParams = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=MOST_COUNT, help="The most parameters.")
]
MaxBytes = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=MOST_COUNT, help="The most bytes of weights.")
]
MaxLatency = Annotated[
    float | None,
    typer.Option(metavar="MS", min=0, max=MOST_MS, help="The most milliseconds a batch."),
]
Trials = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=MOST_TRIALS, help="Go on to this number of trials in all."
    ),
]
DeviceName = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
Seed = Annotated[
    int | None, typer.Option(metavar="N", min=0, max=MOST_SEED, help="Instead of the study's seed.")
]
LatencyFrom = Annotated[
    str | None, typer.Option(metavar="RUN", help="Take this run's latencies, do not measure.")
]
Workers = Annotated[
    str,
    typer.Option(
        metavar="auto|N",
        help="Training processes, search.max_concurrent at most; auto: one a GPU or core.",
    ),
]
Engine = Annotated[
    str, typer.Option(metavar="local|ray", help="Train on this machine, or on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="The Ray cluster; without it, one is started here and ends with the run.",
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Repeat all failed trials.")]
Trial = Annotated[
    int | None,
    typer.Option(metavar="N", help="The student of this trial, not the best; without a budget."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run functions of the user's own.")]
Quantize = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION", help="Also write what your function makes of student.onnx."
    ),
]
ChainArgument = Annotated[
    str, typer.Argument(metavar="CHAIN", help="Widths, such as 64-16-8; the student's last.")
]
StudentOption = Annotated[
    str | None, typer.Option(metavar="VALUE", help="The student's, if it is searched.")
]
AssistantOption = Annotated[
    str | None, typer.Option(metavar="VALUE", help="The assistants', if it is searched.")
]
