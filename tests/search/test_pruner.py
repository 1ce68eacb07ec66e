"""Pruning in a search, on a table of results."""

from __future__ import annotations

from pathlib import Path

from benchmarks.table import Table
from tests.helpers.replay import STRICT, Replay


def test_pruner_stops_students_and_audit_lets_them_continue(digits: Table, tmp_path: Path) -> None:
    strict = Replay(digits, tmp_path / "strict", **STRICT, audit_fraction=0.0)
    strict.go(25)
    pruned = [t for t in strict.trials() if t.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.hops[-1].trained < trial.hops[-1].epochs
        assert trial.reason is not None
        own = trial.curve and not trial.free
        assert trial.reason.startswith("could reach " if own else "behind 64 → ")
    audited = Replay(digits, tmp_path / "audited", **STRICT, audit_fraction=1.0)
    audited.go(25)
    assert all(t.state == "complete" for t in audited.trials())
    caught = {t.number: t for t in audited.trials() if t.audit is not None}
    assert caught
    for trial in audited.trials():
        audit = caught.get(trial.number) and trial.audit
        reached = audit is not None and trial.accuracy >= audit.skyline  # type: ignore[operator]
        assert trial.falsely_pruned == reached


def test_no_pruner_stops_and_audits_nothing(digits: Table, tmp_path: Path) -> None:
    played = Replay(digits, tmp_path / "run", **STRICT | {"pruner": "none"})
    played.go(25)
    assert all(t.audit is None and t.state == "complete" for t in played.trials())
