"""Engines: whoever trains a hop, the result is the same, and nobody's death is the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import tasearch
from tasearch import RunError, StoreError
from tasearch.config.study import Study
from tasearch.runs.events import EpochDone, HopEnded, HopStarted, Notice
from tasearch.train.workers.engine import worker_devices
from tests.helpers.processes import children
from tests.helpers.runs import contents, events_of, facts, once_each, proposed
from tests.helpers.studies import PRUNES_OFTEN, tiny
from tests.helpers.training import family

APART = {"modes": dict.fromkeys(("16", "12", "8", "6", "4", "2"), "fp32")}
STUDY = {**PRUNES_OFTEN, "trials": 12, "audit_fraction": 0.3}


def workers_change_nothing(rerun: Any, study: Study, one: tasearch.Run) -> None:
    """A study's run with two and three workers is the one with one, bit for bit."""
    for workers in (2, 3):
        several = rerun(study, f"{workers} workers", workers=workers)
        assert facts(several) == facts(one)
        assert contents(several) == contents(one)
        assert once_each(several)


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [1, 3])
def test_number_of_workers_changes_nothing(rerun: Any, replicates: int) -> None:
    """Pruned, audited and complete trials, shared prefixes, dense guidance: bit for bit."""
    search, student = {**STUDY, "replicates": replicates}, {"guidance": ["serial", "dense"]}
    study = tiny(search=search, student={**student, "loss": ["kd", "ce"]}, training=APART)
    one = rerun(study, "one")
    assert {t.state for t in one.trials} == {"complete", "pruned"}
    assert any(t.free for t in one.trials)
    workers_change_nothing(rerun, study, one)


SHARED = {"16": "fp32", **dict.fromkeys(("12", "8", "6", "4", "2"), "fp32 x8+")}


@pytest.mark.slow
def test_hops_that_share_a_wide_model_change_nothing(rerun: Any) -> None:
    """Bit for bit: one after another, side by side as they happen to be ready, and resumed."""
    losses = {"loss": ["kd", "ce", "dist"], "guidance": ["serial", "dense"]}
    study = tiny(search=STUDY, student=losses, training={"modes": SHARED})
    apart = tiny(search={**STUDY, "max_concurrent": 1}, student=losses, training={"modes": SHARED})
    events: list[Any] = []
    one = rerun(study, "one", on_event=events.append)
    assert most_at_once(events) > 2
    assert {t.state for t in one.trials} == {"complete", "pruned"}
    workers_change_nothing(rerun, study, one)
    alone: list[Any] = []
    for trials in range(1, STUDY["trials"] + 1):  # baselines too would share one
        other = rerun(apart, "apart", on_event=alone.append, trials=trials)
    assert most_at_once(alone) == 1
    same = {*contents(other)} & {*contents(one)}
    assert any(name.startswith("hops/") for name in same)
    for name in same:
        if not name.startswith("checkpoints/"):  # other rules stop it elsewhere
            assert contents(other)[name] == contents(one)[name]
    cut = events_of(study, runs_dir=one.path.parent.parent / "cut", latency_from=one.path)
    begun: set[str] = set()
    for event in cut:
        begun |= {event.key} if isinstance(event, HopStarted) else set()
        if len(begun) > 12 and isinstance(event, EpochDone) and event.epoch == 2:
            break
    cut.close()  # in the middle of a group
    resumed = rerun(study, "cut")
    assert facts(resumed) == facts(one)
    assert contents(resumed) == contents(one)


def most_at_once(events: list[Any]) -> int:
    """Hops in training at the same time."""
    begun: set[str] = set()
    most = 0
    for event in events:
        if isinstance(event, HopStarted):
            begun.add(event.key)
        elif isinstance(event, HopEnded):
            begun.discard(event.key)
        most = max(most, len(begun))
    return most


