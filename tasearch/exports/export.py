"""The winner, ready to ship: weights, ONNX, the study that makes it again, figures, a card."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from tasearch.chains.keys import canonical_json
from tasearch.chains.recipe import LABELS_ONLY
from tasearch.chains.recipes import SEARCHED
from tasearch.config import plugins
from tasearch.config.arguments import check_folder, check_path
from tasearch.config.files import is_temporary, not_regular, write_atomic, write_error
from tasearch.config.guard import contained
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, render
from tasearch.data import Dataset, Split, load_data, load_test
from tasearch.errors import ExportError, ModelError, RunError, StoreError, first_line, quoted
from tasearch.models import Models, Standardized
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.measurement import latency_words, tied_with
from tasearch.profiling.machine import timed_in_onnx
from tasearch.profiling.onnx import onnx_outputs, to_onnx
from tasearch.runs.directory import RunDirectory
from tasearch.runs.records import TrialRecord, training_flops
from tasearch.runs.run import Run
from tasearch.runs.store import replicate
from tasearch.train.loop import evaluate, predict

TOLERANCE = 1e-4  # between logits of ONNX Runtime and of torch; relative to those beyond 1
DRIFT = 0.005  # in accuracy; other machines round differently
FILES = ("student.onnx", "metrics.json", "README.md", "student.safetensors", "chain.toml")
ONNX = ("<!-- onnx -->\n", "<!-- end -->\n")  # around what a card says of student.onnx
META = "tasearch"  # the key of student.safetensors' metadata


@dataclass(frozen=True, kw_only=True)
class Built:
    """Everything of one candidate that an export is made from."""

    run: Run
    candidate: Candidate
    trial: TrialRecord
    module: Standardized
    data: Dataset


@contained("code that the run names")
def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    max_params: int | None = None,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    trust: bool = False,
) -> Candidate:
    """Write the best candidate within a budget to a folder.

    Args:
        run: finished or not; or its path or name.
        out: made if need be; what an earlier export left there is replaced. There is no
            student.onnx where the model cannot be had in ONNX and the study timed it in torch.
        max_params: see `Front.best`.
        max_bytes: see `Front.best`.
        max_latency_ms: see `Front.best`.
        trust: Whether code that the run's study names, if it is not tasearch's own, may be run;
            not asked of a run that `tasearch.run` has returned.

    Returns:
        The candidate that was exported.

    Raises:
        NothingFits: where no candidate is within the budget.
        ExportError: where ONNX Runtime and torch do not agree, or trust is missing.
        RunError: where the run's data or models are not what they were.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    folder = check_path(out, "out", ExportError)
    candidate = run.best(max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms)
    folder = folder.absolute()  # code of the user's may change the current folder
    run.directory = RunDirectory(run.path.absolute())
    if not run.trusted:
        named = {"data.source": run.manifest.study.data.source}
        named["model.family"] = run.manifest.study.model.family
        _check_trust(named, run.manifest.study, trust=trust, what=f"{run.path}: exporting it")
    plugins.new_run()
    names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    strangers = sorted(n for n in names - {*FILES} if not is_temporary(folder / n))
    if folder.exists() and (strangers or not folder.is_dir()):
        what = f"has other files ({strangers[0]})" if strangers else "is no folder"
        raise ExportError(f"{folder}: {what}; name a new folder")
    check_folder(folder, "out", ExportError)
    built = _build(run, candidate)
    contents = {"student.safetensors": _weights(built)}
    onnx, difference = _onnx(built)
    if onnx is not None:
        contents["student.onnx"] = onnx
    metrics = _metrics(built, difference, contents)
    contents |= {
        "chain.toml": render(pinned(built, folder), _title(built)).encode(),
        "metrics.json": (json.dumps(metrics, indent=1, ensure_ascii=False) + "\n").encode(),
        "README.md": _card(built, metrics).encode(),
    }
    try:
        for name in FILES:  # of an earlier export: a kill leaves none that is half the old one
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder / name, error) from None
    for name in FILES:
        if name in contents:
            write_atomic(folder / name, contents[name])
    return candidate


