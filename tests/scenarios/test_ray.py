"""A search on the nodes of a Ray cluster: the same study, whatever is lost on the way."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tasearch
from benchmarks.common import ROOT
from benchmarks.processes import descendants
from benchmarks.ray_nodes import Nodes
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tests.helpers.packages import skip_without_ray
from tests.helpers.processes import wait_for
from tests.helpers.runs import contents, facts, once_each
from tests.helpers.studies import PRUNES_OFTEN, tiny

skip_without_ray()
pytestmark = pytest.mark.slow

LIMIT = 300.0  # seconds that anything may take
SEARCH = {**PRUNES_OFTEN, "trials": 12, "audit_fraction": 0.3}
STUDY = tiny(
    search=SEARCH,
    student={"guidance": ["serial", "dense"], "loss": ["kd", "ce"]},
    training={"modes": dict.fromkeys(("16", "12", "8", "6", "4", "2"), "fp32")},
)
CIFAR = ROOT / "../shared/data/cifar10"  # not part of the repository
IMAGES = tiny(
    name="images",
    data={"source": "parquet", "path": str(CIFAR.resolve()), "limit": 1000},
    model={"family": "plain"},
    teacher={"width": 6, "epochs": 2},
    assistants={"max": 1, "widths": [4], "epochs": 2},
    student={"widths": [4, 2], "epochs": 2, "loss": ["kd", "ce"]},
    training={
        "modes": dict.fromkeys(("6", "4", "2"), "fp32"),
        "augment": "crop4+flip",
        "optimizer": "sgd",
        "batch_size": 128,
    },
    search={**SEARCH, "trials": 6, "rungs": 2},
)
MEETING = """
import os, pathlib, time
from torch.nn.functional import cross_entropy

def loss(logits, labels, targets, terms):
    here = pathlib.Path(__file__).parent / "here"
    here.mkdir(exist_ok=True)
    actor = pathlib.Path(f"/proc/{os.getppid()}")
    if "ray::" in (actor / "cmdline").read_text() and len(logits) > 2:
        node = (actor / "stat").read_text().rpartition(")")[2].split()[1]  # its parent
        (here / node).touch()
        until = time.monotonic() + 100
        while len(list(here.iterdir())) < 2:
            assert time.monotonic() < until, "nobody else has come"
            time.sleep(0.01)
    return cross_entropy(logits, labels)
"""

NODE = """
import os
import signal
import time
from pathlib import Path
from torch.nn.functional import cross_entropy

HELD = Path(__file__).parent / "held"
steps = 0

def raylet():
    \"\"\"The process of Ray on this worker's node; None elsewhere, and on the head.\"\"\"
    actor = Path(f"/proc/{os.getppid()}")
    if "ray::" not in (actor / "cmdline").read_text():
        return None
    found = int((actor / "stat").read_text().rpartition(")")[2].split()[1])
    head = "node_ip_address=127.0.0.2" in Path(f"/proc/{found}/cmdline").read_text()
    return None if head else found

def holding(logits, labels, targets, terms):
    \"\"\"Has the first process, in the middle of a training, wait for the end of its node.\"\"\"
    global steps
    steps += 1
    if steps == 50 and not HELD.exists() and (node := raylet()):
        HELD.with_suffix(".new").write_text(str(node))
        HELD.with_suffix(".new").rename(HELD)
        time.sleep(600)
    return cross_entropy(logits, labels)

