"""Workers' processes that begin before torch is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasearch.chains.mode import Mode
from tasearch.cli.run_command import run_shown
from tasearch.config.run_options import RunOptions
from tasearch.config.user_modules import UserCode
from tasearch.data import load_data
from tasearch.errors import DataError, RunError
from tasearch.runs.store import Store
from tasearch.search import study_parts
from tasearch.search.prepare import prepare
from tasearch.train.workers import processes
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.processes import Process, early_processes
from tests.helpers.processes import children
from tests.helpers.studies import tiny


def cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(processes, "cpu_count", lambda: count)


def early(workers: str, *, device: str = "cpu", threads: int = 1, most: int = 8) -> int:
    return len(early_processes(workers, device, threads, most))


def test_processes_need_no_torch() -> None:
    code = (
        "import sys, tasearch.cli.run_command, tasearch.train.workers.processes\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_processes_fill_cores_beside_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "Process", lambda threads: object())
    cores(monkeypatch, 8)
    assert early("3") == 3
    assert early("auto") == early("99", most=99) == 7
    assert early("auto", most=4) == 4
    assert early("auto", threads=2) == 3  # of four
    cores(monkeypatch, 2)
    assert early("auto") == early("2") == early("8") == 1
    cores(monkeypatch, 1)
    assert early("3") == 1


def test_single_worker_needs_no_early_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "Process", lambda threads: object())
    cores(monkeypatch, 2)
    assert early("1") == early("auto", threads=2) == early("auto", most=1) == 0
    for wrong in ("none of them", "-2", "0", "1.5", ""):
        with pytest.raises(RunError, match="workers: should be"):
            early(wrong)


def test_each_gpu_gets_one_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert processes._gpus(tmp_path) == 0
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "nvme0"):
        (tmp_path / name).touch()
    assert processes._gpus(tmp_path) == 3
    for shown, count in (("1", 1), ("0,1", 2), ("", 0), ("0,1,2,3", 3)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        assert processes._gpus(tmp_path) == count
    monkeypatch.setattr(processes, "Process", lambda threads: object())
    monkeypatch.setattr(processes, "_gpus", lambda: 1)
    cores(monkeypatch, 8)
    assert early("auto", device="auto") == 0
    assert early("auto", device="cpu") == 7
    monkeypatch.setattr(processes, "_gpus", lambda: 2)
    assert early("auto", device="cuda") == 2


def test_pool_takes_only_needed_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    cores(monkeypatch, 3)  # room for two beside the driver
    started = [Process(1) for _ in range(3)]
    study, code = tiny(), UserCode(digests={})
    pool = Pool(["cpu"] * 4, study, started)
    taken, ended = started[:2], started[2]
    assert ended.death().words == "was killed by signal 9 (killed)"
    assert len(children()) == len(taken)
    pool.set_up(
        study, load_data(study), Store(Path("run")), {}, lambda hop: (), code
    )  # the others begin
    assert pool.free_workers == len(children()) == 4
    pool.close()
    assert not children()


def interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_preparation_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = prepare(tiny(), RunOptions(runs_dir=tmp_path), processes=[Process(1)])
    assert one.pool is None
    assert not children()
    one.close()
    missing = tiny(data={"source": "npz", "path": str(tmp_path / "missing.npz")})
    with pytest.raises(DataError):
        prepare(missing, RunOptions(runs_dir=tmp_path, workers=2), processes=[Process(1)])
    assert not children()
    monkeypatch.setattr(study_parts, "load_data", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(tiny(), RunOptions(runs_dir=tmp_path, workers=2), processes=[Process(1)])
    assert not children()


@pytest.mark.slow
def test_search_uses_early_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The run of a command line has them from the start to the end."""
    begun: list[int] = []
    wait = Pool.modes

    def modes(pool: Pool, warn: Callable[[str], None]) -> dict[int, Mode]:
        begun.extend(children())
        return wait(pool, warn)

    cores(monkeypatch, 2)
    monkeypatch.setattr(Pool, "modes", modes)
    options = RunOptions(runs_dir=tmp_path, trials=2, device="cpu", workers=2)
    finished, _ = run_shown(tiny(), options)
    assert finished
    assert len(begun) == 1
    assert not children()
