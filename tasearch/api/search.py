"""Search from Python, with data, functions and models as objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from tasearch.api.content import Content
from tasearch.api.inputs import Inputs
from tasearch.api.opened import Run
from tasearch.api.progress_line import ProgressLine
from tasearch.api.running import run_to_end
from tasearch.config.module_import import only_from
from tasearch.config.places import Place
from tasearch.config.run_options import RunOptions
from tasearch.data import Progress
from tasearch.data.given import NAME, Given
from tasearch.data.given_texts import are_texts, text_columns, text_files
from tasearch.errors import DataError
from tasearch.pareto.budget import Budget
from tasearch.runs.events import Event
from tasearch.runs.folder_check import INPUTS
from tasearch.runs.opening import run_at

Build = Callable[..., nn.Module]
Loss = str | Callable[..., Any]


def search(
    x: Any = None,
    y: Any = None,
    *,
    validation: Any = None,
    test: Any = None,
    unlabelled: Any = None,
    build: str | Build | None = None,
    teacher: nn.Module | Build | str | Sequence[nn.Module | Build | str] | None = None,
    widths: Sequence[int] | Mapping[str, Mapping[str, Any]] | None = None,
    student_widths: Sequence[int | str] | None = None,
    loss: Loss | Sequence[Loss] | None = None,
    metric: str | Callable[..., float] | None = None,
    epochs: int | None = None,
    trials: int | None = None,
    budget: Budget | Mapping[str, float] | None = None,
    seed: int | None = None,
    study: Mapping[str, Any] | None = None,
    name: str = "search",
    runs_dir: str | Place = "runs",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    latency_from: str | Path | None = None,
    workers: int | str = 1,
    retry_failed: bool = False,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = True,
) -> Run:
    """Search for the best students of your data, teacher and models.

    It does what `tasearch.run` does, for a study that is made of the arguments. Data and code are
    kept in the run's folder, so that the command line can continue and export the run, too. The
    same call continues a search that was stopped; another teacher, other data or other code under
    the same name are refused.

    Args:
        x: Samples, real numbers: an array, a tensor or lists of shape (samples, features),
            (samples, height, width), or with channels before or after height and width. Or texts:
            strings, or pairs of strings, which a tokenizer makes token ids of. Or a
            map-style dataset of torch, whose items are (sample, label); it is read once. None where
            `study` names a source of data.
        y: Labels, integers, booleans or strings of shape (samples,); none with a dataset.
        validation: The validation set: a pair of samples and labels, or a dataset. If not given,
            a fifth of the samples is held out.
        test: The same of the test set.
        unlabelled: Samples without labels, like those in `x`. Models that learn from a teacher
            learn what it says of these, too.
        build: The family of the models: its name, such as "cnn" or "mlp", or a function
            `build(width, *, in_shape, num_classes) -> nn.Module`. "cnn" if not given.
        teacher: A trained model in eval mode on the CPU, which is used as it is; it takes samples
            as they are in `x`. Several such models are one teacher, whose logits are averaged. Or a
            function `make(*, in_shape, num_classes) -> nn.Module`, whose
            model is trained here. None to train the widest of `widths` as the teacher.
        widths: Widths of all models, strictly decreasing. The first one is the teacher's if no
            teacher is given. Or sizes with a name, from large to small, and the arguments with
            which `build` makes each: `{"m": {"width": 16, "depth": 3}, "s": {"width": 8}}`. If not
            given, those of a study file.
        student_widths: Widths that a student may have; if not given, all but the teacher's.
        loss: The loss of assistants and students, or several to try: names, or functions
            `loss(logits, labels, targets, terms) -> scalar`.
        metric: What students are compared by: its name, such as "balanced-accuracy", or a function
            `metric(logits, labels) -> float`, of which more is better. The accuracy if not given.
        epochs: Epochs of each model that is trained here. For different numbers, leave it out and
            give `epochs` of "teacher", "assistants" and "student" in `study`.
        trials: Number of trials to reach in all.
        budget: Limits on the student: a `Budget`, or a dict with `max_params`, `max_bytes` and
            `max_latency_ms`.
        seed: Seed of initial weights, batch orders and proposals.
        study: All other keys of a study file, by section:
            `{"training": {"batch_size": 64}, "search": {"replicates": 3}}`. A function may be given
            wherever a study file names one.
        name: Name of the run: its folder is `runs_dir/name`.
        runs_dir: The folder or the URL of all runs, such as "s3://bucket/runs".
        device: "auto", "cpu" or "cuda".
        latency_from: A run whose latencies are taken instead of measuring; None to measure.
        workers: Number of training processes, or "auto": one for each GPU, or for each core.
        retry_failed: Whether to repeat all failed trials, whatever the cause.
        on_event: Called with each event of the search, one of the classes in
            `tasearch.runs.events`.
        progress: Whether to show one line on the progress, in a notebook or a terminal.

    Returns:
        The run, with its front and its best student.

    Raises:
        TasearchError: Something is wrong with an argument, with the data, the models or the run;
            the message names it.

    Example:
        ```python
        run = tasearch.search(x, y, widths=[64, 32, 16, 8], budget={"max_params": 20_000})
        run.plot()
        model = run.best(max_params=5_000).model
        ```
    """
    options = RunOptions(
        runs_dir=runs_dir,
        device=device,
        latency_from=latency_from,
        workers=workers,
        retry_failed=retry_failed,
    ).absolute()
    content = Content(study, name, seed)
    content.put_models(build, teacher, widths, student_widths)
    content.put_recipes(loss, epochs, metric)
    content.put_limits(trials, budget)
    given = Given(x=x, y=y, validation=validation, test=test, unlabelled=unlabelled)
    return _search(content, given, options, ProgressLine(name, on_event, shown=progress))


def _search(content: Content, given: Given, options: RunOptions, line: ProgressLine) -> Run:
    """Search with inputs that are in the run's folder from then on."""
    with line:
        inputs = _inputs(content, given, options, line.read)
        line.run = options.run_place(inputs.study)
        with only_from(inputs.root, inputs.modules):
            return run_to_end(inputs.study, options, line.take, inputs.bring)


def _inputs(content: Content, given: Given, options: RunOptions, progress: Progress) -> Inputs:
    """The study and its files, checked as far as it can be done before the run is claimed."""
    objects, files = content.objects, dict[str, bytes]()
    texts = given.there and are_texts(given.x)
    if texts:
        content.put_texts(text_columns(given.x))
        files = text_files(given)
    elif given.there:
        content.put_data()
    elif not content.has("data.source"):
        rule = 'are missing; bring them, or name a source: study={"data": {"source": ...}}'
        raise DataError(f"x: samples {rule}")
    study = content.study()
    if given.there and not texts:
        files[NAME], section = given.content(study.data, progress)
        study = study.model_copy(update={"data": section})
    root = str(run_at(options.run_place(study)).path / INPUTS)
    return Inputs(
        study=study.model_copy(update={"root": root}),
        files={**objects.files, **files},
        words={**objects.words, **dict.fromkeys(files, "other data")},
    )