def deadly(logits, labels, targets, terms):
    \"\"\"Takes down the node.\"\"\"
    if len(logits) > 2 and (node := raylet()):
        os.kill(node, signal.SIGKILL)
        time.sleep(600)
    return cross_entropy(logits, labels)
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    try:
        made = Nodes(tmp_path_factory.mktemp("nodes"), 2)
    except RuntimeError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def started(
    finished: tasearch.Run, nodes: Nodes, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command that runs a study on the cluster, or another one that is named."""
    running: list[subprocess.Popen[str]] = []

    def start(
        study: Study, *options: str, like: tasearch.Run = finished, around: Nodes = nodes
    ) -> subprocess.Popen[str]:
        file = tmp_path / "study.toml"
        file.write_text(render(study))
        command = [sys.executable, "-m", "tasearch", "run", str(file), "--engine", "ray"]
        command += ["--runs-dir", str(tmp_path / "ray"), "--latency-from", str(like.path)]
        process = subprocess.Popen(
            [*command, *(options or ("--address", nodes.address))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=around.environment,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str], run: Path) -> tasearch.Run:
    """The run of a command that must end well."""
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, printed
    return tasearch.Run.open(run)


def trained(run: Path, hops: int) -> Callable[[], bool]:
    """Whether as many hops are trained."""
    return lambda: len([*(run / "hops").glob("[!.]*")]) >= hops


@pytest.fixture(scope="module")
def one(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """The study, trained in this process."""
    folder = tmp_path_factory.mktemp("one")
    return tasearch.run(STUDY, runs_dir=folder, latency_from=finished.path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "ray" / STUDY.name


def same(run: tasearch.Run, one: tasearch.Run) -> None:
    assert facts(run) == facts(one)
    assert contents(run) == contents(one)
    assert once_each(run)


def told(printed: str) -> list[str]:
    """What a search has told of its hops and trials, without times, sorted."""
    start = r"^ *[\d.]+ s +(\[\d+/\d+\] )?"
    lines = [re.sub(start, "", line) for line in printed.splitlines()]
    return sorted(line for line in lines if line.startswith(("train ", "trial ", "teacher ")))


def test_remote_hops_are_told_of_as_local_ones_are(
    finished: tasearch.Run, started: Any, run: Path, tmp_path: Path
) -> None:
    printed, _ = started(STUDY).communicate(timeout=LIMIT)
    command = [sys.executable, "-m", "tasearch", "run", str(tmp_path / "study.toml")]
    command += ["--runs-dir", str(tmp_path / "local"), "--latency-from", str(finished.path)]
    local = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert len(told(printed)) > len(tasearch.Run.open(run).trials) > 0
    assert told(printed) == told(local.stdout)


def test_cluster_trains_what_one_process_trains(started: Any, run: Path, one: tasearch.Run) -> None:
    found = ended(started(STUDY), run)
    assert {t.state for t in found.trials} == {"complete", "pruned"}
    same(found, one)
    assert not [*(run / "shared").iterdir()]  # the data for the nodes


def test_hops_are_trained_on_both_nodes(started: Any, tmp_path: Path) -> None:
    """A loss that waits for the other node is computed."""
    (tmp_path / "meeting.py").write_text(MEETING)
    study = tiny(assistants={"max": 0}, student={"loss": ["kd", "meeting:loss"]})
    study = study.model_copy(update={"root": str(tmp_path)})
    found = ended(started(study), tmp_path / "ray" / study.name)
    assert {t.state for t in found.trials} == {"complete"}
    assert len([*(tmp_path / "here").iterdir()]) == 2


def test_node_that_joins_takes_hops(finished: tasearch.Run, started: Any, tmp_path: Path) -> None:
    """A loss is computed on the only node, and waits for another one."""
    (tmp_path / "meeting.py").write_text(MEETING)
    study = tiny(assistants={"max": 0}, student={"loss": ["kd", "meeting:loss"]})
    study = study.model_copy(update={"root": str(tmp_path)})
    alone = tasearch.run(study, runs_dir=tmp_path / "alone", latency_from=finished.path)
    own = Nodes(tmp_path, 1)
    with contextlib.closing(own):
        process = started(study, "--address", own.address, around=own)
        wait_for(lambda: (tmp_path / "here").exists() and len(own.workers()) == 1, LIMIT)
        own.add()
        same(ended(process, tmp_path / "ray" / study.name), alone)
    assert len([*(tmp_path / "here").iterdir()]) == 2


def test_killed_worker_changes_nothing(
    started: Any, nodes: Nodes, run: Path, one: tasearch.Run
) -> None:
    process = started(STUDY)
    wait_for(trained(run, 3), LIMIT)
    os.kill(nodes.workers()[0], signal.SIGKILL)
    same(ended(process, run), one)


def test_killed_driver_goes_on(started: Any, run: Path, one: tasearch.Run) -> None:
    process = started(STUDY)
    wait_for(trained(run, 4), LIMIT)
    process.kill()
    process.wait()
    same(ended(started(STUDY), run), one)


def test_lost_node_changes_nothing(
    started: Any, nodes: Nodes, run: Path, one: tasearch.Run
) -> None:
    """The last node of the cluster; one that joins later takes its place."""
    process = started(STUDY)
    wait_for(trained(run, 3), LIMIT)
    nodes.nodes.pop().lose()
    nodes.add()
    same(ended(process, run), one)


def test_lost_head_ends_the_search_until_the_cluster_is_back(
    started: Any, nodes: Nodes, run: Path, one: tasearch.Run
) -> None:
    process = started(STUDY)
    wait_for(trained(run, 3), LIMIT)
    nodes.nodes[0].lose()
    printed, _ = process.communicate(timeout=LIMIT)
    nodes.restart()
    if process.returncode == 0:  # it was at its end before that mattered to it
        same(tasearch.Run.open(run), one)
    assert process.returncode in (0, 2), printed
    said = "the same command goes on" in " ".join(printed.split())
    assert said is (process.returncode == 2), printed
    same(ended(started(STUDY), run), one)


def test_search_ends_without_head(
    finished: tasearch.Run, started: Any, nodes: Nodes, tmp_path: Path
) -> None:
    """Also where a worker on another node is busy, and could be so for hours."""
    (tmp_path / "node.py").write_text(NODE)
    study = tiny(assistants={"max": 0}, student={"loss": ["kd", "node:holding"]})
    study = study.model_copy(update={"root": str(tmp_path)})
    process, held = started(study), tmp_path / "held"
    wait_for(held.exists, LIMIT)
    nodes.nodes[0].lose()
    printed, _ = process.communicate(timeout=LIMIT)
    nodes.restart()
    assert process.returncode == 2, printed
    assert "the Ray cluster is gone: " in " ".join(printed.split())


def test_search_without_parent_says_that_the_head_is_lost(
    finished: tasearch.Run, nodes: Nodes, tmp_path: Path
) -> None:
    """As after the end of its terminal: Ray takes that for the loss of a worker's node."""
    (tmp_path / "node.py").write_text(NODE)
    study = tiny(assistants={"max": 0}, student={"loss": ["kd", "node:holding"]})
    file, said = tmp_path / "study.toml", tmp_path / "said"
    file.write_text(render(study.model_copy(update={"root": str(tmp_path)})))
    command = [sys.executable, "-m", "tasearch", "run", str(file), "--engine", "ray"]
    command += ["--address", nodes.address, "--runs-dir", str(tmp_path / "ray")]
    command += ["--latency-from", str(finished.path)]
    alone = f"nohup {shlex.join(command)} > {said} 2>&1 & echo $!"
    shell = ["sh", "-c", alone]
    started = subprocess.run(shell, env=nodes.environment, check=True, capture_output=True)
    process = Path(f"/proc/{int(started.stdout)}")
    try:
        wait_for((tmp_path / "held").exists, LIMIT)
        nodes.nodes[0].lose()
        wait_for(lambda: not process.exists() or state(process) == "Z", LIMIT)
        nodes.restart()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGKILL)
    words = " ".join(said.read_text().split())
    assert "the Ray cluster is gone: " in words, words
    assert "the same command goes on" in words


