"""Assistants that are candidates themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

import tasearch
from benchmarks.replay import manifest_for
from benchmarks.replay import replay as replay_table
from benchmarks.table import Table
from tasearch.runs.events import SearchFinished
from tasearch.runs.records import costs
from tasearch.runs.store import Store
from tasearch.search.sampler import SAMPLERS
from tests.helpers import replay
from tests.helpers.replay import Replay
from tests.helpers.runs import contents, events_of, facts, interrupt_everywhere, proposed
from tests.helpers.studies import tiny

ALIKE: dict[str, Any] = {  # an assistant is trained as a student is, so its chain is in the space
    "assistants": {"widths": [12, 8, 6], "epochs": 4},
    "student": {"widths": [8, 6, 4, 2]},
}
STRICT = {**replay.STRICT, "audit_fraction": 0.0}


def claims(run: tasearch.Run) -> dict[str, tuple[int, int]]:
    """Of each assistant's hop: index of the proposal that asked for it first, and its width."""
    found: dict[str, tuple[int, int]] = {}
    for index, trial in enumerate(proposed(run)):
        for use in trial.hops[:-1]:
            if use.width != run.manifest.study.teacher.width:
                found.setdefault(use.key, (index, use.width))
    return found


@pytest.mark.parametrize(
    ("sections", "max_concurrent"),
    [
        ({}, 1),
        *(
            pytest.param(sections, max_concurrent, marks=pytest.mark.slow)
            for sections in (ALIKE, {**ALIKE, "search": STRICT}, {})
            for max_concurrent in (1, 8)
        ),
    ],
)
def test_each_assistant_becomes_a_free_trial(
    rerun: Any, sections: dict[str, Any], max_concurrent: int
) -> None:
    count = 30 if sections else 8
    search = {**sections.get("search", {}), "trials": count, "max_concurrent": max_concurrent}
    run = rerun(tiny(**{**sections, "search": search}))
    store, trials = Store(run.path), run.trials
    free = [t for t in trials if t.free]
    assert free
    own = {t.hops[-1].key: t for t in free}
    assert len(own) == len(free)
    index = {t.number: i for i, t in enumerate(proposed(run))}
    students = {t.hops[-1].key: t for t in proposed(run)}
    for key, (claim, width) in claims(run).items():
        student = students.get(key)
        if key not in own:
            assert student is not None
            assert student.state == "complete"
            continue
        if student is not None and student.state == "complete":  # not over when it was claimed
            assert index[student.number] > claim - max_concurrent
        trial = own[key]
        assert trial.chain[-1] == width
        before = next(t for t in reversed(trials[: trial.number]) if not t.free)
        assert before.number == [*index][claim]
        assert trial.chain == before.chain[: len(trial.chain)]
        assert trial.hops == before.hops[: len(trial.hops)]
        assert trial.recipe is not None
        assert before.recipe is not None
        assert trial.recipe["student"]["epochs"] == before.recipe["assistants"]["epochs"]
        assert trial.audit is None
        if trial.state == "pruned":  # with its chain, which cannot matter
            assert before.state == "pruned"
            assert trial.reason == before.reason
            assert trial.hops[-1].trained < trial.hops[-1].epochs
            continue
        record = store.record("hops", key)
        assert record is not None
        assert trial.state == "complete"
        assert (trial.accuracy, trial.curve) == (record.curve[-1], record.curve)
    assert {*own} <= {*claims(run)}
    assert sections.get("search") or {t.state for t in free} == {"complete"}


def test_free_trial_costs_nothing(finished: tasearch.Run) -> None:
    manifest = finished.manifest
    without = costs(proposed(finished), manifest.trained_samples, manifest.measured)
    assert any(t.free for t in finished.trials)
    assert finished.costs == without


