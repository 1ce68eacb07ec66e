"""The acquisition function: gains against sampling, costs against the bill, no chain twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasearch
from tasearch.chains.hop import ModelSpec
from tasearch.chains.keys import canonical_json
from tasearch.chains.space import Space
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.expected_improvement import expected_improvement
from tasearch.pareto.hypervolume import HypervolumeGrid, hypervolume
from tasearch.pareto.measurement import Measurement
from tasearch.pareto.reference import Reference
from tasearch.runs.directory import Manifest
from tasearch.runs.records import training_flops
from tasearch.search import candidate_pool as candidate_pool
from tasearch.search.accuracy_regression import AccuracyRegression
from tasearch.search.acquisition import Acquisition
from tasearch.search.chain_space import make_space
from tasearch.search.encoding import ChainEncoder
from tasearch.search.limits import Limits
from tasearch.search.trials import Trials
from tests.helpers.studies import tiny

SIZES = {  # params and latency in no common order
    width: Measurement(
        width=width, params=params, bytes=4, flops=params, latency_ms=ms, latency_p95_ms=ms
    )
    for width, params, ms in ((16, 160, 2.0), (8, 80, 3.0), (4, 40, 1.0), (2, 20, 1.0))
}
BOX = Reference.from_measurements(SIZES.values(), classes=10)


def student(width: int, accuracy: float) -> Candidate:
    size = SIZES[width]
    return Candidate(
        trial=0,
        chain=(32, width),
        recipe={},
        accuracy=accuracy,
        params=size.params,
        bytes=size.bytes,
        latency_ms=size.latency_ms,
    )


found = st.lists(st.tuples(st.sampled_from([*SIZES]), st.floats(0, 1)), max_size=8)


def stairs_of(students: list[tuple[int, float]]) -> HypervolumeGrid:
    grid = HypervolumeGrid(SIZES, BOX)
    for width, accuracy in students:
        grid.add(width, accuracy)
    return grid


@given(found)
def test_the_stairs_have_the_hypervolume(students: list[tuple[int, float]]) -> None:
    whole = hypervolume([student(*s) for s in students], BOX)
    assert stairs_of(students).volume == pytest.approx(whole, abs=1e-12)


@given(found, st.sampled_from([*SIZES]), st.floats(0, 1))
def test_a_certain_gain_is_the_rise_of_the_hypervolume(
    students: list[tuple[int, float]], width: int, accuracy: float
) -> None:
    grid = stairs_of(students)
    (gain,) = expected_improvement(grid, np.array([width]), np.array([accuracy]), np.array([1e-9]))
    rise = stairs_of([*students, (width, accuracy)]).volume - grid.volume
    assert gain == pytest.approx(rise, abs=1e-8)


def test_an_uncertain_gain_is_the_mean_over_samples() -> None:
    students = [(16, 0.9), (4, 0.7), (2, 0.65)]
    grid, rng = stairs_of(students), np.random.default_rng(0)
    for width, mean in ((16, 0.88), (8, 0.8), (4, 0.72), (2, 0.5)):
        (gain,) = expected_improvement(grid, np.array([width]), np.array([mean]), np.array([0.05]))
        sampled = np.clip(rng.normal(mean, 0.05, 4000), BOX.accuracy, None)
        rises = [stairs_of([*students, (width, a)]).volume - grid.volume for a in sampled]
        assert gain == pytest.approx(np.mean(rises), abs=5 * np.std(rises) / 4000**0.5)


@pytest.fixture(scope="module")
def manifest(finished: tasearch.Run) -> Manifest:
    study = tiny(student={"loss": ["kd", "ce"]}, assistants={"guidance": ["serial", "dense"]})
    return replace(finished.manifest, study=study)


def space_of(manifest: Manifest) -> Space:
    study = manifest.study
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    return make_space(study, teacher, manifest.measured)


class Played:
    """A search whose hops are trained at once, told by hand."""

    def __init__(self, manifest: Manifest, space: Space) -> None:
        self.manifest, self.space = manifest, space
        self.trials = Trials(
            optuna.create_study(directions=["maximize", "minimize", "minimize"]), space
        )
        self.acquisition = Acquisition(manifest, space)
        self.seen = 0

    def begin(self, choices: Any) -> tuple[Any, Any]:
        return self.trials.ask(choices)

    def end(self, trial: Any, chain: Any, accuracy: float) -> None:
        uses = [
            {
                "key": hop.label,
                "width": hop.model.width,
                "epochs": hop.model.recipe.epochs,
                "trained": hop.model.recipe.epochs,
                "accuracy": accuracy,
            }
            for hop in chain.hops()
        ]
        attrs = {"curve": [accuracy / 2, accuracy], "hops": uses}
        values = (accuracy, 1.0, 1.0)
        state = optuna.trial.TrialState.COMPLETE
        self.trials.tell(trial._trial_id, attrs, values, state)
        self.seen = trial.number + 1

    def run(self, choices: Any, accuracy: float) -> None:
        self.end(*self.begin(choices), accuracy)
        self.catch_up()

    def catch_up(self) -> None:
        self.acquisition.catch_up(self.trials.all(), self.seen)

    def start(self) -> None:
        for chain in self.space.baselines():
            self.run(self.space.choices(chain), 0.5 + chain.student.width / 50)


@pytest.fixture
def played(manifest: Manifest) -> Played:
    return Played(manifest, space_of(manifest))


def test_every_chain_is_proposed_once(played: Played) -> None:
    played.start()
    proposed = []
    while (prospect := played.acquisition.best()) is not None:
        proposed.append(canonical_json(prospect.choices))
        played.run(prospect.choices, 0.6)
    assert len(proposed) == len(set(proposed))
    assert len(proposed) + len(played.space.baselines()) == played.space.size


def test_the_marginal_cost_is_what_is_paid(played: Played) -> None:
    played.start()
    for _ in range(6):
        before, prospect = played.acquisition.paid, played.acquisition.best()
        assert prospect is not None
        played.run(prospect.choices, 0.6)
        assert played.acquisition.paid - before == pytest.approx(prospect.cost)


def test_hops_in_flight_are_paid_for_and_cost_nothing_more(played: Played) -> None:
    played.start()
    chain = next(c for c in played.space if len(c.assistants) == 2 and c.student.width == 4)
    before = played.acquisition.paid
    played.begin(played.space.choices(chain))
    played.catch_up()
    manifest = played.manifest
    whole = sum(
        training_flops(p.width, p.recipe.epochs, manifest.trained_samples, manifest.measured)
        for p in chain.models[1:]
        if p.recipe
    )
    assert played.acquisition.paid - before == pytest.approx(whole)
    other = next(
        c
        for c in played.space
        if c.assistants == chain.assistants and c.student.width == 2 and c.student.distilled
    )
    left, _, costs = played.acquisition._ranked()
    index = played.acquisition._candidate_pool.index[canonical_json(played.space.choices(other))]
    own = other.student.recipe
    assert own is not None
    only = training_flops(2, own.epochs, manifest.trained_samples, manifest.measured)
    assert costs[[*left].index(index)] == pytest.approx(only)


def test_it_knows_the_same_however_it_caught_up(played: Played) -> None:
    played.start()
    for _ in range(4):
        prospect = played.acquisition.best()
        assert prospect is not None
        played.run(prospect.choices, 0.55)
    late = Acquisition(played.manifest, played.space)
    late.catch_up(played.trials.all(), played.seen)
    assert late.best() == played.acquisition.best()
    assert late.expected_growth() == played.acquisition.expected_growth()


def test_the_start_is_half_way_for_the_smallest_student(played: Played) -> None:
    played.start()
    prospect = played.acquisition.best()
    assert prospect is not None
    assert prospect.choices["assistants"] == 1
    assert prospect.choices["student"] == 2


def test_a_better_family_of_chains_is_learned(played: Played) -> None:
    """Where one recipe wins for all, the chain that follows has it."""
    for chain in played.space.baselines():
        recipe = chain.student.recipe
        assert recipe is not None
        better = 0.2 if recipe.loss == "kd" else 0.0
        played.run(played.space.choices(chain), 0.5 + better + chain.student.width / 50)
    played.run(played.acquisition.best().choices, 0.75)  # type: ignore[union-attr]
    prospect = played.acquisition.best()
    assert prospect is not None
    assert prospect.choices["student_loss"] == "kd"
    assert prospect.gain > 0


def test_of_a_large_space_some_are_looked_at(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_pool, "MAX_CHAINS", 20)
    acquisition = Acquisition(played.manifest, played.space)
    assert len(acquisition._candidate_pool.choices) == 20 < played.space.size
    known = {canonical_json(played.space.choices(chain)) for chain in played.space.baselines()}
    assert known <= {*acquisition._candidate_pool.index}


def test_features_tell_chains_apart(manifest: Manifest) -> None:
    space = space_of(manifest)
    features = ChainEncoder(space, manifest.measured, [*manifest.candidates])
    chains = [*space]
    rows = {json.dumps(features.encode(chain)) for chain in chains}
    assert len(rows) == len(chains)
    assert all(np.isfinite(json.loads(row)).all() for row in rows)


def test_a_promise_and_a_proposal_share_one_forecast(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing new is known."""
    played.start()
    fits: list[int] = []
    fit = AccuracyRegression.fit
    monkeypatch.setattr(
        AccuracyRegression, "fit", lambda regression: fits.append(1) or fit(regression)
    )
    for count in (1, 2, 3):
        prospect = played.acquisition.best()
        assert prospect is not None
        played.run(prospect.choices, 0.6)
        fits.clear()
        played.catch_up()
        found = played.acquisition.expected_growth(), played.acquisition.best()
        assert len(fits) == 1, count
        late = Acquisition(played.manifest, played.space)
        late.catch_up(played.trials.all(), played.seen)
        assert found == (late.expected_growth(), late.best())


