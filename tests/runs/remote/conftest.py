"""Each test of runs at URLs has quick leases, and stores that do not fail yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install -e '.[remote]'")

from tasearch.config.places import Url
from tasearch.runs.remote.bucket import Bucket
from tests.helpers.object_stores import FailingStore, new_url, quick_leases


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    FailingStore.heal()
    with quick_leases():
        yield
    FailingStore.heal()


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Url:
    """The URL of a run that is not there yet."""
    return new_url(request.param, tmp_path) / "run"


@pytest.fixture
def bucket(url: Url) -> Bucket:
    return Bucket(url)


@pytest.fixture
def failing() -> Url:
    """The URL of a run in a store that can fail."""
    return new_url("failing") / "run"