@pytest.mark.slow
def test_search_does_not_propose_the_chain_of_a_free_trial(rerun: Any, tmp_path: Path) -> None:
    """The first proposal after the direct chains has two assistants; the others are random."""
    (tmp_path / "own.py").write_text(
        "import optuna\n"
        "class Sampler(optuna.samplers.RandomSampler):\n"
        "    def sample_relative(self, study, trial, search_space):\n"
        "        return {'assistants': 2, 'assistant_1': 12, 'assistant_2': 8, 'student': 2}\n"
        "def sampler(seed):\n"
        "    return Sampler(seed=seed)\n"
    )
    study = tiny(**ALIKE, search={"sampler": "own:sampler", "pruner": "none", "max_concurrent": 1})
    events: list[Any] = []
    run = rerun(study.model_copy(update={"root": str(tmp_path)}), trials=50, on_event=events.append)
    assert [(t.chain, t.free) for t in run.trials[4:7]] == [
        ((16, 12, 8, 2), False),
        ((16, 12), True),
        ((16, 12, 8), True),
    ]
    within = [t.chain for t in run.trials if t.chain != (16, 12)]
    assert len(within) == len(set(within)) == run.manifest.space == 20
    done = len(proposed(run))
    assert done < 20
    assert events[-1] == SearchFinished(reason="all 20 chains have been tried", done=done)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(run.path / "journal.log"))
    )
    trials = optuna.load_study(study_name="tiny", storage=storage).trials
    assert trials[5].params == {}
    assert trials[6].params == {"assistants": 1, "assistant_1": 12, "assistant_2": 0, "student": 8}


@pytest.mark.slow
def test_assistant_over_the_budget_becomes_no_trial(finished: tasearch.Run, rerun: Any) -> None:
    limit = finished.manifest.measured[8].params
    run = rerun(tiny(budget={"max_params": limit}), trials=18)
    assert {width for _, width in claims(run).values()} == {12, 8, 6}
    assert {t.chain[-1] for t in run.trials if t.free} == {8, 6}
    assert {t.hops[-1].key for t in run.trials if t.free} == {
        key for key, (_, width) in claims(run).items() if width <= 8
    }


@pytest.mark.slow
def test_interruption_of_a_trained_search_changes_nothing(rerun: Any, tmp_path: Path) -> None:
    """In one run, again and again: after each start and each end of a trial."""
    study = tiny(**ALIKE, search={**STRICT, "trials": 12, "max_concurrent": 3})
    straight = rerun(study, "straight")
    assert any(t.free for t in straight.trials)
    assert {t.state for t in straight.trials} == {"complete", "pruned"}
    cuts = interrupt_everywhere(
        lambda: events_of(study, runs_dir=tmp_path / "cut", latency_from=straight.path)
    )
    assert cuts == len(straight.trials) + 12
    cut = tasearch.Run.open(tmp_path / "cut" / "tiny")
    assert facts(cut) == facts(straight)
    assert contents(cut) == contents(straight)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_workers_do_not_change_free_trials(rerun: Any, sampler: str) -> None:
    search = {**STRICT, "trials": 12, "max_concurrent": 3, "sampler": sampler}
    study = tiny(**ALIKE, search=search)
    one, three = rerun(study, "one"), rerun(study, "three", workers=3)
    assert any(t.free for t in one.trials)
    assert facts(one) == facts(three)
    assert contents(one) == contents(three)


def test_interruption_after_any_trial_changes_nothing(digits: Table, tmp_path: Path) -> None:
    """In one run of a table's search, again and again: after each start and end of a trial."""
    straight, cut = (
        Replay(digits, tmp_path / name, **STRICT, sampler="random") for name in ("straight", "cut")
    )
    trials = len(digits.space(straight.manifest).baselines()) + 7
    straight.go(trials)
    assert any(t.free for t in straight.trials())
    cuts = interrupt_everywhere(lambda: cut.steps(trials)[0])
    assert cuts == len(straight.trials()) + trials
    assert cut.everything() == straight.everything()


def test_assistant_over_the_budget_of_a_table_becomes_no_trial(digits: Table) -> None:
    search = {"max_concurrent": 4, "sampler": "random"}
    free = manifest_for(digits, search, 0, {})
    sizes = sorted(free.measured[width].params for width in free.study.assistants.widths)
    limit = sizes[len(sizes) // 2]
    manifest = manifest_for(digits, search, 0, {"max_params": limit})
    baselines = len(digits.space(manifest).baselines())
    trials = replay_table(digits, manifest, trials=baselines + 25).trials
    assistants = {width for t in trials for width in t.chain[1:-1]}
    assert max(manifest.measured[width].params for width in assistants) > limit
    widths = {t.chain[-1] for t in trials if t.free}
    assert widths == {w for w in assistants if manifest.measured[w].params <= limit}
