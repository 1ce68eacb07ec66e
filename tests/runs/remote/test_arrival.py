"""A worker on another machine gets its setup with paths of its own, and what is at these paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasearch.config.places import Url
from tasearch.runs.addresses import store_address
from tasearch.runs.remote.arrival import arrived
from tasearch.runs.remote.run import RemoteRun, copy_folder


@pytest.fixture
def driver(url: Url) -> RemoteRun:
    return RemoteRun(url)


def made(driver: RemoteRun, under: str) -> dict[str, Any]:
    """The setup of the workers of a driver, which holds the run's lock."""
    for name in ("inputs/own.py", "confirm/teacher.safetensors", "shared/data.arrays", "run.json"):
        file = driver.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    driver.publish()
    data = driver.path / "shared/data.arrays"
    return {
        "study": json.dumps({"root": str(driver.path / "inputs")}),
        "code": {str(driver.path / "inputs/own.py"): "digest", "/elsewhere/a.py": "digest"},
        "store": store_address(driver.store(lambda message: None, under)),
        "data": str(data),
        "data_name": driver.deliver(data),
    }


@pytest.mark.parametrize("under", ["", "confirm"])
def test_setup_arrives_on_another_machine(
    driver: RemoteRun, url: Url, under: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with driver.locked():
        setup = made(driver, under)
        assert arrived(setup) == setup  # on the driver's own machine
        monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "another-machine"))
        found = arrived(setup)
    here = copy_folder(url)
    assert here.is_relative_to(tmp_path / "another-machine")
    assert json.loads(found["study"]) == {"root": str(here / "inputs")}
    assert found["code"] == {str(here / "inputs/own.py"): "digest", "/elsewhere/a.py": "digest"}
    assert found["store"]["path"] == str(here / under)
    assert Path(found["data"]).is_relative_to(here)
    assert Path(found["data"]).read_bytes() == b"shared/data.arrays"
    assert (here / "inputs/own.py").read_bytes() == b"inputs/own.py"
    assert (here / "confirm/teacher.safetensors").is_file()
