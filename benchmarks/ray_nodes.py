"""Nodes of a Ray cluster, as processes of this machine."""

from __future__ import annotations

import contextlib
import itertools
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

from benchmarks.processes import descendants

HOST = "127.0.0.2"  # Ray replaces 127.0.0.1 by an address that other machines reach
STARTS_S = 400.0
TIMES = {
    "RAY_raylet_start_wait_time_s": str(int(STARTS_S)),  # on a machine that is busy otherwise
    "RAY_health_check_initial_delay_ms": "1000",  # and how soon a lost node is noticed
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass
class Node:
    """A node: a process, and all that it starts."""

    process: subprocess.Popen[bytes]

    def lose(self) -> None:
        """Kill all of the node's processes at once, as when its machine is switched off."""
        for process in (self.process.pid, *descendants(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


class Nodes:
    """A cluster whose nodes have one core each.

    Args:
        folder: A folder for what the nodes print.
        number: Number of nodes at the start.
        head_cores: Cores of the head; 0 if it trains nothing.

    Attributes:
        address: Address of the cluster.
        nodes: Its nodes, the head first.
    """

    def __init__(self, folder: Path, number: int, *, head_cores: int = 1) -> None:
        self._folder, self._head_cores, self.nodes = folder, head_cores, list[Node]()
        self._numbers = itertools.count()  # of the nodes that are started, for the names of files
        with socket.socket() as free:
            free.bind((HOST, 0))
            self._port = free.getsockname()[1]
        self.address = f"{HOST}:{self._port}"
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**os.environ, **TIMES, **own, "RAY_USAGE_STATS_ENABLED": "0"}
        self._start_all(number)

    def _start_all(self, number: int) -> None:
        self._hosts = itertools.count(3)  # last parts of the addresses of nodes beside the head
        self._logs = tempfile.mkdtemp(prefix="ray-")  # paths of its sockets must be short
        head = ["--head", f"--port={self._port}", "--include-dashboard=false", "--no-monitor"]
        try:
            head += [f"--node-ip-address={HOST}", f"--temp-dir={self._logs}"]
            self._start(*head, cores=self._head_cores)
            for _ in range(number - 1):
                self.add()
        except BaseException:
            self.close()
            raise

    def add(self) -> Node:
        """Add a node; a start that takes too long is tried once more."""
        try:
            return self._start_beside_head()
        except RuntimeError:
            return self._start_beside_head()

    def _start_beside_head(self) -> Node:
        own = f"127.0.0.{next(self._hosts)}"
        return self._start(f"--address={self.address}", f"--node-ip-address={own}")

    def restart(self) -> None:
        """End all nodes, and start as many new ones at the same address."""
        number = len(self.nodes)
        self.close()
        self._start_all(number)

    def replace(self, node: Node) -> None:
        """Lose what is left of a node, and start another one."""
        node.lose()
        self.nodes.remove(node)
        self.add()

    def workers(self) -> list[int]:
        """Worker processes of tasearch on all nodes."""
        found = [p for node in self.nodes for p in descendants(node.process.pid)]
        return [process for process in found if b"become_worker" in _command(process)]

    def close(self) -> None:
        """End all nodes."""
        for node in reversed(self.nodes):
            if node.process.poll() is None:
                node.lose()
        self.nodes.clear()
        shutil.rmtree(self._logs, ignore_errors=True)

    def _start(self, *arguments: str, cores: int = 1) -> Node:
        printed = self._folder / f"node-{next(self._numbers)}.txt"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
        command += [f"--num-cpus={cores}", "--object-store-memory=80000000", "--block"]
        command.append("--include-log-monitor=false")  # one process less for each node
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
            if process.poll() is not None or time.monotonic() > until:
                node.lose()
                self.nodes.remove(node)
                raise RuntimeError(f"no node of Ray starts here: {printed.read_text()}")
            time.sleep(0.1)
        return node


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""
