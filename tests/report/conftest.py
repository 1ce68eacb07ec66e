"""Runs whose reports are tested."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

import tasearch
from tasearch.runs.verdict_file import write_confirmations
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan, Verdict
from tests.helpers.studies import tiny


@pytest.fixture(scope="package")
def budgeted(tmp_path_factory: pytest.TempPathFactory, finished: tasearch.Run) -> tasearch.Run:
    """A run with pruned students, models over its budget and students without a teacher."""
    limit = finished.manifest.measured[6].params
    study = tiny(
        budget={"max_params": limit},
        student={"loss": ["kd", "ce"]},
        search={"pruner": "skyline", "gain_quantile": 0.0, "noise_margin": 0.0, "trials": 18},
    )
    folder = tmp_path_factory.mktemp("odd")
    return tasearch.run(study, runs_dir=folder, latency_from=finished.path, workers=1)


@pytest.fixture
def confirmed(budgeted: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """A copy of that run with a verdict on one width: its assistants help."""
    path = tmp_path_factory.mktemp("confirmed") / budgeted.path.name
    shutil.copytree(budgeted.path, path)
    run = tasearch.Run.open(path)
    longer = next(c for c in run.front.candidates if len(c.chain) > 2)
    first = Arm(
        chain=longer.chain,
        recipe=longer.recipe,
        accuracies=(0.97, 0.99, None, 0.98),
        test=(0.8, 0.8, None, 0.8),
        flops=7.0,
    )
    direct = (longer.chain[0], longer.chain[-1])
    second = replace(first, chain=direct, accuracies=(0.87, 0.91, 0.86, 0.88))
    verdict = Verdict(
        answer="helps",
        settled=True,
        pairs=3,
        difference=0.093,
        low=0.05,
        high=0.136,
        p=0.012,
        needed=4,
    )
    own = Comparison(question="assistants", first=first, second=second, verdict=verdict)
    found = Confirmation(plan=LookPlan(), comparisons=(own,), finished=True)
    write_confirmations(path, [found])
    return run
