"""A search that is replayed on a table gives the result of the real search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tasearch
from benchmarks import baselines, table
from benchmarks.replay import Replayed, manifest_for, replay
from benchmarks.search_summary import cost_to
from benchmarks.table import Table
from tasearch.errors import RunError
from tasearch.pareto.hypervolume import hypervolume
from tasearch.runs.directory import RunDirectory
from tests.helpers.studies import PRUNES_OFTEN, tiny

pytestmark = pytest.mark.slow  # every chain of a space is trained first

STUDENT = {"epochs": 4, "loss": ["kd", "ce"]}
STRICT = {**PRUNES_OFTEN, "audit_fraction": 0.0}
WHOLE = {"sampler": "random", "pruner": "none", "trials": 100}


@pytest.fixture(scope="module")
def source(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of every chain in the space."""
    folder = tmp_path_factory.mktemp("table")
    study = tiny(student=STUDENT, search=WHOLE)
    return tasearch.run(study, runs_dir=folder, latency_from=finished.path).directory


@pytest.fixture(scope="module")
def made(source: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Table:
    file = tmp_path_factory.mktemp("tables") / "tiny.json.gz"
    table.save(table.build(source, {"commit": "none"}), file)
    return Table.load(file)


def replayed(made: Table, workers: int = 1, **search: Any) -> Replayed:
    keys = {**tiny().search.model_dump(), **search}
    return replay(made, manifest_for(made, keys, 0, {}), trials=keys["trials"], workers=workers)


def facts(trials: Any) -> list[Any]:
    """What is compared of trials, sorted by number, since they may end in another order."""
    return [
        (t.number, t.state, t.chain, t.recipe, t.accuracy, t.epochs, t.curve, t.reason, t.free)
        for t in sorted(trials, key=lambda t: t.number)
    ]


def test_epoch_that_was_no_rung_has_the_accuracy_of_the_next_rung(
    rerun: Any, tmp_path: Path
) -> None:
    study = tiny(
        teacher={"epochs": 5},
        assistants={"max": 0},
        student={"widths": [4], "epochs": 2},
        search={**WHOLE, "rungs": 2},
    )
    run = rerun(study, trials=1)
    made = Table(table.build(run.directory, {"commit": "none"}))
    (curve,) = made[made.teacher_hop].curves
    rungs = run.directory.store().record("hops", run.trials[0].hops[0].key)
    assert rungs is not None
    middle, end = rungs.curves[0]
    first = rungs.epochs[0]
    assert curve == pytest.approx([middle] * first + [end] * (5 - first))


@pytest.mark.parametrize(
    "search",
    [
        {"sampler": "ehvi"},
        {"sampler": "tpe", "trials": 14},
        {"sampler": "ehvi", **STRICT, "trials": 14},
    ],
)
def test_replay_equals_real_run(made: Table, rerun: Any, search: dict[str, Any]) -> None:
    run = rerun(tiny(student=STUDENT, search=search))
    found = replayed(made, **search)
    assert facts(found.trials) == facts(run.trials)
    given = made.cost(made.teacher_hop, made.manifest)
    taught = sum(len(t.hops) > 1 for t in run.trials if not t.free)
    assert found.steps[-1].paid + given == pytest.approx(run.costs.paid)
    assert found.steps[-1].unshared + taught * given == pytest.approx(run.costs.unshared)
    whole = hypervolume(run.front.members, run.manifest.reference_box)
    assert found.steps[-1].volume == pytest.approx(whole)


@pytest.mark.parametrize("search", [{}, STRICT])
def test_workers_change_only_the_time(made: Table, search: dict[str, Any]) -> None:
    one, four = (replayed(made, workers=n, trials=20, **search) for n in (1, 4))
    assert facts(one.trials) == facts(four.trials)
    assert 1.2 < one.steps[-1].seconds / four.steps[-1].seconds <= 4


def test_chain_with_hopeless_assistant_trains_no_further(made: Table) -> None:
    run = replayed(made, trials=100, **STRICT)
    cut = [t for t in run.trials if t.state == "pruned" and not t.curve]
    assert cut
    for trial in cut:
        trained = [use.trained for use in trial.hops]
        assert trained[-1] == 0
        assert trained == sorted(trained, reverse=True)
        last = next(use for use in reversed(trial.hops) if use.trained)
        assert last.accuracy < float(trial.reason.split("%")[0].split()[-1]) / 100 + 1e-4
    kept = replayed(made, trials=100, **{**STRICT, "noise_margin": 1000.0})
    assert all(t.state == "complete" for t in kept.trials)
    assert run.steps[-1].paid < kept.steps[-1].paid


def test_time_of_one_worker_is_sum_over_hops(made: Table) -> None:
    whole = replayed(made, pruner="none", trials=100).steps[-1].seconds
    assert whole == pytest.approx(sum(entry.seconds for entry in made.entries()))


def test_table_refuses_missing_chain(finished: tasearch.Run) -> None:
    with pytest.raises(RunError, match="did not train"):
        table.build(finished.directory, {})


def test_same_run_gives_same_bytes(source: RunDirectory, tmp_path: Path) -> None:
    for name in ("one", "two"):
        table.save(table.build(source, {}), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_whole_space_reaches_the_true_front_and_no_search_beats_it(made: Table) -> None:
    manifest = manifest_for(made, {}, 0, {})
    best = made.best_volume(manifest)
    volumes = [step.volume for step in replayed(made, pruner="none", trials=100).steps]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(best)
    plain = baselines.plain_optuna(made, manifest, 0, 60)
    assert plain.steps[-1].volume <= best * (1 + 1e-9)
    assert plain.steps[-1].unshared > plain.steps[-1].paid


def test_oracle_pays_least(made: Table) -> None:
    manifest = manifest_for(made, {}, 0, {})
    cost = baselines.oracle(made, manifest, 0.01)
    best, run = made.best_volume(manifest), replayed(made, pruner="none", trials=100)
    regrets = [1 - step.volume / best for step in run.steps]
    paid = {"paid": [step.paid for step in run.steps], "regrets": regrets}
    assert 0 < cost <= cost_to(paid, 0.01)


def test_mo_asha_promotes_best_third_by_layers() -> None:
    first = [(float(i), float(9 - i)) for i in range(3)]  # none dominates another
    assert baselines.promoted([(5.0, 5.0)])
    assert baselines.promoted([*first, (0.5, 0.5)])
    assert not baselines.promoted([*first, (9.0, 9.0)])
