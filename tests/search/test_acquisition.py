"""The acquisition function: costs against what is paid, no chain twice, and the limits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

import tasearch
from tasearch.chains.hop import ModelSpec
from tasearch.chains.keys import canonical_json
from tasearch.chains.space import Space
from tasearch.runs.directory import Manifest
from tasearch.runs.optuna_adapter import id_of
from tasearch.runs.records import training_flops
from tasearch.search import candidate_pool
from tasearch.search.accuracy_regression import AccuracyRegression
from tasearch.search.acquisition import Acquisition
from tasearch.search.chain_space import make_space
from tasearch.search.encoding import ChainEncoder
from tasearch.search.limits import Limits
from tasearch.search.trials import Trials
from tests.helpers.studies import tiny


@pytest.fixture(scope="module")
def manifest(finished: tasearch.Run) -> Manifest:
    study = tiny(student={"loss": ["kd", "ce"]}, assistants={"guidance": ["serial", "dense"]})
    return replace(finished.manifest, study=study)


def space_of(manifest: Manifest) -> Space:
    study = manifest.study
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    return make_space(study, teacher, manifest.measured)


class Played:
    """A search in which each hop is trained as soon as it starts, with accuracies given by hand."""

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
        self.trials.tell(id_of(trial), attrs, values, state)
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


def test_acquisition_proposes_every_chain_once(played: Played) -> None:
    played.start()
    proposed = []
    while (prospect := played.acquisition.best()) is not None:
        proposed.append(canonical_json(prospect.choices))
        played.run(prospect.choices, 0.6)
    assert len(proposed) == len(set(proposed))
    assert len(proposed) + len(played.space.baselines()) == played.space.size


def test_cost_of_a_chain_equals_its_payment(played: Played) -> None:
    played.start()
    for _ in range(6):
        before, prospect = played.acquisition.paid, played.acquisition.best()
        assert prospect is not None
        played.run(prospect.choices, 0.6)
        assert played.acquisition.paid - before == pytest.approx(prospect.cost)


def test_hops_of_running_trials_cost_nothing_more(played: Played) -> None:
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


def test_acquisition_ignores_the_way_it_caught_up(played: Played) -> None:
    played.start()
    for _ in range(4):
        prospect = played.acquisition.best()
        assert prospect is not None
        played.run(prospect.choices, 0.55)
    late = Acquisition(played.manifest, played.space)
    late.catch_up(played.trials.all(), played.seen)
    assert late.best() == played.acquisition.best()
    assert late.expected_growth() == played.acquisition.expected_growth()


def test_first_chains_are_direct_and_of_several_students(played: Played) -> None:
    """Nothing is known yet: what runs makes other students and recipes worth more than it."""
    widths = []
    for _ in range(3):
        played.catch_up()
        prospect = played.acquisition.best()
        assert prospect is not None
        assert prospect.choices["assistants"] == 0
        widths.append(prospect.choices["student"])
        played.begin(prospect.choices)
    assert widths[0] == min(widths)
    assert len({*widths}) > 1


def test_acquisition_begins_with_one_assistant_for_the_smallest_student(played: Played) -> None:
    played.start()
    prospect = played.acquisition.best()
    assert prospect is not None
    assert prospect.choices["assistants"] == 1
    assert prospect.choices["student"] == 2


def test_acquisition_learns_which_recipe_is_better(played: Played) -> None:
    """Where one recipe wins for all students, the next chain has it."""
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


def test_candidate_pool_samples_a_large_space(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_pool, "MAX_CHAINS", 20)
    acquisition = Acquisition(played.manifest, played.space)
    assert len(acquisition._candidate_pool.choices) == 20 < played.space.size
    known = {canonical_json(played.space.choices(chain)) for chain in played.space.baselines()}
    assert known <= {*acquisition._candidate_pool.index}


def test_features_distinguish_chains(manifest: Manifest) -> None:
    space = space_of(manifest)
    features = ChainEncoder(space, manifest.measured, [*manifest.candidates])
    chains = [*space]
    encoded = {json.dumps(features.encode(chain)) for chain in chains}
    assert len(encoded) == len(chains)
    assert all(np.isfinite(json.loads(text)).all() for text in encoded)


def test_growth_and_proposal_share_one_regression(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing new is known, it is fitted once."""
    played.start()
    fits: list[int] = []
    fit = AccuracyRegression.fit
    monkeypatch.setattr(
        AccuracyRegression, "fit", lambda own, features: fits.append(1) or fit(own, features)
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


def test_limits_end_a_search_by_cost_and_by_improvement(played: Played) -> None:
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


def test_limits_count_hours_of_earlier_searches(played: Played) -> None:
    study = played.manifest.study
    section = study.search.model_copy(update={"max_hours": 2.0})
    manifest = replace(played.manifest, study=study.model_copy(update={"search": section}))
    now = 0.0
    limits = Limits(manifest, played.acquisition, spent=3600.0, clock=lambda: now)
    assert not limits.reached([], 0)
    now = 3600.0
    assert "max_hours" in limits.reached([], 0)
