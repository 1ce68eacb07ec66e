"""What a search proposes next, and when, on a table of results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.table import Table
from tasearch.chains.space import Space
from tasearch.runs.events import Event, TrialDone, TrialStarted
from tasearch.runs.trial_attributes import chain_of
from tests.helpers.replay import STRICT, Replay
from tests.helpers.runs import interrupt_everywhere


def begun_at_once(events: Iterable[Event]) -> int:
    """Number of proposals before any trial has ended."""
    found = [*events]
    first = next(i for i, event in enumerate(found) if isinstance(event, TrialDone))
    return sum(isinstance(event, TrialStarted) for event in found[:first])


def test_baselines_overlap_whatever_max_concurrent(digits: Table, tmp_path: Path) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=1, sampler="random")
    baselines = len(digits.space(played.manifest).baselines())
    assert baselines > 1
    assert begun_at_once(played.go(baselines + 2)[0]) == baselines


def test_ehvi_has_no_baselines(digits: Table, tmp_path: Path) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=2)
    assert begun_at_once(played.go(4)[0]) == 2


def test_baselines_do_not_overlap_under_a_limit_of_hours(digits: Table, tmp_path: Path) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=1, max_hours=9.0, sampler="random")
    assert begun_at_once(played.go(4)[0]) == 1


@pytest.mark.parametrize("sampler", ["ehvi", "random"])
@pytest.mark.parametrize("max_concurrent", [1, 3])
def test_max_concurrent_limits_overlapping_proposals(
    digits: Table, tmp_path: Path, max_concurrent: int, sampler: str
) -> None:
    played = Replay(digits, tmp_path / "run", max_concurrent=max_concurrent, sampler=sampler)
    space = digits.space(played.manifest)
    baselines = len(space.baselines()) if played.manifest.study.search.begins_with_baselines else 0
    running = 0
    proposed = 0
    for event in played.go(20, workers=8)[0]:
        if isinstance(event, TrialStarted):
            running, proposed = running + 1, proposed + 1
            assert proposed <= baselines or running <= max_concurrent
        elif isinstance(event, TrialDone):
            running -= not event.record.free
    assert running == 0


@pytest.mark.slow
def test_continued_run_tries_the_baselines_that_an_earlier_version_lacked(
    digits: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some were proposed by the sampler, and one of these was pruned, a later assistant."""
    played = Replay(digits, tmp_path / "run", **STRICT, audit_fraction=0.0, sampler="random")
    space = digits.space(played.manifest)
    baselines = space.baselines()
    with monkeypatch.context() as patched:
        patched.setattr(Space, "baselines", lambda space: baselines[:7])
        events, _ = played.steps(200)
        ended = (event.record for event in events if isinstance(event, TrialDone))
        record, direct = next(
            (record, chain)
            for record in ended
            if (chain := chain_of(asdict(record), space.teacher)) in baselines
            and record.state == "pruned"
            and chain.student.recipe == space.assistant_recipes.one_per_loss()[0]
        )
        pruned = record.hops[-1].key
        del events  # as a kill would end it
    before = played.trials()
    assert direct in baselines
    assert {"pruned", "running"} <= {trial.state for trial in before}
    longer = {**space.choices(direct), "assistants": 1, "assistant_1": direct.student.width}
    longer["student"] = 2
    played.optunas_study().enqueue_trial(longer)
    cut = played.copy(tmp_path / "cut")
    tried = [chain_of(asdict(trial), space.teacher) for trial in before]
    missing = [chain for chain in baselines if chain not in tried]
    trials = sum(not trial.free for trial in before) + len(missing) + 3
    played.go(trials)
    _, *later = played.trials()[len(before) :]  # without the queued chain
    assert [chain_of(asdict(t), space.teacher) for t in later[: len(missing)]] == missing
    assert any(t.free and t.hops[-1].key == pruned for t in later)
    interrupt_everywhere(lambda: cut.steps(trials)[0])
    assert cut.everything() == played.everything()
