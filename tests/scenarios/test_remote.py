"""Runs on a real server of S3, and on a cluster whose machines share no folder."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tasearch
from tasearch.config.places import Url
from tasearch.config.study_file import render
from tasearch.runs.remote.lease import LEASES
from tests.helpers.packages import skip_without_ray
from tests.helpers.processes import wait_for
from tests.helpers.studies import PRUNES_OFTEN, tiny

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install -e '.[remote]'")

from tasearch.runs.remote.bucket import Bucket
from tests.helpers.object_stores import new_url, objects, quick_leases, s3_server
from tests.helpers.remote_runs import same

pytestmark = pytest.mark.slow

SEED = 0
KILLS = 3
WAIT_S = 300.0
SEARCH = {**PRUNES_OFTEN, "trials": 12, "audit_fraction": 0.3}
STUDY = tiny(
    name="victim",
    search=SEARCH,
    student={"guidance": ["serial", "dense"], "loss": ["kd", "ce"], "epochs": 8},
    training={"modes": dict.fromkeys(("16", "12", "8", "6", "4", "2"), "fp32")},
)
Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def local(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """The study, searched in a folder by one process."""
    folder = tmp_path_factory.mktemp("local")
    return tasearch.run(STUDY, runs_dir=folder, latency_from=finished.path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "reader"))
    with quick_leases():
        monkeypatch.setenv("TASEARCH_LEASE_SECONDS", "3")
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[], Url]]:
    pytest.importorskip("moto", reason="moto is not installed: pip install -e '.[dev]'")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -e '.[dev]'")
    with s3_server() as make_bucket:
        yield make_bucket


@pytest.fixture
def s3(server: Callable[[], Url]) -> Url:
    """The URL of a run in a new bucket."""
    return server() / "runs" / STUDY.name


@pytest.fixture
def started(finished: tasearch.Run, tmp_path: Path) -> Iterator[Started]:
    """Starts the command that runs the study, each time on an empty disk."""
    running: list[subprocess.Popen[str]] = []
    file = tmp_path / "study.toml"
    file.write_text(render(STUDY))

    def start(url: Url, *options: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tasearch", "run", str(file)]
        command += ["--runs-dir", str(url.parent), "--latency-from", str(finished.path), *options]
        disk = {"TASEARCH_CACHE": str(tmp_path / f"disk-{len(running)}")}
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **disk, **environment},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def end(process: subprocess.Popen[str]) -> str:
    """What a command prints that must end well."""
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    return printed


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_driver_goes_on_elsewhere(
    s3: Url, started: Started, local: tasearch.Run, workers: str
) -> None:
    rng, kills = random.Random(SEED), 0
    for _ in range(KILLS):
        process, before = started(s3, "--workers", workers), len(objects(s3))
        wait_for(
            lambda p=process, n=before: p.poll() is not None or len(objects(s3)) > n + 3, WAIT_S
        )
        time.sleep(rng.uniform(0.0, 1.5))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills >= 2, "the run ended too early to be killed"
    end(started(s3, "--workers", workers))
    same(s3, local)
    assert Bucket(s3).names(LEASES) == []


def test_two_drivers_at_once_search_one_study(
    s3: Url, started: Started, local: tasearch.Run
) -> None:
    """One of them is refused; which one, they find out."""
    both = [started(s3) for _ in range(2)]
    printed = [process.communicate(timeout=300)[0] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], printed
    assert "is running or confirming it" in printed[codes.index(2)]
    same(s3, local)


def test_driver_that_was_asleep_is_fenced(s3: Url, started: Started, local: tasearch.Run) -> None:
    asleep = started(s3)
    wait_for(lambda: len(Bucket(s3).names("hops")) >= 2, WAIT_S)
    asleep.send_signal(signal.SIGSTOP)
    end(started(s3))
    after = objects(s3)
    asleep.send_signal(signal.SIGCONT)
    printed, _ = asleep.communicate(timeout=120)
    assert asleep.returncode == 2, printed
    assert "has taken the run over" in " ".join(printed.split())
    kept = objects(s3)
    assert {name: kept.get(name) for name in after} == after
    same(s3, local)


def test_missing_bucket_and_missing_keys_are_told(s3: Url, started: Started) -> None:
    process = started(Url("s3://nowhere/runs/victim"))
    printed = " ".join(process.communicate(timeout=120)[0].split())
    assert process.returncode == 2, printed
    assert "The specified bucket does not exist; make the bucket first" in printed
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    process = started(s3, AWS_EC2_METADATA_DISABLED="true", HOME="/nowhere", **none)
    printed = " ".join(process.communicate(timeout=120)[0].split())
    assert process.returncode == 2, printed
    assert "it is refused: " in printed and "check the URL, the credentials" in printed
    assert objects(s3) == {}


def test_cluster_without_a_common_folder_trains_the_same(
    started: Started, local: tasearch.Run, tmp_path: Path
) -> None:
    """Its nodes have a disk of their own each; only the store is common."""
    skip_without_ray()
    from benchmarks.ray_nodes import Nodes

    url = new_url("file", tmp_path) / STUDY.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASEARCH_CACHE", str(tmp_path / "node"))
        try:
            (tmp_path / "logs").mkdir()
            nodes = Nodes(tmp_path / "logs", 2)
        except RuntimeError as error:
            pytest.skip(str(error))
    try:
        options = ("--engine", "ray", "--address", nodes.address)
        keep = {name: nodes.environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
        first = started(url, *options, **keep)
        wait_for(lambda: len(Bucket(url).names("hops")) >= 3, WAIT_S)
        first.kill()
        first.wait()
        end(started(url, *options, **keep))
    finally:
        nodes.close()
    same(url, local)
    (copy,) = (tmp_path / "node" / "runs").glob("*/victim")
    assert [*(copy / "hops").iterdir()]
    assert [*(copy / "targets").iterdir()]
    assert len([*(copy / "shared").glob("*.arrays")]) == 1
