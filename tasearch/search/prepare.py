"""From a study to everything that a search needs, checked before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from tasearch import plugins
from tasearch.chain import Pupil, Recipe
from tasearch.cuda import set_up_cuda
from tasearch.data import Dataset, Progress, load_data
from tasearch.errors import RunError, StudyError
from tasearch.front import Budget, Measurement
from tasearch.measure import describe, measure, parameters, weight_bytes
from tasearch.models import Models, Standardized
from tasearch.onnx_export import timed_models
from tasearch.processes import Process
from tasearch.rundir import RunDir, Snapshot
from tasearch.search.sampler import SAMPLERS, make_sampler, try_sampler
from tasearch.search.scout import Scout
from tasearch.space import Space
from tasearch.study import Study
from tasearch.train.engine import worker_devices
from tasearch.train.losses import LOSSES, Loss, check_loss
from tasearch.train.pool import Pool
from tasearch.train.precision import study_modes
from tasearch.train.trainer import TRAINER_VERSION
from tasearch.train.views import check_views


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A search that may start.

    Args:
        run: where it lands.
        snapshot: what the run is of.
        space: the chains within the budget.
        data: training and validation parts.
        models: of the study.
        device: to train on.
        workers: the device of each that trains.
        pool: these workers, where they have helped to prepare.
    """

    run: RunDir
    snapshot: Snapshot
    space: Space
    data: Dataset
    models: Models
    device: torch.device
    workers: list[str]
    pool: Pool | None

    def close(self) -> None:
        """Let go of the workers."""
        if self.pool is not None:
            self.pool.close()


def prepare(
    study: Study,
    *,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    latency_from: str | Path | None = None,
    workers: int | str = 1,
    processes: Sequence[Process] = (),
    progress: Progress | None = None,
) -> Prepared:
    """Load, check and measure; nothing is written.

    Args:
        study: a relative root is seen from the current folder.
        runs_dir: the run is, or will be, its folder `study.name`.
        device: "auto", "cpu" or "cuda".
        latency_from: a run whose measurements to take instead of measuring.
        workers: processes that train, or "auto": one for each GPU, or for each core.
        processes: of workers, started already; whatever comes, none is left over.
        progress: told of (done, total) while data are decoded.

    Raises:
        TasearchError: whatever is wrong with the study, its data, its models or its run.
    """
    study = study.model_copy(update={"root": str(Path(study.root).resolve())})
    run = RunDir(Path(runs_dir) / study.name)
    with contextlib.ExitStack() as undo:
        for process in processes:
            undo.callback(process.end)
        where = choose_device(device)
        if where.type == "cuda":
            set_up_cuda(where, deterministic=study.training.deterministic)
        devices = worker_devices(str(workers), where, study.training.threads)
        devices = devices[: study.search.lookahead]
        pool = _pool(devices, study.training.threads, processes)
        if pool is not None:
            undo.callback(pool.close)
        make = make_sampler(study)
        losses = _losses(study)
        data = load_data(study, progress)
        for name, (loss, recipe) in losses.items():
            check_loss(loss, name, recipe, data.num_classes)
        check_views(study.training.views, data.in_shape)
        models = Models.of(study, data)
        inputs = _inputs(study, [*losses], data, models, where)
        if run.exists:
            snapshot = _known(run, study, inputs, runs_dir, latency_from)
        else:
            snapshot = _fresh(study, inputs, models, data, where, runs_dir, latency_from, pool)
        space = make_space(study, models.teacher(), snapshot.measured)
        if study.search.sampler not in SAMPLERS:
            try_sampler(space, make(Scout(snapshot, space)))
        undo.pop_all()
    return Prepared(
        run=run,
        snapshot=snapshot,
        space=space,
        data=data,
        models=models,
        device=where,
        workers=devices,
        pool=pool,
    )


def _pool(devices: list[str], threads: int, processes: Sequence[Process]) -> Pool | None:
    """Several workers, who import while the data are read; of one, there is time to tell later
    whether this process will do."""
    if len(devices) > 1:
        return Pool(devices, threads, processes)
    for process in processes:
        process.end()
    return None


def _fresh(
    study: Study,
    inputs: Mapping[str, str],
    models: Models,
    data: Dataset,
    device: torch.device,
    runs_dir: str | Path,
    latency_from: str | Path | None,
    pool: Pool | None,
) -> Snapshot:
    """The snapshot of a run that is to be made; its space is not known yet."""
    models.check(study.widths)
    modes = _modes(study, models, data, device, runs_dir, latency_from, pool)
    measured, words = _measured(study, models, data, device, runs_dir, latency_from, modes)
    return Snapshot(
        study=study,
        inputs=inputs,
        samples=len(data.train),
        validation=len(data.validation),
        space=0,
        measured=measured,
        setup=_setup(study, data),
        modes=modes(),
        device=words,
    )


def _known(
    run: RunDir,
    study: Study,
    inputs: Mapping[str, str],
    runs_dir: str | Path,
    latency_from: str | Path | None,
) -> Snapshot:
    """The snapshot of a run that is there."""
    snapshot = replace(run.check_same(study, inputs), study=study)
    if latency_from is not None:
        given, _, _ = RunDir.open(latency_from, runs_dir).measurements()
        if {width: given.get(width) for width in snapshot.measured} != snapshot.measured:
            raise RunError(f"{run.path}: has measurements of its own, frozen when it was made")
    return snapshot


def _losses(study: Study) -> dict[str, tuple[Loss, Recipe]]:
    """Every loss of the study by name, with a recipe to try it with."""
    found = {}
    roles: tuple[Literal["assistants", "student"], ...] = ("assistants", "student")
    for role in roles:
        for recipe in study.recipes(role).firsts():
            path = f"{role}.loss"
            loss = plugins.resolve(recipe.loss, LOSSES, path=path, root=study.root)
            found[recipe.loss] = (loss, recipe)
    return found


