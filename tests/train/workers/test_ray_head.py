"""The head of a cluster: whoever waits for workers is told once it does not answer any more."""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator

import pytest

from tasearch.train.workers import ray_head
from tasearch.train.workers.ray_head import Head


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_lost_head_is_told_to_all_that_watch(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_head, "LOOKS_S", 0.01)
    monkeypatch.setattr(ray_head, "LOST_S", 0.05)
    head = Head(f"127.0.0.1:{listening.getsockname()[1]}")
    told, left = queue.Queue[str](), queue.Queue[str]()
    head.watch("a worker", told.put)
    head.watch("another", left.put)
    head.forget("another")
    assert head.answers
    with pytest.raises(queue.Empty):
        told.get(timeout=0.2)
    listening.close()
    kind, content = json.loads(told.get(timeout=60))
    assert kind == "error"
    assert content["kind"] == "RunError"
    assert content["message"].startswith("the Ray cluster is gone: its head, 127.0.0.1:")
    assert content["message"].endswith("nothing finished is lost, and the same command goes on")
    assert not head.answers
    assert left.empty()


def test_closed_head_is_not_looked_at(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_head, "LOOKS_S", 0.01)
    monkeypatch.setattr(ray_head, "LOST_S", 0.05)
    head, told = Head(f"127.0.0.1:{listening.getsockname()[1]}"), queue.Queue[str]()
    head.watch("a worker", told.put)
    head.close()
    listening.close()
    with pytest.raises(queue.Empty):
        told.get(timeout=0.3)
