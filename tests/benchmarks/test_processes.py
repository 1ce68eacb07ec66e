"""Processes that wait for each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from benchmarks.processes import wait_for_others


def test_process_waits_until_the_last_has_come(tmp_path: Path) -> None:
    """The other process is a file with its id, as it would leave one."""
    waiting = threading.Thread(target=wait_for_others, args=(tmp_path, 2))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    (tmp_path / "other").touch()
    waiting.join(10.0)
    assert not waiting.is_alive()


def test_waiting_ends_when_another_does_not_come(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="2 processes should begin together"):
        wait_for_others(tmp_path, 2, limit=0.05)