@contained("code that the export names")
def load(folder: str | Path, *, trust: bool = False) -> nn.Module:
    """The exported student: float32 (samples, *in_shape), raw, to logits (samples, classes).

    Args:
        folder: what `export` wrote.
        trust: Whether a family that is not tasearch's own may be imported, that is run.

    Returns:
        The module on CPU, in eval mode.

    Raises:
        ExportError: where the folder is no export, its weights do not fit the family, or trust is
            missing.
        StudyError: where the family is the user's own and cannot be imported.
    """
    folder = check_path(folder, "folder", ExportError).absolute()
    file = folder / "student.safetensors"
    words = not_regular(file)
    if words is not None:
        raise ExportError(f"{file}: is no exported student: {words}")
    try:
        with safe_open(file, framework="pt") as stored:
            meta = json.loads(stored.metadata()[META])
            shape, classes, width = tuple(meta["in_shape"]), meta["num_classes"], meta["width"]
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        scale = {name: state[name] for name in ("mean", "std")}
    except FileNotFoundError:
        raise ExportError(f"{file}: no such file; `tasearch export` writes one") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{file}: is no exported student: {first_line(error)}") from None
    if not (folder / "chain.toml").is_file():
        raise ExportError(f"{folder / 'chain.toml'}: no such file; it names the student's family")
    study = load_study(folder / "chain.toml")
    family = {"model.family": study.model.family}
    _check_trust(family, study, trust=trust, what=f"{folder}: loading it")
    if width not in study.student.widths:  # a teacher's width would be its factory's affair
        raise ExportError(
            f"{file}: is no exported student of chain.toml: its width is {quoted(width)}, "
            f"the study's are {list(study.student.widths)}"
        )
    plugins.new_run()
    models = Models(study=study, in_shape=shape, num_classes=classes, **scale)
    if study.expects.family not in (None, models.family):
        raise ExportError(
            f"{folder}: the student was trained with {study.expects.family!r}, and the code is now "
            f"{models.family!r}: it would answer otherwise; put the code back, or use student.onnx"
        )
    net = models.build(width)
    module = Standardized(net, torch.zeros_like(state["mean"]), torch.ones_like(state["std"]))
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(f"{file}: does not fit the family as it is now: {error}") from None
    return module.eval()


def _check_trust(named: dict[str, str], study: Study, *, trust: bool, what: str) -> None:
    """Refuse to run code that a foreign file names, before anything of it is imported.

    Raises:
        ExportError: Naming the file.
    """
    for path, name in named.items():
        if ":" in name and not trust:
            raise ExportError(
                f"{what} runs code of the user's: {path} = {name!r} is "
                f"{plugins.place(name, study.root)}; read it, and pass trust=True (--trust) if you "
                f"trust it"
            )


def pinned(built: Built, folder: Path) -> Study:
    """The study whose only chain is this one; seen from `folder`."""
    study, trial = built.run.manifest.study, built.trial
    assert trial.recipe is not None
    widths = trial.chain[1:-1]
    own, shared = trial.recipe["student"], trial.recipe["assistants"] or {}
    values = study.model_dump()
    values["name"] = f"{study.name}-trial-{trial.number}"
    values["root"] = os.path.relpath(study.root, folder.resolve())
    values["assistants"] |= {"min": len(widths), "max": len(widths), "widths": widths}
    values["assistants"] |= {name: (shared[name],) for name in SEARCHED if name in shared}
    values["student"] |= {"widths": (trial.chain[-1],)}
    values["student"] |= {name: (own[name],) for name in SEARCHED}
    values["student"] |= {
        name: own[name] for name in ("epochs", "teacher_dropout")
    }  # an assistant's, perhaps
    values["budget"] = {}
    modes = built.run.manifest.modes
    values["training"] |= {"modes": {str(w): str(modes[w]) for w in trial.chain if w in modes}}
    values["search"] |= {"trials": 1, "pruner": "none"}
    inputs, losses = built.run.manifest.inputs, {*values["assistants"]["loss"]}
    losses |= {*values["student"]["loss"]}
    kept = [d for d in inputs["digest of losses"].split(" ") if d.partition("#")[0] in losses]
    values["expects"] = {
        "data": inputs["digest of data"],
        "family": inputs["digest of family"],
        "teacher": inputs["digest of teacher"],
        "losses": " ".join(kept),
    }
    return Study.model_validate(values)