def _inputs(
    study: Study, losses: list[str], data: Dataset, models: Models, device: torch.device
) -> dict[str, str]:
    """What decides a run's results besides its study file."""
    teacher, sampler = models.teacher(), study.search.sampler
    return {
        "digest of data": data.fingerprint,
        "digest of family": models.family,
        "digest of teacher": teacher.origin or "",
        "digest of losses": " ".join(plugins.identity(name, study.root) for name in losses),
        "digest of sampler": plugins.identity(sampler, study.root),
        "device": device.type,
        "version of the trainer": str(TRAINER_VERSION),
    }


def _modes(
    study: Study,
    models: Models,
    data: Dataset,
    device: torch.device,
    runs_dir: str | Path,
    latency_from: str | Path | None,
    pool: Pool | None,
) -> Callable[[], dict[int, str]]:
    """Waits for the modes of all widths; a loaded teacher is not trained.

    A run that lends its latencies lends what its probes found as well, so that both train alike.
    """
    training = study.training
    trained = study.widths if study.teacher_recipe() else study.widths[1:]
    if latency_from is not None:
        lent = RunDir.open(latency_from, runs_dir).read()
        given, theirs = lent.modes, lent.study
        alike = theirs.training == training
        alike = alike and theirs.search.replicates == study.search.replicates
        if alike and {*trained} <= {*given}:
            return lambda: {width: given[width] for width in trained}
    pinned = {int(width): mode for width, mode in training.modes.items()}
    open_ = [width for width in trained if width not in pinned]
    if pool is not None:
        pool.ask_modes(study, data, open_)
    return cache(lambda: pinned | (pool.modes() if pool else study_modes(models, open_, device)))


def _setup(study: Study, data: Dataset) -> dict[str, Any]:
    """What measurements depend on besides the models."""
    shape = {"in_shape": list(data.in_shape), "num_classes": data.num_classes}
    return shape | study.latency.model_dump()


def choose_device(name: str) -> torch.device:
    """The device of a name; auto is CUDA where there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise StudyError(f'--device: should be "auto", "cpu" or "cuda", found {name!r}')
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RunError("--device cuda: torch finds no CUDA device; use --device cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def make_space(study: Study, teacher: Pupil, measured: Mapping[int, Measurement]) -> Space:
    """The chains whose student is within the budget.

    Raises:
        StudyError: where there is none.
    """
    budget = study.limits()
    students = tuple(w for w in study.student.widths if budget.admits(measured[w]))
    if not students:
        _refuse(budget, [measured[w] for w in study.student.widths])
    widths = study.assistants.widths if study.assistants.max else ()
    space = Space(
        teacher=teacher,
        assistant_widths=widths,
        student_widths=students,
        min_assistants=study.assistants.min,
        max_assistants=min(study.assistants.max, len(widths)),
        assistant_recipes=study.recipes("assistants"),
        student_recipes=study.recipes("student"),
    )
    if not space.size:
        raise StudyError(
            f"assistants.min: no student has {study.assistants.min} assistants wider than itself"
        )
    return space


def _measured(
    study: Study,
    models: Models,
    data: Dataset,
    device: torch.device,
    runs_dir: str | Path,
    latency_from: str | Path | None,
    modes: Callable[[], object],
) -> tuple[dict[int, Measurement], str]:
    """Every width's measurement, the teacher's first, and the device in words.

    Models are exported while modes are found, but nothing is timed before these are there.
    """
    mean, std = torch.from_numpy(data.mean), torch.from_numpy(data.std)
    nets = {w: Standardized(models.build(w), mean, std) for w in study.widths}
    sizes = {w: parameters(net) for w, net in nets.items()}
    if latency_from is None:
        _admit_some(study, nets)
        section, exported = study.latency, None
        if section.backend == "onnx":
            exported = timed_models(nets, data.in_shape, section.batch)
        modes()
        measured = measure(
            nets, in_shape=data.in_shape, section=section, device=device, models=exported
        )
        return measured, describe(study.latency, device)
    source = RunDir.open(latency_from, runs_dir)
    given, setup, words = source.measurements()
    if setup != _setup(study, data):
        raise RunError(
            f"--latency-from {source.path}: was measured with {setup}, "
            f"this study needs {_setup(study, data)}"
        )
    for width, params in sizes.items():
        if width not in given or given[width].params != params:
            found = f"{given[width].params:,} params" if width in given else "no measurement"
            raise RunError(
                f"--latency-from {source.path}: should measure width {width} with "
                f"{params:,} params, has {found}"
            )
    return {width: given[width] for width in sizes}, words


def _admit_some(study: Study, nets: Mapping[int, Standardized]) -> None:
    """Refuse a budget that no student fits by its size, before the time for timing is spent."""
    limits = study.limits()
    budget = Budget(max_params=limits.max_params, max_bytes=limits.max_bytes)
    sizes = [
        Measurement(
            width=width,
            params=parameters(nets[width]),
            bytes=weight_bytes(nets[width]),
            flops=0,
            latency_ms=0.0,
            latency_p95_ms=0.0,
        )
        for width in study.student.widths
    ]
    if not any(budget.admits(size) for size in sizes):
        _refuse(budget, sizes)


def _refuse(budget: Budget, students: list[Measurement]) -> None:
    near = min(students, key=lambda m: (budget.excess(m), m.params))
    took = f" and takes {near.latency_ms:.4g} ms" if near.latency_ms else ""
    raise StudyError(
        f"budget: no student fits {budget}; the nearest, width {near.width}, "
        f"has {near.params:,} params in {near.bytes:,} bytes{took}"
    )
