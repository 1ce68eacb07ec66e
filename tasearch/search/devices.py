"""The devices that train a study, and the workers on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.errors import RunError, option
from tasearch.train.cuda import set_up_cuda
from tasearch.train.workers.engine import worker_devices
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.processes import Process
from tasearch.train.workers.ray_cluster import RayCluster, Resources


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Where a study is prepared and trained.

    Args:
        device: The device of this process.
        workers: The device of each worker, such as "cuda:1" or "cpu".
        pool: The workers, if they are needed for the preparation already.
        cluster: The cluster on whose nodes the workers train; None for this machine.
    """

    device: torch.device
    workers: list[str]
    pool: Pool | None
    cluster: RayCluster | None = None

    def close(self) -> None:
        """End the workers, and leave the cluster."""
        if self.pool is not None:
            self.pool.close()
        if self.cluster is not None:
            self.cluster.close()


def take_devices(study: Study, options: RunOptions, processes: Sequence[Process]) -> Devices:
    """Set up the device of this process, and start the workers that a preparation needs.

    Args:
        study: The study.
        options: Its options, which choose the device and the number of workers.
        processes: Worker processes that have been started already; those that are not needed are
            ended.

    Raises:
        RunError: There is no such device, or no such cluster.
    """
    device = choose_device(options.device)
    if device.type == "cuda":
        set_up_cuda(device, deterministic=study.training.deterministic)
    if options.engine == "ray":
        return _on_cluster(study, options, device, processes)
    workers = worker_devices(str(options.workers), device, study.training.threads)
    workers = workers[: study.search.max_concurrent]
    if len(workers) > 1 or study.own_functions:  # user code is called in a worker first
        return Devices(device=device, workers=workers, pool=Pool(workers, study, processes))
    for process in processes:  # the search decides later whether this process trains by itself
        process.end()
    return Devices(device=device, workers=workers, pool=None)


def _on_cluster(
    study: Study, options: RunOptions, device: torch.device, processes: Sequence[Process]
) -> Devices:
    """Connect to a cluster; one worker on this machine runs the user's code before, if any."""
    resources = Resources.of(study, device.type)
    cluster = RayCluster(options.address, resources, study.training.threads)
    most = study.search.max_concurrent
    count = min(most, most if options.workers == "auto" else int(options.workers))
    first = f"{device.type}:0" if device.type == "cuda" else device.type
    pool = Pool([first], study, processes) if study.own_functions else None
    for process in () if pool else processes:
        process.end()
    return Devices(device=device, workers=[first] * count, pool=pool, cluster=cluster)


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA if there is a CUDA device.

    Args:
        name: "auto", "cpu" or "cuda".

    Raises:
        RunError: CUDA is asked for, and there is no CUDA device.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RunError(f'{option("device")}: torch finds no CUDA device for "cuda"; use "cpu"')
    return torch.device("cuda" if available and name != "cpu" else "cpu")
