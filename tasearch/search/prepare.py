"""From a study to everything that a search needs, checked before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tasearch.chains.space import Space
from tasearch.config import plugins
from tasearch.config.guard import contained
from tasearch.config.places import check_place
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.user_modules import UserCode
from tasearch.data import Dataset, Progress
from tasearch.models import Models
from tasearch.runs.directory import RunDirectory
from tasearch.runs.manifest import Manifest
from tasearch.runs.opening import find_run, run_at
from tasearch.search.acquisition import Acquisition
from tasearch.search.devices import Devices, take_devices
from tasearch.search.manifests import FoundManifest, find_manifest
from tasearch.search.preflight import Preflight
from tasearch.search.prices import price_of_teacher
from tasearch.search.profiler import Profiler
from tasearch.search.sampler import SAMPLERS, try_sampler
from tasearch.search.steps import Step, no_step
from tasearch.search.study_parts import StudyParts
from tasearch.search.teacher_look import look_at_teacher
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.processes import Process
from tasearch.train.workers.ray_cluster import RayCluster

Bring = Callable[[RunDirectory], Callable[[], None]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A search that can start.

    Args:
        run: The directory of the run.
        manifest: The manifest that the run has from now on.
        space: The chains within the budget.
        data: The training set and the validation set.
        models: The models of the study.
        device: The device of this process.
        workers: The device of each worker, such as "cuda:1" or "cpu".
        pool: The workers, if they have helped to prepare; else None.
        cluster: The cluster on whose nodes the workers train; None for this machine.
        code: The source of the user code that the study names, as it was imported.
        held: Releases the run's lock when it is closed.
        before: The manifest of the run so far, if its study has grown; else None.
        teacher: In one line, whether the teacher is trained or loaded.
        notices: What the user should know before the search starts.
    """

    run: RunDirectory
    manifest: Manifest
    space: Space
    data: Dataset
    models: Models
    device: torch.device
    workers: list[str]
    pool: Pool | None
    cluster: RayCluster | None
    code: UserCode
    teacher: str
    before: Manifest | None
    held: contextlib.ExitStack
    notices: tuple[str, ...] = ()

    @property
    def at_once(self) -> int:
        """The number of trainings that there is room for at the same time."""
        most = len(self.workers)
        return most if self.cluster is None else min(most, self.cluster.slots)

    def close(self) -> None:
        """End the workers, leave the cluster, and release the run."""
        if self.pool is not None:
            self.pool.close()
        if self.cluster is not None:
            self.cluster.close()
        self.held.close()


def prepare(
    study: Study,
    options: RunOptions,
    *,
    processes: Sequence[Process] = (),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
    step: Step = no_step,
    wait: Callable[[str], None] = lambda line: None,
    bring: Bring = lambda run: lambda: None,
) -> Prepared:
    """Load, check and measure; nothing is written.

    Args:
        study: The study; a relative root is taken from the current folder.
        options: How it is run.
        processes: Worker processes that have been started already; they are ended if they are not
            needed, or if something is wrong.
        progress: Called with (done, total) while images are decoded.
        say: Called with the line about the teacher, before anything is measured or trained.
        step: Called with the name of each step when it begins.
        wait: Called with a line before it is waited for the end of another driver.
        bring: Puts data and code into the folder of the run, and returns a function that takes them
            back, which is called if something is wrong.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
    """
    study, options, run = _absolute(study, options, wait)
    plugins.new_run(study.training.stall_minutes)
    with contained(), contextlib.ExitStack() as undo:
        for process in processes:
            undo.callback(process.end)
        source = _latency_source(options)
        held = undo.enter_context(contextlib.ExitStack())
        held.enter_context(run.claimed())
        undo.callback(bring(run))
        devices = undo.enter_context(contextlib.closing(take_devices(study, options, processes)))
        preflight, notices = Preflight(study, devices.pool), list[str]()
        parts = StudyParts.load(_with_pruner(run, study), preflight, progress, step, notices.append)
        inputs = parts.digests(devices.device.type)
        teacher = _tell_teacher(run, parts, devices, say, notices)
        found = find_manifest(run, inputs, _profiler(parts, devices, source, notices.append, step))
        _check_sampler(parts, preflight, found)
        prepared = Prepared(
            run=run,
            data=parts.data,
            models=parts.models,
            code=parts.code(),
            teacher=teacher,
            notices=(*notices, *price_of_teacher(found.manifest)),
            held=held.pop_all(),
            **vars(found),  # manifest, space, before
            **vars(devices),  # device, workers, pool, cluster
        )
        undo.pop_all()
    return prepared


def _absolute(
    study: Study, options: RunOptions, wait: Callable[[str], None]
) -> tuple[Study, RunOptions, RunDirectory]:
    """A study, its options and its run by absolute paths: user code may change the folder."""
    root, options = str(Path(study.root).resolve()), options.absolute()
    study = study.model_copy(update={"root": root})
    run = run_at(options.run_place(study))
    run.tell_wait = wait
    return study, options, run


def _with_pruner(run: RunDirectory, study: Study) -> Study:
    """A study that names no pruner keeps that of its run: the default was another one before."""
    search = study.search
    if not run.exists or "pruner" in search.model_fields_set:
        return study
    kept = search.model_copy(update={"pruner": run.read().study.search.pruner})
    return study.model_copy(update={"search": kept})


def _latency_source(options: RunOptions) -> RunDirectory | None:
    """The run that lends its measurements, if there is one."""
    if options.latency_from is None:
        return None
    lends = check_place(options.latency_from, "latency_from")
    return find_run(lends, options.runs_place).absolute()


def _tell_teacher(
    run: RunDirectory,
    parts: StudyParts,
    devices: Devices,
    say: Callable[[str], None],
    notices: list[str],
) -> str:
    """Tell the line about the teacher; with its accuracy, if it is loaded and the run is new."""
    words = parts.models.describe_teacher()
    if not run.exists and not run.journal.exists():
        look = look_at_teacher(parts.models, parts.data, devices.device, parts.score)
        words += look.words
        notices += look.notices
    say(words)
    return words


def _profiler(
    parts: StudyParts,
    devices: Devices,
    latency_source: RunDirectory | None,
    warn: Callable[[str], None],
    step: Step,
) -> Profiler:
    return Profiler(
        study=parts.study,
        models=parts.models,
        data=parts.data,
        device=devices.device,
        pool=devices.pool,
        latency_source=latency_source,
        warn=warn,
        step=step,
        bounds=parts.bounds,
    )


def _check_sampler(parts: StudyParts, preflight: Preflight, found: FoundManifest) -> None:
    """Ask a user's own sampler for a chain, in a worker first."""
    if parts.study.search.sampler in SAMPLERS:
        return
    preflight.propose(parts.data, found.manifest.measured)
    acquisition = Acquisition(found.manifest, found.space)
    try_sampler(found.space, parts.make_sampler(acquisition))
