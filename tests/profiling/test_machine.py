"""Signs of a busy machine, and what the system tells of other processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasearch.pareto.measurement import TimingRounds
from tasearch.profiling import machine
from tasearch.profiling.machine import OtherProcesses, busy_notice, busy_signs

QUIET = TimingRounds(medians_ms=(1.0,) * 19 + (5.0,), spreads=(0.02,) * 20)


def test_busy_signs_ignore_a_single_odd_round() -> None:
    assert busy_signs(QUIET, (0.9, 2), threads=1) == ()
    assert busy_signs(QUIET, None, threads=1) == ()
    assert busy_signs(QUIET, (0.0, 2), threads=64) == ()
    assert busy_notice((), tied=3, widths=7) == ()


def test_busy_notice_names_every_sign() -> None:
    busy = TimingRounds(medians_ms=(1.0,) * 10 + (1.34,) * 10, spreads=(0.3,) * 12 + (0.02,) * 8)
    signs = busy_signs(busy, (1.42, 2), threads=1)
    assert busy_notice(signs, tied=5, widths=7) == (
        "the machine was busy while latencies were measured: "
        "rounds of the reference net differed by 34%, "
        "timings of the reference net scattered in 12 of 20 rounds, "
        "other processes used 1.4 of 2 processors; they are less certain, 5 of 7 widths are tied",
    )


def stat(busy: int) -> str:
    """What Linux tells of two processors that worked so many hundredths of a second each."""
    lines = [f"cpu{n} {busy - 6} 1 2 999 999 1 1 1 0 0" for n in range(2)]
    return "\n".join(["cpu  1 1 1 1 1 1 1 1 1 1", *lines, "intr 1 2 3", ""])


def test_other_processes_do_all_work_but_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, moment = tmp_path / "stat", iter((10.0, 14.0, 14.0))
    own = iter((1.0, 4.0))  # seconds
    monkeypatch.setattr(machine, "STAT", file)
    monkeypatch.setattr(machine, "_cores", lambda: frozenset({0, 1}))
    monkeypatch.setattr(machine, "_own_seconds", lambda: next(own))
    monkeypatch.setattr("tasearch.profiling.machine.time.monotonic", lambda: next(moment))
    ticks = os.sysconf("SC_CLK_TCK")
    file.write_text(stat(10 * ticks))
    others = OtherProcesses()
    file.write_text(stat(13 * ticks))  # 3 s on each of two, 3 s of them ours, within 4 s
    assert others.used() == (0.75, 2)


@pytest.mark.parametrize("text", [None, "", "cpu0 one 2 3", "cpu0 1 2", "cpu7 1 2 3 4 5 6 7 8"])
def test_other_processes_are_unknown_where_the_system_does_not_tell(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "STAT", tmp_path / "stat")
    monkeypatch.setattr(machine, "_cores", lambda: frozenset({0}))
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert OtherProcesses().used() is None