@pytest.mark.slow
def test_engine_takes_apart_group_that_kills_workers(tmp_path: Path) -> None:
    """Only the hop that is to blame fails: here a loss of its own."""
    (tmp_path / "deadly.py").write_text(
        "import os, sys\n"
        "from torch.nn.functional import cross_entropy\n"
        "def loss(logits, labels, targets, terms):\n"
        "    return os._exit(3) if len(logits) > 2 else cross_entropy(logits, labels)\n"
    )
    modes = {"training": {"modes": {"4": "fp32 x8+", "2": "fp32 x8+"}}}
    student = {"widths": [4, 2], "loss": ["kd", "deadly:loss", "ce"]}
    study = tiny(assistants={"max": 0}, student=student, **modes)
    study = study.model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path, workers=2, trials=6)
    deadly = [t for t in run.trials if t.recipe and t.recipe["student"]["loss"] == "deadly:loss"]
    assert [t.state for t in deadly] == ["failed"] * 2
    assert all(t.state == "complete" for t in run.trials if t not in deadly)
    assert {t.reason for t in deadly} == {
        f"hop 16 → {width}: its worker ended with code 3, 3 times" for width in (4, 2)
    }


@pytest.mark.slow
def test_workers_train_hops_at_the_same_time(tmp_path: Path) -> None:
    """A loss that waits for the other worker is computed."""
    (tmp_path / "meeting.py").write_text(
        "import os, pathlib, sys, time\n"
        "from torch.nn.functional import cross_entropy\n"
        "def loss(logits, labels, targets, terms):\n"
        "    if len(logits) > 2:\n"
        "        here = pathlib.Path(__file__).parent / 'here'\n"
        "        here.mkdir(exist_ok=True)\n"
        "        (here / str(os.getpid())).touch()\n"
        "        until = time.monotonic() + 100\n"
        "        while len(list(here.iterdir())) < 2:\n"
        "            assert time.monotonic() < until, 'nobody else has come'\n"
        "            time.sleep(0.01)\n"
        "    return cross_entropy(logits, labels)\n"
    )
    study = tiny(assistants={"max": 0}, student={"widths": [4, 2], "loss": "meeting:loss"})
    study = study.model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path, workers=2, trials=2)
    assert [(t.state, t.reason) for t in run.trials] == [("complete", None)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [1, 3])
def test_engine_replaces_killed_worker(rerun: Any, replicates: int) -> None:
    study = tiny(search={**STUDY, "replicates": replicates}, training=APART)
    straight = rerun(study, "straight")
    kills = 0

    def kill(event: Any) -> None:
        nonlocal kills
        if isinstance(event, HopStarted) and kills < 2:
            kills += 1
            os.kill(children()[-1], signal.SIGKILL)

    events: list[Any] = []
    run = rerun(
        study, "killed", workers=2, on_event=lambda event: (events.append(event), kill(event))
    )
    told = [e.message for e in events if isinstance(e, Notice)]
    assert kills == 2
    assert any(m.startswith("a worker was killed by signal 9 (killed); hop ") for m in told)
    assert facts(run) == facts(straight)
    assert contents(run) == contents(straight)
    assert not children()


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [1, 2])
def test_search_continues_after_hop_that_kills_its_workers(tmp_path: Path, replicates: int) -> None:
    deadly = "self.width == 4 and 'worker' in sys.argv[0] and os._exit(3)"
    study = family(tmp_path, deadly, search={"replicates": replicates}, training=APART)
    run = tasearch.run(study, runs_dir=tmp_path, workers=2, trials=4)
    assert {t.state for t in run.trials if t.chain[-1] == 4} == {"failed"}
    assert {t.state for t in run.trials if t.chain[-1] != 4} == {"complete"}
    (reason,) = {t.reason for t in run.trials if t.state == "failed"}
    assert reason == "hop 16 → 4: its worker ended with code 3, 3 times"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_search_continues_after_hop_without_memory(tmp_path: Path, workers: int) -> None:
    full = "if self.width == 4: raise torch.OutOfMemoryError('CUDA out of memory')"
    study = family(tmp_path, full)
    run = tasearch.run(study, runs_dir=tmp_path, workers=workers, trials=4)
    failed = [t for t in run.trials if t.state == "failed"]
    assert [t.reason for t in failed] == ["hop 16 → 4: out of memory on cpu"] * len(failed)
    assert failed and {t.chain[-1] for t in failed} == {4}
    assert len(proposed(run)) == 4
    assert all(t.state == "complete" for t in run.trials if t not in failed)


