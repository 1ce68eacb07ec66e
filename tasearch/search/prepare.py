"""From a study to everything that a search needs, checked before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tasearch.chains.mode import modes_as_text
from tasearch.chains.space import Space
from tasearch.config import plugins
from tasearch.config.arguments import check_device
from tasearch.config.guard import contained
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset, Progress, load_data
from tasearch.errors import RunError, StudyError
from tasearch.models import Models
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.journal import read_identity
from tasearch.search.acquisition import Acquisition
from tasearch.search.chain_space import make_space
from tasearch.search.preflight import Preflight, losses_of
from tasearch.search.profiler import Profiler
from tasearch.search.sampler import SAMPLERS, make_sampler, try_sampler
from tasearch.train.archive import TRAINER_VERSION
from tasearch.train.augmentation import check_augmentation
from tasearch.train.cuda import set_up_cuda
from tasearch.train.losses import check_loss
from tasearch.train.workers.engine import worker_devices
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.processes import Process


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A search that may start.

    Args:
        run: where it ends.
        manifest: what the run is of.
        space: the chains within the budget.
        data: training and validation parts.
        models: of the study.
        device: to train on.
        workers: the device of each that trains.
        pool: these workers, where they have helped to prepare.
        code: the user's own source, as it was imported.
        held: lets go of the run's lock.
        before: what the run was of, where its study has grown since; else None.
        teacher: what is done about the teacher, in one line.
        notices: what a person should know before the search starts.
    """

    run: RunDirectory
    manifest: Manifest
    space: Space
    data: Dataset
    models: Models
    device: torch.device
    workers: list[str]
    pool: Pool | None
    code: UserCode
    teacher: str
    before: Manifest | None
    held: contextlib.ExitStack
    notices: tuple[str, ...] = ()

    def close(self) -> None:
        """Let go of the workers, and of the run."""
        if self.pool is not None:
            self.pool.close()
        self.held.close()


