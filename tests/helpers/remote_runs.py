"""Runs at URLs, compared with runs in folders."""

from __future__ import annotations

import tasearch
from tasearch.config.places import Url
from tasearch.runs.run import Run
from tests.helpers.runs import facts, once_each


def same(url: Url, local: tasearch.Run) -> None:
    """Check that a run at a URL is a local one: trial by trial, and hop by hop, bit for bit."""
    run = Run.open(url)
    assert [vars(trial) for trial in run.trials] == facts(local)
    store, there = local.directory.store(), run.directory.store()
    assert there.finished() == store.finished()
    for key in store.finished():
        own, other = store.load("hops", key), there.load("hops", key)
        assert own is not None and other is not None
        assert own[1] == other[1]
        assert own[0].keys() == other[0].keys()
        assert all((own[0][name] == tensor).all() for name, tensor in other[0].items())
    assert once_each(run)  # type: ignore[arg-type]
