"""Search methods that need optional packages, and whether these are there.

`pip install -e '.[baselines]'` installs them. Nothing here imports them before it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.baselines import HopCosts
from benchmarks.table import Table
from tasearch.runs.directory import Manifest

REGISTRY = "OPTUNAHUB_REGISTRY"  # environment variable: folder of a copy of the registry

Versions = dict[str, str]


def nehvi(table: Table, manifest: Manifest, seed: int, trials: int) -> HopCosts:
    """See `benchmarks.nehvi`."""
    from benchmarks import nehvi

    return nehvi.nehvi(table, manifest, seed, trials)


def pruned_optuna(table: Table, manifest: Manifest, seed: int, trials: int) -> HopCosts:
    """See `benchmarks.multi_metric`."""
    from benchmarks import multi_metric

    return multi_metric.pruned_optuna(table, manifest, seed, trials)


def botorch_versions() -> Versions:
    """Versions of BoTorch and of the package that has its Gaussian processes."""
    import botorch
    import gpytorch

    return {"botorch": botorch.__version__, "gpytorch": gpytorch.__version__}


def pruner_versions() -> Versions:
    """Version of optunahub, and of the pruner that it loads."""
    import optunahub

    from benchmarks import multi_metric

    pruner = multi_metric.version(multi_metric.load_package())
    return {"optunahub": optunahub.__version__, multi_metric.PACKAGE: pruner}


def check(needs: Mapping[str, Callable[[], Versions]]) -> tuple[Versions, dict[str, str]]:
    """Which methods can run.

    Args:
        needs: By method, a function that gives the versions of its packages, and fails where they
            are not there.

    Returns:
        Versions of the packages that are there; and the reason why a method cannot run, by method.
    """
    versions: Versions = {}
    skipped = {}
    for method, find in needs.items():
        try:
            versions |= find()
        except Exception as error:  # a download may fail in any way
            reason = " ".join(str(error).split()) or type(error).__name__
            skipped[method] = f"{reason} (see benchmarks/README.md, Optional packages)"
    return versions, skipped
