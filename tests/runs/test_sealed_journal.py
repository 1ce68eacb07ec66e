"""The journal when Ctrl-C comes while its lock is taken or released."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasearch.runs.sealed_journal import SealedJournal


@pytest.mark.parametrize("call", ["symlink", "rename", "unlink"])
@pytest.mark.parametrize("done", [True, False])
def test_ctrl_c_within_the_lock_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, done: bool
) -> None:
    journal = SealedJournal(tmp_path / "journal.log", "tiny")
    real, calls = getattr(os, call), list[object]()

    def interrupted(*args: object) -> None:
        calls.append(args)
        if done or len(calls) > 1:
            real(*args)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.append_logs(
            [{"op_code": 0, "worker_id": "", "study_name": "tiny", "directions": []}]
        )
    assert calls