def _onnx(built: Built) -> tuple[bytes | None, float | None]:
    """The model in ONNX, and how far it is from torch's; none of one that cannot be had in ONNX,
    and was timed in torch for that, or because the study says so.

    Raises:
        ExportError: where they do not agree.
        ModelError: where the study timed it in ONNX, and now it cannot be had.
    """
    try:
        onnx = to_onnx(built.module, built.data.in_shape)
        difference = onnx_difference(onnx, built.module, built.data.validation)
    except ModelError:
        if timed_in_onnx(built.run.manifest.device):
            raise
        return None, None
    if not difference <= TOLERANCE:  # also where it is no number
        raise ExportError(
            f"ONNX Runtime and torch differ by {difference:.2g} on the validation part, "
            f"more than {TOLERANCE}; nothing was written"
        )
    return onnx, difference


def onnx_difference(model: bytes, module: nn.Module, part: Split) -> float:
    """Largest difference between ONNX Runtime's logits and torch's, in batches and one by one.

    Logits beyond 1 in size are compared relative to it: float32 has 7 digits.
    """
    expected = predict(module, torch.tensor(part.x)).numpy()
    batches = [*np.array_split(part.x, len(part) // 97 + 1), *part.x[:64, None]]
    logits = np.concatenate(onnx_outputs(model, [x.astype(np.float32) for x in batches]))
    expected = np.concatenate([expected, expected[:64]])
    return float((np.abs(logits - expected) / np.maximum(1.0, np.abs(expected))).max())


def _build(run: Run, candidate: Candidate) -> Built:
    manifest = run.manifest
    trial = run.trials[candidate.trial]
    data = load_data(manifest.study)
    models = Models.for_study(manifest.study, data)
    for name, now in (("digest of data", data.fingerprint), ("digest of family", models.family)):
        if manifest.inputs[name] != now:
            raise RunError(
                f"{run.path}: {name} was {manifest.inputs[name]!r}, is {now!r}: "
                f"this is not what the student was trained with"
            )
    key = trial.hops[-1].key
    damage: list[str] = []
    saved = run.directory.store(damage.append).load("hops", key)
    if saved is None:
        reason = damage[0] if damage else f"{run.path}/hops/{key}.safetensors: is missing"
        raise StoreError(f"{reason}; `tasearch run` on the same study trains it again")
    width = candidate.chain[-1]
    if width not in manifest.study.widths[1:]:
        raise RunError(f"{run.path}: trial {candidate.trial} is of width {width}, not the study's")
    net = models.build(width)
    net.load_state_dict(replicate(saved[0], 0))  # the first, not the luckiest
    module = Standardized(net, torch.from_numpy(data.mean), torch.from_numpy(data.std))
    module.eval()
    accuracy = evaluate(module, *map(torch.tensor, (data.validation.x, data.validation.y)))
    accuracies = trial.accuracies or (candidate.accuracy,)
    if abs(accuracy - accuracies[0]) > DRIFT:
        raise RunError(
            f"{run.path}: trial {candidate.trial} has {accuracies[0]:.2%} in its journal, but "
            f"its weights have {accuracy:.2%} of the validation part now"
        )
    return Built(run=run, candidate=candidate, trial=trial, module=module, data=data)


def _weights(built: Built) -> bytes:
    meta = {
        "family": built.run.manifest.study.model.family,
        "width": built.candidate.chain[-1],
        "in_shape": built.data.in_shape,
        "num_classes": built.data.num_classes,
    }
    state = {name: t.clone().contiguous() for name, t in built.module.state_dict().items()}
    return save(state, metadata={META: canonical_json(meta)})


def _metrics(built: Built, difference: float | None, contents: dict[str, bytes]) -> dict[str, Any]:
    run, candidate = built.run, built.candidate
    manifest = run.manifest
    size = manifest.measured[candidate.chain[-1]]
    test = load_test(manifest.study)
    hits = predict(built.module, torch.tensor(test.x)).argmax(1).numpy() == test.y
    direct = [
        t.accuracy
        for t in run.trials
        if t.state == "complete"
        and t.chain == (candidate.chain[0], candidate.chain[-1])
        and (t.recipe or {})["student"]["loss"] != LABELS_ONLY
    ]
    return {
        **asdict(candidate),
        "label": candidate.label,
        "accuracies": built.trial.accuracies,
        "free": built.trial.free,  # an assistant within the budget, with the assistants' recipe
        "study": manifest.study.name,
        "test_accuracy": float(hits.mean()),
        "test_samples": len(test),
        "validation_samples": manifest.validation,
        "direct_accuracy": max((a for a in direct if a is not None), default=None),
        "latency_median_ms": size.median_ms,
        "latency_p95_ms": size.latency_p95_ms,
        "latency_tied_with": tied_with(size.width, manifest.measured),
        "latency_of": manifest.device,
        "forward_flops": size.flops,
        "training_flops": sum(
            training_flops(use.width, use.epochs, manifest.trained_samples, manifest.measured)
            for use in built.trial.hops
        ),
        "onnx_difference": difference,
        "file_bytes": {name: len(content) for name, content in contents.items()},
        "in_shape": built.data.in_shape,
        "num_classes": built.data.num_classes,
        "versions": {name: importlib.metadata.version(name) for name in ("tasearch", "torch")},
    }


def _accuracy(built: Built) -> str:
    """Of the model that is shipped, and of its like."""
    mean, accuracies = f"{built.candidate.accuracy:.2%}", built.trial.accuracies
    if not accuracies:
        return mean
    return f"{accuracies[0]:.2%} (mean of {len(accuracies)} replicates: {mean})"


def _load_line(built: Built) -> str:
    """The line of the card that loads the model."""
    study = built.run.manifest.study
    if ":" not in study.model.family:
        return 'tasearch.load(".")'
    file = Path(plugins.place(study.model.family, study.root)).name
    words = f"runs {file} ({study.model.family}), which is not in here"
    return f'tasearch.load(".", trust=True)  # {words}'


def _title(built: Built) -> str:
    return (
        f"Trains {built.candidate.label} again: trial {built.candidate.trial} of the "
        f"study {built.run.manifest.study.name!r}."
    )


def _card(built: Built, metrics: dict[str, Any]) -> str:
    template, difference = files("tasearch.exports").joinpath("card.md"), metrics["onnx_difference"]
    text = template.read_text("utf-8")
    if difference is None:
        text = re.sub(f"{ONNX[0]}.*?{ONNX[1]}", "", text, flags=re.DOTALL)
    text = re.sub("|".join(ONNX), "", text)
    candidate, data = built.candidate, built.data
    direct = metrics["direct_accuracy"]
    this = len(candidate.chain) == 2 and candidate.recipe["student"]["loss"] != LABELS_ONLY
    made = f"Distilled along the chain {candidate.label} (widths, teacher first)."
    if candidate.recipe["student"]["loss"] == LABELS_ONLY:
        made = f"Width {candidate.chain[-1]}, trained on the labels alone, without a teacher."
    return Template(text).substitute(
        study=metrics["study"],
        made=made,
        test=f"{metrics['test_accuracy']:.2%}",
        test_samples=f"{metrics['test_samples']:,}",
        accuracy=_accuracy(built),
        samples=f"{metrics['validation_samples']:,}",
        direct="not tried" if direct is None else f"{direct:.2%}" + this * " (this one)",
        params=f"{candidate.params:,}",
        bytes=f"{candidate.bytes:,}",
        latency=latency_words(candidate.chain[-1], built.run.manifest.measured),
        device=metrics["latency_of"],
        shape=", ".join(map(str, data.in_shape)),
        classes=data.num_classes,
        difference=f"{difference or 0.0:.1e}",
        load=_load_line(built),
    )
