"""The hops of a run, with the engine that trains them: this process, or a pool of workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tasearch.config.study import Study
from tasearch.models import Models
from tasearch.runs.folder_check import SHARED
from tasearch.runs.store import Store
from tasearch.search.executor import HopExecutor
from tasearch.search.prepare import Prepared
from tasearch.train.archive import HopArchive
from tasearch.train.trainer import Trainer
from tasearch.train.workers.engine import Engine, InProcessEngine
from tasearch.train.workers.pool import Pool


def trained_hops(prepared: Prepared) -> HopExecutor:
    """Hops of a run whose lock is held, trained in this process or by workers."""
    run = prepared.run
    return executor_for(prepared, prepared.manifest.study, prepared.models, log=run.log)


def executor_for(
    prepared: Prepared,
    study: Study,
    models: Models,
    *,
    under: str = "",
    pool: Pool | None = None,
    log: Callable[..., None] = lambda event, **values: None,
) -> HopExecutor:
    """Hops of a study on a run's data, trained in this process or by workers.

    Args:
        prepared: The run.
        study: The run's study, or one that differs in its seed, its replicates and its teacher.
        models: The models of this study.
        under: Folder of the store within the run; empty for the run's own store.
        pool: The workers; if None, those of the run, or new ones where they are needed.
        log: Called with each start and end of a hop.
    """
    warnings: list[str] = []
    cluster = prepared.cluster is not None
    store = prepared.run.store(warnings.append, under, elsewhere=cluster)
    archive = _archive(prepared, study, models, store)

    def make_engine() -> Engine:
        if pool is None and trains_alone(prepared):
            return InProcessEngine(_make_trainer(prepared, study, models, store))
        workers = pool or _workers(prepared, study)
        modes, code = prepared.manifest.modes, prepared.code
        workers.set_up(study, prepared.data, store, modes, archive.separable, code)
        return workers

    return HopExecutor(
        archive=archive,
        make_engine=make_engine,
        teacher=models.teacher(),
        metric=prepared.manifest.metric,
        class_names=prepared.data.class_names,
        log=log,
        warnings=warnings,
        check=prepared.code.check,
    )


def stored_hops(prepared: Prepared) -> HopArchive:
    """The hops that a run has stored."""
    elsewhere = prepared.cluster is not None
    store = prepared.run.store(lambda message: None, elsewhere=elsewhere)
    return _archive(prepared, prepared.manifest.study, prepared.models, store)


def trains_alone(prepared: Prepared) -> bool:
    """Whether hops are trained in this process, and no worker is needed."""
    study, devices = prepared.manifest.study, prepared.workers
    alone = devices == ["cuda:0"] or (devices == ["cpu"] and study.training.threads == 1)
    here = prepared.cluster is None
    return alone and here and not study.own_functions  # else whatever they do ends a worker only


@contextlib.contextmanager
def shared_pool(prepared: Prepared) -> Iterator[Pool | None]:
    """Workers for several studies on a run's data; None where this process trains.

    Those of the run stay as they are; new ones end with the context.
    """
    pool = None if trains_alone(prepared) else _workers(prepared, prepared.manifest.study)
    if pool is None or pool is prepared.pool:
        yield pool
        return
    with contextlib.closing(pool):
        yield pool


def _workers(prepared: Prepared, study: Study) -> Pool:
    """Workers for a search: those that have prepared it, or new ones; on the cluster, if any."""
    if prepared.cluster is None:
        return prepared.pool or Pool(prepared.workers, study)
    run, start = prepared.run, prepared.cluster.start
    folder = run.path.absolute() / SHARED
    return Pool(prepared.workers, study, elsewhere=start, folder=folder, deliver=run.deliver)


def _archive(prepared: Prepared, study: Study, models: Models, store: Store) -> HopArchive:
    return HopArchive(
        study=study,
        data=prepared.data.fingerprint,
        family=models.family,
        device=prepared.device.type,
        modes=prepared.manifest.modes,
        store=store,
        unlabelled=prepared.data.unlabelled_digest,
    )


def _make_trainer(prepared: Prepared, study: Study, models: Models, store: Store) -> Trainer:
    return Trainer(
        study=study,
        models=models,
        data=prepared.data,
        store=store,
        device=prepared.device,
        modes=prepared.manifest.modes,
    )