@pytest.mark.slow
def test_output_of_user_code_disturbs_no_worker(tmp_path: Path) -> None:
    study = family(tmp_path, "print('[\"HopEnded\", {}]', flush=True)")
    run = tasearch.run(study, runs_dir=tmp_path, workers=2, trials=3)
    assert [t.state for t in run.trials] == ["complete"] * 3


@pytest.mark.slow
def test_engine_raises_traceback_of_bug_in_worker(
    rerun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasearch.train.workers.pool.Pool._known", lambda *a: {"study": {}})
    with pytest.raises(RuntimeError, match=r"(?s)in a worker:.*KeyError"):
        rerun(tiny(), workers=2, trials=1)
    assert not children()


@pytest.mark.slow
def test_workers_get_data_from_driver(rerun: Any, tmp_path: Path) -> None:
    """A source is asked once, for it may be slow, or give other data from call to call."""
    (tmp_path / "moody.py").write_text(
        "import os, pathlib\n"
        "from sklearn.datasets import load_digits\n"
        "def data():\n"
        "    (pathlib.Path(__file__).parent / f'asked-{os.getpid()}').touch(exist_ok=False)\n"
        "    digits = load_digits()\n"
        "    return {'x_train': digits.images, 'y_train': digits.target}\n"
    )
    study = tiny(data={"source": "moody:data"}).model_copy(update={"root": str(tmp_path)})
    one = rerun(study, "one", trials=3)
    assert len([*tmp_path.glob("asked-*")]) == 1
    two = rerun(study, "two", trials=3, workers=2)
    assert len([*tmp_path.glob("asked-*")]) == 2
    assert facts(one) == facts(two)
    assert contents(one) == contents(two)


@pytest.mark.slow
def test_full_disk_of_worker_ends_the_run(tmp_path: Path) -> None:
    study = family(tmp_path, "os.replace = full if 'worker' in sys.argv[0] else os.replace")
    with pytest.raises(StoreError, match="no room left on the disk; what is finished is kept"):
        tasearch.run(study, runs_dir=tmp_path, workers=2, trials=2)
    assert not children()


def test_worker_devices_give_one_worker_a_core_or_the_number_asked() -> None:
    cpu, cores = torch.device("cpu"), len(os.sched_getaffinity(0))
    assert worker_devices("auto", cpu, 1) == ["cpu"] * cores
    assert worker_devices("auto", cpu, 10_000) == ["cpu"]
    assert worker_devices("3", cpu, 1) == ["cpu"] * 3
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(RunError) as error:
            worker_devices(wrong, cpu, 1)
        assert str(error.value) == (
            f'workers: should be "auto" or a number from 1 to 1,024, found {wrong!r}'
        )


def test_worker_devices_give_each_gpu_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda")
    assert worker_devices("auto", cuda, 1) == ["cuda:0", "cuda:1"]
    assert worker_devices("3", cuda, 1) == ["cuda:0", "cuda:1", "cuda:0"]


@pytest.mark.slow
def test_all_threads_of_a_worker_flush_denormals() -> None:
    code = (
        "import torch\n"
        "from tasearch.models.numerics import cpu_threads, flush_denormals_everywhere\n"
        "flush_denormals_everywhere()\n"
        "with cpu_threads(2, flush_denormals=True):\n"
        "    tiny = torch.full((2_000_000,), 1e-38)\n"
        "    assert not (tiny * 1e-3).any()\n"
        "assert not (tiny * 1e-3).any()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_worker_trains_with_several_threads(rerun: Any) -> None:
    """As many workers as there are, the result is the same, denormals and all."""
    study = tiny(training={"threads": 2, "stack": "never"})  # else each run probes anew
    one, two = rerun(study, "one", trials=3), rerun(study, "two", trials=3, workers=2)
    assert facts(one) == facts(two)
    assert contents(one) == contents(two)
