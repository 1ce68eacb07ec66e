"""A table of texts, whose replicates share a teacher that was loaded."""

from __future__ import annotations

import pytest

from benchmarks.gains import summarize
from benchmarks.replay import manifest_for, replay
from benchmarks.search_methods import limits, load
from benchmarks.table import Table
from tasearch.chains.hop import Hop


@pytest.fixture(scope="module")
def trec() -> Table:
    return load("trec")


def test_loaded_teacher_is_looked_up_and_costs_nothing(trec: Table) -> None:
    search = {"pruner": "none", "trials": 5}
    found = replay(trec, manifest_for(trec, search, 0, limits(trec, "trec")), trials=5)
    assert {trial.state for trial in found.trials} == {"complete"}
    ended = {hop for step in found.steps for hop in step.finished}
    trained = {hop for student in ended for hop in _with_ancestors(student)}
    paid = sum(trec.cost(hop, trec.manifest) for hop in trained)
    assert found.steps[-1].paid == pytest.approx(paid)


def _with_ancestors(hop: Hop) -> list[Hop]:
    """A hop and those before it, but for the teacher's."""
    return [Hop(lineage=hop.lineage[:n]) for n in range(2, len(hop.lineage) + 1)] or [hop]


def test_all_replicates_have_the_teacher_that_was_loaded(trec: Table) -> None:
    found = summarize(trec)
    teacher = found["teacher"]
    assert teacher["low"] == teacher["mean"] == teacher["high"]
    assert found["students"].keys() == {"s", "t", "xs", "xxs"}