def test_cost_and_patience_end_a_search(played: Played) -> None:
    def limits(**search: Any) -> Limits:
        study = played.manifest.study
        section = study.search.model_copy(update=search)
        changed = study.model_copy(update={"search": section})
        return Limits(replace(played.manifest, study=changed), played.acquisition)

    played.start()
    played.run(played.acquisition.best().choices, 0.6)  # type: ignore[union-attr]
    paid, expected_growth = played.acquisition.paid, played.acquisition.expected_growth()
    assert expected_growth is not None and expected_growth > 0
    trials = played.trials.all()
    assert not limits().reached(trials, played.seen)
    assert not limits(max_flops=paid * 1.01).reached(trials, played.seen)
    assert "max_flops" in limits(max_flops=paid * 0.99).reached(trials, played.seen)
    assert not limits(min_improvement=expected_growth * 0.99).reached(trials, played.seen)
    assert "min_improvement" in limits(min_improvement=expected_growth * 1.01).reached(
        trials, played.seen
    )


def test_hours_end_a_search_those_of_earlier_ones_included(played: Played) -> None:
    study = played.manifest.study
    section = study.search.model_copy(update={"max_hours": 2.0})
    manifest = replace(played.manifest, study=study.model_copy(update={"search": section}))
    now = 0.0
    limits = Limits(manifest, played.acquisition, spent=3600.0, clock=lambda: now)
    assert not limits.reached([], 0)
    now = 3600.0
    assert "max_hours" in limits.reached([], 0)