def test_preempted_node_has_saved_its_rung(
    finished: tasearch.Run, started: Any, nodes: Nodes, tmp_path: Path
) -> None:
    """It gets SIGTERM, and goes; another node goes on from there."""
    (tmp_path / "node.py").write_text(NODE)
    study = tiny(assistants={"max": 0}, student={"loss": ["kd", "node:holding"]})
    study = study.model_copy(update={"root": str(tmp_path)})
    alone = tasearch.run(study, runs_dir=tmp_path / "alone", latency_from=finished.path)
    process, held = started(study), tmp_path / "held"
    wait_for(held.exists, LIMIT)
    raylet = int(held.read_text())
    (node,) = [n for n in nodes.nodes if raylet in descendants(n.process.pid)]
    node.process.terminate()
    node.process.wait(LIMIT)
    nodes.replace(node)
    found = ended(process, tmp_path / "ray" / study.name)
    same(found, alone)
    begun = [e for e in found.directory.events() if e["event"] == "start" and e["epoch"]]
    assert len(begun) == 1


def test_hop_that_takes_its_nodes_down_fails(
    finished: tasearch.Run, started: Any, tmp_path: Path
) -> None:
    """As often as they are replaced, up to three times; the search goes on without it."""
    (tmp_path / "node.py").write_text(NODE)
    study = tiny(assistants={"max": 0}, student={"widths": [4], "loss": ["kd", "node:deadly"]})
    study = study.model_copy(update={"root": str(tmp_path)})
    own = Nodes(tmp_path, 2, head_cores=0)
    with contextlib.closing(own):
        process = started(study, "--address", own.address, around=own)
        while process.poll() is None:
            for node in own.nodes[1:]:
                if node.process.poll() is not None:
                    own.replace(node)
            time.sleep(0.1)
        found = ended(process, tmp_path / "ray" / study.name)
    reasons = {t.recipe["student"]["loss"]: t.reason for t in found.trials if t.recipe}
    assert reasons.pop("kd") is None
    (reason,) = reasons.values()
    assert re.fullmatch(r"hop 16 → 4: its worker was lost with its node \(\w+\), 3 times", reason)


