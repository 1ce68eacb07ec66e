from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.pareto.skyline import PruningDecision
from tasearch.report.audit import AuditCount, audit_count
from tasearch.report.status import status_lines
from tasearch.report.text import duration
from tasearch.runs.events import HopEnded
from tasearch.runs.records import HopUse, TrialRecord, costs
from tests.helpers.runs import events_of, proposed
from tests.helpers.studies import tiny


def use(key: str, width: int, trained: int, epochs: int = 10) -> HopUse:
    return HopUse(key=key, width=width, epochs=epochs, trained=trained, accuracy=0.5)


def test_costs_count_each_hop_once(finished: tasearch.Run) -> None:
    measured = finished.manifest.measured
    trials = [
        TrialRecord(number=0, state="complete", hops=(use("t", 16, 10), use("a", 4, 10))),
        TrialRecord(number=1, state="pruned", hops=(use("t", 16, 10), use("b", 4, 2))),
    ]
    found = costs(trials, 100, measured)
    big, small = 3 * 100 * measured[16].flops, 3 * 100 * measured[4].flops
    assert found.paid == 10 * big + 12 * small
    assert found.unshared == 20 * big + 12 * small
    assert found.unpruned == 10 * big + 20 * small
    assert (found.hops, found.uses) == (3, 4)


@pytest.mark.slow
def test_costs_count_every_replicate(rerun: Any) -> None:
    one, two = (rerun(tiny(search={"replicates": n}), f"{n}", trials=3) for n in (1, 2))
    assert two.costs.paid == 2 * one.costs.paid
    assert two.costs.hops == one.costs.hops


def test_loaded_teacher_costs_no_training(finished: tasearch.Run) -> None:
    hops = (use("t", 16, 0, epochs=0), use("a", 4, 10))
    found = costs(
        [TrialRecord(number=0, state="complete", hops=hops)], 100, finished.manifest.measured
    )
    assert (found.hops, found.uses) == (1, 1)


def test_audit_count_counts_students_that_reached_the_skyline() -> None:
    audit = PruningDecision(rung=0, reach=0.5, skyline=0.8)
    trials = [
        TrialRecord(number=0, state="complete", accuracy=0.9, audit=audit),
        TrialRecord(number=1, state="complete", accuracy=0.7, audit=audit),
        TrialRecord(number=2, state="complete", accuracy=0.9),
    ]
    found = audit_count(trials)
    assert (found.audited, found.wrong) == (2, 1)


@pytest.mark.parametrize(("wrong", "audited"), [(0, 10), (1, 12), (3, 3), (7, 40), (0, 0)])
def test_audit_gives_an_exact_interval(wrong: int, audited: int) -> None:
    """At each end of the interval, a result so far off has a probability of 1 in 40."""

    def chance(counts: range, rate: float) -> float:
        return sum(math.comb(audited, n) * rate**n * (1 - rate) ** (audited - n) for n in counts)

    low, high = AuditCount(audited=audited, wrong=wrong).interval
    if wrong:
        assert chance(range(wrong, audited + 1), low) == pytest.approx(0.025)
    if wrong < audited:
        assert chance(range(wrong + 1), high) == pytest.approx(0.025)
    assert (low == 0, high == 1) == (wrong == 0, wrong == audited)


def test_audit_tells_its_counts_in_words() -> None:
    assert AuditCount(audited=0, wrong=0).words == "none audited"
    words = "12 audited, 1 wrongly pruned: 8% (0% to 38%)"
    assert AuditCount(audited=12, wrong=1).words == words


def test_status_tells_what_was_done(finished: tasearch.Run) -> None:
    lines = dict(status_lines(finished))
    free = sum(t.free for t in finished.trials)
    states = Counter(t.state for t in proposed(finished))
    words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    assert free > 0
    assert lines["trials"] == (
        f"10 of 10: {words}; besides, {free} of their assistants are students, for free"
    )
    saved = 1 - finished.costs.paid / finished.costs.unpruned
    words = audit_count(finished.trials).words
    assert lines["pruning"] == f"saved {saved:.1%}; {words}"
    assert lines["space"] == "18 chains within the budget"
    hops = finished.costs.hops
    assert lines["hops"] == f"{hops} trained, {finished.costs.uses - hops} times reused"
    assert lines["teacher"].startswith("accuracy ")
    history = finished.directory.history()
    training = sum(event.get("seconds", 0.0) for event in history.events)
    assert lines["time"] == (
        f"wall time {duration(history.seconds)}, training time {duration(training)}, "
        "all workers together; finished: 10 trials are done"
    )


def test_status_counts_hops_of_running_trials(tmp_path: Path) -> None:
    events = events_of(tiny(), runs_dir=tmp_path)
    ended = 0
    while ended < 2:
        ended += isinstance(next(events), HopEnded)
    events.close()
    lines = dict(status_lines(tasearch.Run.open(tmp_path / "tiny")))
    assert lines["trials"].startswith("0 of 10: 8 interrupted")
    assert lines["hops"] == "2 trained, 0 times reused"
    assert re.search(r"all workers together; \d+ .*to \d+ (s|min) left$", lines["time"])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3600 + 125, "1 h 02 min")],
)
def test_duration_chooses_its_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