def prepare(
    study: Study,
    *,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    latency_from: str | Path | None = None,
    workers: int | str = 1,
    processes: Sequence[Process] = (),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
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
        say: told what is done about the teacher, before it is done.

    Raises:
        TasearchError: whatever is wrong with the study, its data, its models or its run.
    """
    # every path is made absolute before any code of the user's can change the current folder
    study = study.model_copy(update={"root": str(Path(study.root).resolve())})
    runs_dir = Path(runs_dir).absolute()
    run = RunDirectory(runs_dir / study.name)
    plugins.new_run(study.training.stall_minutes)
    with contained(), contextlib.ExitStack() as undo:
        for process in processes:
            undo.callback(process.end)
        lender = None
        if latency_from is not None:
            lender = RunDirectory(RunDirectory.open(latency_from, runs_dir).path.absolute())
        held = undo.enter_context(contextlib.ExitStack())
        held.enter_context(run.claimed())
        where = choose_device(device)
        if where.type == "cuda":
            set_up_cuda(where, deterministic=study.training.deterministic)
        devices = worker_devices(str(workers), where, study.training.threads)
        devices = devices[: study.search.max_concurrent]
        pool = _pool(devices, study, processes)
        if pool is not None:
            undo.callback(pool.close)
        first = Preflight(study, pool)
        first.import_all()
        make = make_sampler(study)
        losses = losses_of(study)
        data = first.load() if ":" in study.data.source else load_data(study, progress)
        first.try_all(data)
        for name, (loss, recipe, _) in losses.items():
            check_loss(loss, name, recipe, data.num_classes)
        check_augmentation(study.training.augment, data.in_shape)
        models = Models.for_study(study, data)
        inputs = _inputs(study, [*losses], data, models, where)
        _check_expected(study, inputs)
        teacher, notices = models.describe_teacher(), list[str]()
        say(teacher)
        profiler = Profiler(
            study=study,
            models=models,
            data=data,
            device=where,
            pool=pool,
            lender=lender,
            warn=notices.append,
        )
        grown: Manifest | None = None
        if run.exists:
            before = run.check_same(study, inputs)
            if before.study.identity() == study.identity() and before.inputs == inputs:
                manifest = _known(run, study, before, lender)
            else:
                grown, manifest = before, _extended(inputs, before, profiler)
        elif run.journal.exists():
            manifest = _nameless(run, inputs, profiler)
        else:
            manifest = _fresh(inputs, profiler)
        space = make_space(study, models.teacher(), manifest.measured)
        if study.search.sampler not in SAMPLERS:
            first.propose(data, manifest.measured)
            try_sampler(space, make(Acquisition(manifest, space)))
        named = [*losses, study.model.family, study.teacher.factory or "", study.search.sampler]
        code = plugins.frozen(named, study.root)
        code.check()
        held = held.pop_all()
        undo.pop_all()
    return Prepared(
        run=run,
        manifest=manifest,
        space=space,
        data=data,
        models=models,
        device=where,
        workers=devices,
        pool=pool,
        code=code,
        before=grown,
        teacher=teacher,
        notices=tuple(notices),
        held=held,
    )


def _pool(devices: list[str], study: Study, processes: Sequence[Process]) -> Pool | None:
    """Several workers, who import while the data are read, or one for code of the user's; else
    there is time to tell later whether this process will do."""
    if len(devices) > 1 or study.own_functions:
        return Pool(devices, study, processes)
    for process in processes:
        process.end()
    return None


def _fresh(inputs: Mapping[str, str], profiler: Profiler) -> Manifest:
    """The manifest of a run that is to be made; its space is not known yet."""
    study, data = profiler.study, profiler.data
    checked = profiler.models.check(study.widths)
    profiler.models.check_teacher(data, profiler.device)
    modes = profiler.modes()
    measured, words, timing = profiler.measure(modes, checked)
    return Manifest(
        study=study,
        inputs=inputs,
        samples=len(data.train),
        validation=len(data.validation),
        space=0,
        measured=measured,
        setup=profiler.setup(),
        modes=modes(),
        device=words,
        timing=timing,
    )


def _extended(inputs: Mapping[str, str], before: Manifest, profiler: Profiler) -> Manifest:
    """The manifest of a run whose study has grown. Where there is a width that was not measured,
    all are measured anew, side by side; modes stay as they are."""
    study = profiler.study
    manifest = replace(before, study=study, inputs=inputs, identity="")
    if {*study.widths} <= {*before.measured}:
        return manifest
    checked = profiler.models.check(study.widths)
    first, *rest = sorted({*study.widths, *before.measured}, reverse=True)
    modes = modes_as_text(before.modes)
    training = study.training.model_copy(update={"modes": modes | study.training.modes})
    student = study.student.model_copy(update={"widths": tuple(rest)})
    assert first == study.teacher.width
    wide = replace(
        profiler, study=study.model_copy(update={"student": student, "training": training})
    )
    # a run that lends latencies lends modes too
    found = (wide if profiler.lender is None else profiler).modes()
    measured, words, timing = wide.measure(found, checked)
    return replace(
        manifest,
        measured=measured,
        device=words,
        timing=timing,
        modes={**found(), **before.modes},
        identity="",
    )


def _known(
    run: RunDirectory, study: Study, before: Manifest, lender: RunDirectory | None
) -> Manifest:
    """The manifest of a run that is there."""
    manifest = replace(before, study=study)
    if lender is not None:
        given = lender.measured().measured
        if {width: given.get(width) for width in manifest.measured} != manifest.measured:
            raise RunError(f"{run.path}: has measurements of its own, frozen when it was made")
    return manifest


def _nameless(run: RunDirectory, inputs: Mapping[str, str], profiler: Profiler) -> Manifest:
    """The manifest of a run that has lost its run.json, if its journal is of this very study."""
    found, data = run.measured(), profiler.data
    manifest = Manifest(
        study=profiler.study,
        inputs=inputs,
        samples=len(data.train),
        validation=len(data.validation),
        space=0,
        measured=found.measured,
        setup=found.setup,
        modes=found.modes,
        device=found.device,
        timing=found.timing,
    )
    if read_identity(run, profiler.study.name) != manifest.identity:
        raise RunError(
            f"{run.path / 'run.json'}: is missing, and journal.log is not of this study with these "
            f"data, models and measurements; put the file back, give the study another name, or "
            f"use another --runs-dir"
        )
    return manifest


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


def _check_expected(study: Study, inputs: Mapping[str, str]) -> None:
    """Refuse data and code that are not what an export was made of.

    Raises:
        StudyError: Naming the first that differs.
    """
    for name, expected in study.expects.model_dump().items():
        found = inputs[f"digest of {name}"]
        if expected is not None and {*expected.split(" ")} != {*found.split(" ")}:
            raise StudyError(
                f"expects.{name}: the chain was exported from {expected!r}, found {found!r}: the "
                f"weights would be others; put back what it was made of, or remove [expects]"
            )


def choose_device(name: str) -> torch.device:
    """The device of a name; auto is CUDA where there is one."""
    check_device(name)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RunError("--device cuda: torch finds no CUDA device; use --device cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
