"""Nodes of a Ray cluster, as processes of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")

HOST = "127.0.0.2"  # Ray replaces 127.0.0.1 by an address that other machines reach
STARTS_S = 120.0
QUICK = {  # how soon a lost node is noticed
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass
class Node:
    """A node: a process group of its own."""

    process: subprocess.Popen[bytes]

    def lose(self) -> None:
        """Kill all of the node's processes at once, as when its machine is switched off."""
        for name in _session(self.process.pid):
            os.kill(name, signal.SIGKILL)
        self.process.wait()


class Nodes:
    """A cluster whose nodes have one core each.

    Args:
        folder: A folder for the token and for what the nodes print.
        number: Number of nodes at the start.

    Attributes:
        address: Address of the cluster.
        nodes: Its nodes, the head first.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self.nodes = folder, list[Node]()
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        self.address = f"{HOST}:{port}"
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**os.environ, **QUICK, **own, "RAY_USAGE_STATS_ENABLED": "0"}
        self._logs = tempfile.mkdtemp(prefix="ray-")  # paths of its sockets must be short
        head = ["--head", f"--port={port}", "--include-dashboard=false"]
        try:
            self._start(*head, f"--node-ip-address={HOST}", f"--temp-dir={self._logs}")
            for _ in range(number - 1):
                self.add()
        except BaseException:
            self.close()
            raise

    def add(self) -> Node:
        """Add a node."""
        number = len(self.nodes) + 2
        return self._start(f"--address={self.address}", f"--node-ip-address=127.0.0.{number}")

    def close(self) -> None:
        """End all nodes."""
        for node in reversed(self.nodes):
            if node.process.poll() is None:
                node.lose()
        shutil.rmtree(self._logs, ignore_errors=True)

    def _start(self, *arguments: str) -> Node:
        printed = self._folder / f"node-{len(self.nodes)}.txt"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
        command += ["--num-cpus=1", "--object-store-memory=80000000", "--block"]
        with printed.open("wb") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self.environment,
                start_new_session=True,
            )
        node = Node(process)
        self.nodes.append(node)
        until = time.monotonic() + STARTS_S
        while b"Ray runtime started" not in printed.read_bytes():
            assert process.poll() is None, printed.read_text()
            assert time.monotonic() < until, printed.read_text()
            time.sleep(0.1)
        return node


def _session(leader: int) -> list[int]:
    """The processes of a session, and those that these have started in sessions of their own."""
    parents: dict[int, int] = {}
    found = {leader}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            if int(fields[3]) == leader:
                found.add(int(entry.name))
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)
