"""Metrics that are no percentage: the negative log-likelihood, and a cost of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from torch import Tensor

import tasearch
from tasearch.data import load_data, load_test
from tasearch.errors import RunError
from tasearch.report.best_text import card_rows
from tasearch.report.info import report_info
from tasearch.report.page import render_page
from tests.helpers.studies import tiny

pytestmark = pytest.mark.slow


def cost(logits: Tensor, labels: Tensor) -> float:
    """Minus the mean cost of mistakes; a nine that is missed costs five times as much."""
    wrong = logits.argmax(1) != labels
    return -float((wrong * (1.0 + 4.0 * (labels == 9))).double().mean())


def test_likelihood_is_less_is_better_for_people_only(tmp_path: Path) -> None:
    study = tiny(objective={"metric": "nll"}, search={"trials": 4, "n_startup_trials": 2})
    run = tasearch.run(study, runs_dir=tmp_path)
    best, data = run.best(), load_data(run.manifest.study)
    assert best.accuracy == max(c.accuracy for c in run.front.members) < 0
    found = best.model(torch.tensor(data.validation.x)).double().softmax(1).detach().numpy()
    assert -best.accuracy == pytest.approx(log_loss(data.validation.y, found), rel=1e-4)
    row = dict(card_rows(run, best, tasearch.Budget()))["metric"]
    assert row.startswith(f"negative log-likelihood {-best.accuracy:.4g} on the validation part")
    page = render_page(report_info(run))
    assert "negative log-likelihood on the validation part, nats" in page
    tasearch.export(run, tmp_path / "winner")
    numbers = json.loads((tmp_path / "winner" / "metrics.json").read_text())
    assert numbers["metric"] == "nll"
    assert numbers["test_accuracy"] == pytest.approx(-numbers["test"]["nll"])
    low, high = numbers["test_interval"]
    assert low < numbers["test_accuracy"] < high < 0
    other = study.model_copy(update={"objective": tiny(objective={"metric": "auc"}).objective})
    with pytest.raises(RunError, match=r'different study: objective.metric was "nll", is "auc"'):
        tasearch.run(other, runs_dir=tmp_path)


def test_own_metric_from_python_is_what_the_search_maximizes(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    run = tasearch.search(
        x.astype(np.float32),
        y,
        build="mlp",
        widths=[16, 8, 4],
        metric=cost,
        epochs=3,
        trials=3,
        runs_dir=tmp_path,
        progress=False,
    )
    data, best = load_data(run.manifest.study), run.best()
    predicted = best.model(torch.tensor(data.validation.x))
    known = cost(predicted, torch.tensor(data.validation.y))
    assert best.accuracy == pytest.approx(known, abs=1e-4)
    assert run.metric.words == "cost" and run.metric.best == 0.0
    assert run.manifest.reference_box.accuracy == run.metric.guess < best.accuracy
    tasearch.export(run, tmp_path / "winner")
    numbers = json.loads((tmp_path / "winner" / "metrics.json").read_text())
    test = load_test(run.manifest.study)
    logits = best.model(torch.tensor(test.x))
    assert numbers["test"]["score"] == pytest.approx(cost(logits, torch.tensor(test.y)), abs=1e-4)
