"""The hops of a run, with the engine that trains them: this process, or a pool of workers."""

from __future__ import annotations

from tasearch.runs.store import Store
from tasearch.search.executor import HopExecutor
from tasearch.search.prepare import Prepared
from tasearch.train.archive import HopArchive
from tasearch.train.trainer import Trainer
from tasearch.train.workers.engine import Engine, InProcessEngine
from tasearch.train.workers.pool import Pool


def trained_hops(prepared: Prepared) -> HopExecutor:
    """Hops of a run whose lock is held, trained in this process or by workers."""
    study, manifest = prepared.manifest.study, prepared.manifest
    warnings: list[str] = []
    store = prepared.run.store(warnings.append)
    archive = HopArchive(
        study=study,
        data=prepared.data.fingerprint,
        family=prepared.models.family,
        device=prepared.device.type,
        modes=manifest.modes,
        store=store,
    )

    def make_engine() -> Engine:
        devices, threads = prepared.workers, study.training.threads
        alone = devices == ["cuda:0"] or (devices == ["cpu"] and threads == 1)
        if alone and not study.own_functions:  # else whatever they do ends a worker only
            return InProcessEngine(_make_trainer(prepared, store))
        pool = prepared.pool or Pool(devices, study)
        path, code = prepared.run.path, prepared.code
        pool.set_up(prepared.data, path, manifest.modes, archive.separable, code)
        return pool

    return HopExecutor(
        archive=archive,
        make_engine=make_engine,
        teacher=prepared.models.teacher(),
        chance=1 / prepared.data.num_classes,
        log=prepared.run.log,
        warnings=warnings,
        check=prepared.code.check,
    )


def _make_trainer(prepared: Prepared, store: Store) -> Trainer:
    return Trainer(
        study=prepared.manifest.study,
        models=prepared.models,
        data=prepared.data,
        store=store,
        device=prepared.device,
        modes=prepared.manifest.modes,
    )
