"""The search with OptunaHub's pruner, on a small table whose curves are made up."""

from __future__ import annotations

import os

import pytest

from benchmarks.baselines import HopCosts
from benchmarks.optional_methods import REGISTRY
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop
from tasearch.chains.rungs import rung_epochs
from tests.helpers.made_up_table import by_chance, made_up

pytest.importorskip("optunahub", reason="optunahub is not installed: pip install -e '.[baselines]'")
if not os.environ.get(REGISTRY):
    pytest.skip(f"{REGISTRY} does not name a copy of OptunaHub's registry", allow_module_level=True)

from benchmarks import multi_metric
from benchmarks.multi_metric import load_package, pruned_optuna, version

TRIALS = 40


def test_pruned_student_pays_until_its_rung_and_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, manifest = made_up(by_chance)
    trained: list[tuple[Chain, int | None, float]] = []  # with what was left to pay

    class Recorder(HopCosts):
        def train(self, chain: Chain, epochs: int | None = None) -> None:
            trained.append((chain, epochs, sum(self.missing(chain).values())))
            super().train(chain, epochs)

    monkeypatch.setattr(multi_metric, "HopCosts", Recorder)
    steps = multi_metric.pruned_optuna(table, manifest, 0, TRIALS).steps
    assert len(steps) == len(trained) == TRIALS
    assert all(epochs is None for _, epochs, _ in trained[:5])  # the default of MedianPruner
    assert any(epochs is not None for _, epochs, _ in trained)
    paid, finished = 0.0, set[Hop]()
    for step, (chain, epochs, left) in zip(steps, trained, strict=True):
        hop = chain.hop()
        assert hop.model.recipe is not None
        if epochs is None:
            assert step.finished == (hop,)
            assert step.paid == pytest.approx(paid + left)
        else:
            assert step.finished == ()
            assert epochs in rung_epochs(hop.model.recipe.epochs, manifest.study.search.rungs)[:-1]
            assert step.paid < paid + left or hop in finished
        paid = step.paid
        finished.update(step.finished)


def test_search_stays_within_the_budget_and_obeys_its_seed() -> None:
    table, manifest = made_up(by_chance)
    steps = pruned_optuna(table, manifest, 1, TRIALS).steps
    widths = {hop.model.width for step in steps for hop in step.finished}
    assert widths <= manifest.candidates.keys()
    assert pruned_optuna(table, manifest, 1, TRIALS).steps == steps
    assert pruned_optuna(table, manifest, 2, TRIALS).steps != steps


def test_no_larger_student_is_pruned_for_being_best() -> None:
    """A student on the front of its rung is never pruned: the wider, the more accurate."""
    sizes = {16: 0.98, 12: 0.9, 8: 0.8, 6: 0.6, 4: 0.5, 2: 0.3}

    def by_width(hop: Hop, _: int) -> float:
        return sizes[hop.model.width]

    table, manifest = made_up(by_width)
    assert all(step.finished for step in pruned_optuna(table, manifest, 0, TRIALS).steps)


def test_version_tells_the_code() -> None:
    package = load_package()
    assert version(package) == version(load_package())
    assert {"MultiMetricPruner", "MultiMetricPrunerTrial"} <= {*dir(package)}
