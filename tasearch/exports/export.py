"""Exporting a student: weights, ONNX, the study that trains it again, metrics, a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from tasearch.config import plugins
from tasearch.config.arguments import check_folder, check_path
from tasearch.config.files import is_temporary, write_atomic, write_error
from tasearch.config.guard import contained
from tasearch.config.study_file import render
from tasearch.errors import ExportError, RunError
from tasearch.exports import quantized as quantized_onnx
from tasearch.exports import tokenizer_file
from tasearch.exports.card import model_card
from tasearch.exports.chain_file import pinned_study
from tasearch.exports.metrics import student_metrics
from tasearch.exports.onnx_check import checked_onnx, takes_any_length
from tasearch.exports.quantized import Quantize
from tasearch.exports.student import ExportedStudent, rebuild_student
from tasearch.exports.trust import check_trust
from tasearch.exports.weights_file import write_weights
from tasearch.pareto.budget import Budget
from tasearch.pareto.candidate import Candidate
from tasearch.runs.run import Run

FILES = ("student.onnx", "metrics.json", "README.md", "student.safetensors", "chain.toml")
# the first one for students of texts alone, the second where it was asked for
ALL_FILES = ("tokenizer.json", quantized_onnx.NAME, *FILES)


@contained("code that the run names")
def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    max_params: int | None = None,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    trial: int | None = None,
    trust: bool = False,
    quantize: str | Quantize | None = None,
) -> Candidate:
    """Write the best candidate within a budget, or that of one trial, to a folder.

    Args:
        run: The run, finished or not, its path, or its name in runs/.
        out: The folder, which is created if needed; an earlier export in it is replaced. It gets no
            student.onnx if the model cannot be exported to ONNX and the study timed it in torch.
        max_params: Largest number of parameters; None for no limit.
        max_bytes: Largest number of bytes of weights and buffers; None for no limit.
        max_latency_ms: Largest latency of one batch in milliseconds; None for no limit.
        trial: Number of a complete trial, whose student is exported in place of the best one; it
            goes without a budget.
        trust: Whether user code that the run's study names may run; a run that `tasearch.run` has
            returned does not need it. A teacher's factory runs only with it, to measure how often
            student and teacher agree.
        quantize: A function from the bytes of student.onnx to those of another ONNX model with the
            same inputs, or its name, "package.module:function"; the result is compared with the
            student, and written as student.quantized.onnx.

    Returns:
        The candidate that was exported.

    Raises:
        NothingFits: If no candidate is within the budget, or the trial has no finished student.
        ExportError: If a trial is given together with a budget, if ONNX Runtime and torch do not
            agree, if the folder has other files, if user code is not trusted, or if `quantize`
            fails.
        RunError: If the run's data or models have changed, or the file of its verdicts is damaged.
        StoreError: If the student's weights are missing or damaged.

    Example:
        ```python
        winner = tasearch.export("runs/digits", "winner", max_params=1_000)
        print(winner.label, winner.accuracy)
        ```
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if run.verdicts_damage:  # a verdict may ship another student
        raise RunError(run.verdicts_damage)
    folder = check_path(out, "out", ExportError)
    budget = Budget(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    if trial is not None and budget != Budget():
        raise ExportError("trial: goes without a budget; leave one of the two out")
    candidate = run.best_within(budget) if trial is None else run.candidate(trial)
    folder = folder.absolute()  # user code may change the current folder
    run.directory = run.directory.absolute()
    _check_code(run, "exporting it", trust=trust)
    _check_out(folder)
    function = quantized_onnx.quantize_function(quantize)
    student = rebuild_student(run, candidate, trusted=trust or run.trusted)
    _write(folder, _contents(student, folder, function))
    return candidate


@contained("code that the run names")
def student_model(run: Run, candidate: Candidate) -> nn.Module:
    """The trained student of a candidate, on the CPU and in eval mode; it takes raw samples.

    Raises:
        ExportError: If the run's study names user code, and the run is not trusted.
        RunError: If the run's data or models have changed.
        StoreError: If the student's weights are missing or damaged.
    """
    run.directory = run.directory.absolute()
    _check_code(run, "rebuilding its student", trust=False)
    return rebuild_student(run, candidate, trusted=False).exported


def _check_code(run: Run, what: str, *, trust: bool) -> None:
    """Refuse user code that is not trusted; what is trusted is imported as its files are now."""
    if not run.trusted:
        study = run.manifest.study
        named = {
            "data.source": study.data.own_source or "",
            "model.family": study.model.own_family,
            "objective.metric": study.objective.metric,
        }
        check_trust(named, study, trust=trust, what=f"{run.path}: {what}")
    plugins.new_run()


def _check_out(folder: Path) -> None:
    """Refuse a folder with files that are no export, and a path where no folder can be."""
    names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(n for n in names - {*ALL_FILES} if not is_temporary(folder / n))
    if names == {"README.md"}:  # an export that was cut off has other files as well
        others = ["README.md"]
    if others:
        raise ExportError(f"{folder}: has other files ({others[0]}); name a new folder")
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: is no folder; name a new folder")
    check_folder(folder, "out", ExportError)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None


def _contents(
    student: ExportedStudent, folder: Path, quantize: Quantize | None
) -> dict[str, bytes]:
    """The content of every file by its name."""
    contents = {"student.safetensors": write_weights(student)}
    onnx, difference = checked_onnx(student)
    if onnx is not None:
        contents["student.onnx"] = onnx
    if student.data.text is not None:
        contents[tokenizer_file.NAME] = student.data.text.content.encode()
    numbers = None
    if quantize is not None:
        contents[quantized_onnx.NAME], numbers = quantized_onnx.quantized(student, onnx, quantize)
    _make(folder)  # else the test part would be read for nothing
    metrics = student_metrics(student, difference, contents)
    if numbers is not None:
        metrics["quantized"] = numbers
    any_length = onnx is not None and takes_any_length(onnx)
    return contents | {
        "chain.toml": render(pinned_study(student, folder), student.title).encode(),
        "metrics.json": (json.dumps(metrics, indent=1, ensure_ascii=False) + "\n").encode(),
        "README.md": model_card(student, metrics, any_length=any_length).encode(),
    }


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Replace an earlier export; a process killed meanwhile never leaves a mix of the two."""
    for name in ALL_FILES:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(folder / name, error) from None
    for name in ALL_FILES:
        if name in contents:
            write_atomic(folder / name, contents[name])