def test_training_that_no_node_has_room_for_is_refused(started: Any) -> None:
    process = started(tiny(resources={"cpus": 64.0, "memory_gb": 9000.0}))
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert (
        "[resources]: one training takes 64 cores and 9000 GB of memory, which no node of the "
        "cluster has" in " ".join(printed.split())
    )


def test_cluster_of_its_own_ends_with_the_run(started: Any, run: Path, one: tasearch.Run) -> None:
    process = started(STUDY, "--workers", "2")
    wait_for(lambda: bool(raylets(process.pid)), LIMIT)
    own = raylets(process.pid)
    same(ended(process, run), one)
    wait_for(lambda: not any(Path(f"/proc/{raylet}").exists() for raylet in own), LIMIT)


@pytest.fixture(scope="module")
def four(nodes: Nodes) -> Nodes:
    """The cluster with two more nodes, for this test and those after it."""
    while len(nodes.nodes) < 4:
        nodes.add()
    return nodes


def test_four_nodes_train_what_one_process_trains(
    started: Any, four: Nodes, run: Path, one: tasearch.Run
) -> None:
    process = started(STUDY)
    wait_for(lambda: len(four.workers()) == 4, LIMIT)
    same(ended(process, run), one)


@pytest.mark.skipif(not CIFAR.is_dir(), reason=f"CIFAR-10 is not in {CIFAR}")
def test_four_nodes_train_images(started: Any, four: Nodes, tmp_path: Path) -> None:
    alone = tasearch.run(IMAGES, runs_dir=tmp_path / "alone")
    process = started(IMAGES, like=alone)
    wait_for(lambda: len(four.workers()) == 4, LIMIT)
    found = ended(process, tmp_path / "ray" / IMAGES.name)
    assert any(trial.state == "complete" and len(trial.chain) == 3 for trial in found.trials)
    same(found, alone)


def state(process: Path) -> str:
    """The state of a process, a letter."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended
        return "Z"


def raylets(driver: int) -> list[int]:
    """The processes of Ray's nodes that a command has started itself."""
    found = []
    for process in descendants(driver):
        with contextlib.suppress(OSError):  # it has ended
            if b"raylet/raylet" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found
