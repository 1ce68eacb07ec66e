"""Plain Optuna with the pruner that OptunaHub offers for studies of several objectives.

A study of several objectives refuses `Trial.report`. The package `pruners/multi_metric_pruner`
keeps what is reported in attributes of the trial instead, ranks all trials at each step by Pareto
dominance, and has one of Optuna's pruners decide by the ranks. Its code is not part of this
repository: it is read from a copy of OptunaHub's registry, or downloaded.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import ModuleType

import optuna
import optunahub

from benchmarks.baselines import HopCosts
from benchmarks.optional_methods import REGISTRY
from benchmarks.table import Table
from tasearch.chains.rungs import rung_epochs
from tasearch.runs.accuracies import mean_accuracy
from tasearch.runs.directory import Manifest
from tasearch.runs.journal import DIRECTIONS, METRICS
from tasearch.search.parameters import distributions

PACKAGE = "pruners/multi_metric_pruner"
GOALS = dict(zip(METRICS, DIRECTIONS, strict=True))


def load_package() -> ModuleType:
    """The package, from the copy of the registry that `REGISTRY` names, else from the network."""
    if registry := os.environ.get(REGISTRY):
        return optunahub.load_local_module(PACKAGE, registry_root=str(Path(registry, "package")))
    return optunahub.load_module(PACKAGE)


def version(package: ModuleType) -> str:
    """What tells one version of the package from another: a digest of its modules.

    Args:
        package: The package.
    """
    assert package.__file__ is not None
    folder, digest = Path(package.__file__).parent, hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        if "tests" not in file.relative_to(folder).parts:
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return f"sha256 {digest.hexdigest()[:16]} of its modules"


def pruned_optuna(table: Table, manifest: Manifest, seed: int, trials: int) -> HopCosts:
    """Search by Optuna's default sampler and `MultiMetricPruner` around Optuna's default pruner.

    The parameters are the plain ones, and chains repeat; all are within the budget. A student
    reports its accuracy, with its size and latency, at the rungs where tasearch would look at it.
    There are no baselines to begin with, and no free candidates.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        seed: Seed of the sampler.
        trials: Number of trials.
    """
    package, space = load_package(), table.space(manifest)
    known, rungs = distributions(space), manifest.study.search.rungs
    study = optuna.create_study(
        directions=DIRECTIONS,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=package.MultiMetricPruner(
            optuna.pruners.MedianPruner(), metric_directions=GOALS, joint=True
        ),
    )
    hop_costs = HopCosts(table, manifest)
    for _ in range(trials):
        trial = study.ask(known)
        chain = space.chain(trial.params)
        assert chain is not None
        hop, size = chain.hop(), manifest.measured[chain.student.width]
        assert hop.model.recipe is not None
        reporting, stopped = package.MultiMetricPrunerTrial(trial), None
        for epoch in rung_epochs(hop.model.recipe.epochs, rungs)[:-1]:
            accuracy = mean_accuracy(curve[epoch - 1] for curve in table[hop].curves)
            values = (accuracy, size.params, size.latency_ms)
            reporting.report(dict(zip(METRICS, values, strict=True)), epoch)
            if reporting.should_prune():
                stopped = epoch
                break
        hop_costs.train(chain, stopped)
        if stopped is None:
            study.tell(trial, (table.accuracy(chain), size.params, size.latency_ms))
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return hop_costs
