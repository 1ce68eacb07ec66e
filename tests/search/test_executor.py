"""What is known of the hops of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.pareto.metric import metric_of
from tasearch.search.executor import HopExecutor
from tests.helpers.recipes import CE, KD


class Empty:
    """An archive without any hop, which counts how often it is asked for one."""

    replicates = range(1)

    def __init__(self) -> None:
        self.asked = 0

    def key(self, hop: Hop) -> str:
        return hop.label

    def finished(self, hop: Hop) -> bool:
        self.asked += 1
        return False


@pytest.mark.parametrize("guidance", ["serial", "dense"])
def test_executor_finds_a_failed_ancestor_of_a_long_chain(guidance: str) -> None:
    archive: Any = Empty()
    hops = HopExecutor(
        archive=archive,
        make_engine=lambda: pytest.fail("nothing is trained"),
        teacher=ModelSpec(width=64, recipe=CE),
        metric=metric_of("accuracy", 10),
        log=lambda event, **values: None,
        warnings=[],
    )
    recipe = replace(KD, guidance=guidance)
    assistants = [ModelSpec(width=width, recipe=recipe) for width in range(40, 0, -1)]
    lineage = ModelSpec(width=64, recipe=CE), *assistants
    student = Hop(lineage=lineage)
    assert not hops.hopeless(student)
    assert archive.asked <= len(lineage) ** 2  # not 2 ** 40
    hops.failed[hops.key(Hop(lineage=lineage[:3]))] = "no room"
    assert hops.hopeless(student)
    assert not hops.hopeless(Hop(lineage=lineage[:2]))
