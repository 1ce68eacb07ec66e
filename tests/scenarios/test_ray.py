"""A search on the nodes of a Ray cluster: the same study, whatever is lost on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tasearch
from benchmarks.processes import descendants
from benchmarks.ray_nodes import Nodes
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tests.helpers.processes import wait_for
from tests.helpers.runs import contents, facts, once_each
from tests.helpers.studies import tiny

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow

SEARCH = {
    "trials": 12,
    "gain_quantile": 0.0,
    "noise_margin": 0.0,
    "n_startup_trials": 1,
    "audit_fraction": 0.3,
}
STUDY = tiny(
    search=SEARCH,
    student={"guidance": ["serial", "dense"], "loss": ["kd", "ce"]},
    training={"modes": dict.fromkeys(("16", "12", "8", "6", "4", "2"), "fp32")},
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

    def start(study: Study, *options: str) -> subprocess.Popen[str]:
        file = tmp_path / "study.toml"
        file.write_text(render(study))
        command = [sys.executable, "-m", "tasearch", "run", str(file), "--engine", "ray"]
        command += ["--runs-dir", str(tmp_path / "ray"), "--latency-from", str(finished.path)]
        process = subprocess.Popen(
            [*command, *(options or ("--address", nodes.address))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=nodes.environment,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str], run: Path) -> tasearch.Run:
    """The run of a command that must end well."""
    printed, _ = process.communicate(timeout=300)
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


def test_killed_worker_changes_nothing(
    started: Any, nodes: Nodes, run: Path, one: tasearch.Run
) -> None:
    process = started(STUDY)
    wait_for(trained(run, 3))
    os.kill(nodes.workers()[0], signal.SIGKILL)
    same(ended(process, run), one)


def test_killed_driver_goes_on(started: Any, run: Path, one: tasearch.Run) -> None:
    process = started(STUDY)
    wait_for(trained(run, 4))
    process.kill()
    process.wait()
    same(ended(started(STUDY), run), one)


def test_lost_node_changes_nothing(
    started: Any, nodes: Nodes, run: Path, one: tasearch.Run
) -> None:
    """The last node of the cluster; one that joins later takes its place."""
    process = started(STUDY)
    wait_for(trained(run, 3))
    nodes.nodes.pop().lose()
    nodes.add()
    same(ended(process, run), one)


def test_cluster_of_its_own_ends_with_the_run(started: Any, run: Path, one: tasearch.Run) -> None:
    process = started(STUDY, "--workers", "2")
    wait_for(lambda: bool(raylets(process.pid)))
    own = raylets(process.pid)
    same(ended(process, run), one)
    wait_for(lambda: not any(Path(f"/proc/{raylet}").exists() for raylet in own))


def raylets(driver: int) -> list[int]:
    """The processes of Ray's nodes that a command has started itself."""
    found = []
    for process in descendants(driver):
        with contextlib.suppress(OSError):  # it has ended
            if b"raylet/raylet" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found
