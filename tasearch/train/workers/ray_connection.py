"""The connection of this process to a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasearch.errors import RunError, first_line, option

if TYPE_CHECKING:
    from types import ModuleType

LOCAL = "127.0.0.2"  # Ray replaces 127.0.0.1 by an address that other machines reach
STORE_BYTES = 100_000_000  # of Ray's own memory for objects, of which lines are the largest
CURRENT = Path("/tmp/ray/ray_current_cluster")  # where Ray writes the address of this machine's
ANSWERS_S = 10.0  # seconds in which a cluster's head has to answer
NEVER_S = "31536000"  # a year


def import_ray(address: str | None) -> ModuleType:
    """Ray, if it is installed, set up before it is imported, when it reads most of its settings.

    It sends no statistics of its use. A cluster of this process's own takes orders of no other one.
    Ray does not end this process, at once and with 1, when another cluster is lost: neither when it
    has not found the head for a minute, nor with the node beside this process. Ray takes that node
    for a worker's parent, and for dead if the parent is process 1, as after the end of a terminal.
    `RayCluster` ends the search then, with a message.

    Args:
        address: As for `connect`.

    Raises:
        RunError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is not None:
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", NEVER_S)
        os.environ["RAY_RAYLET_PID"] = str(os.getpid())  # alive, as long as this process is
    elif "ray" not in sys.modules:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise RunError(
            f"{option('engine')}: Ray cannot be imported: {error}; pip install 'tasearch[ray]'"
        ) from None
    return ray


def connect(ray: ModuleType, address: str | None) -> None:
    """Connect to a cluster, or start one on this machine.

    Args:
        ray: The module.
        address: "auto" for the cluster that this machine belongs to, or HOST:PORT; None to start
            one on this machine.

    Raises:
        RunError: There is no such cluster, or none can be started.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address is None:
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        options |= {"_node_ip_address": LOCAL}
    else:
        _check_answers(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address or "local", **options)
    except (Exception, SystemExit) as error:  # Ray has several kinds
        where = "on this machine" if address is None else f"at {address}"
        raise RunError(f"{option('engine')}: no cluster {where}: {first_line(error)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray has put its own in their places
                signal.signal(number, handler)


def _check_answers(address: str) -> None:
    """Refuse an address at which nothing listens: Ray would try for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
        with contextlib.suppress(OSError):
            address = address or CURRENT.read_text().strip()
    if not address.rpartition(":")[2].isdecimal():
        return  # Ray looks for it otherwise, or says that there is none
    try:
        ask(address)
    except (OSError, OverflowError) as error:
        words = f"{option('engine')}: no cluster at {address}: {first_line(error)}"
        raise RunError(words) from None


def ask(address: str) -> None:
    """Look whether the head of a cluster is there.

    Args:
        address: HOST:PORT.

    Raises:
        OSError: It does not answer.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), ANSWERS_S).close()
