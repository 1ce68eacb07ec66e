"""Other packages for distillation, in an environment of their own, which the user names.

They need torchvision, which does not fit tasearch's torch. `peer_loops` is what runs there. Peers
whose packages are missing are skipped, and the result says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.common import ROOT

NEEDS = {  # by name in the result: packages beside torch and numpy
    "careful_peers": (),  # the careful tutorial's loop once more, in the environment of the peers
    "torchdistill": ("torchvision", "torchdistill"),
    "timm": ("torchvision", "timm"),
}
PACKAGES = ("numpy", "torch", "torchvision", "torchdistill", "timm")
VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """What can be run.

    Args:
        python: Python of the environment; None if none was named.
        versions: Versions of what is installed there.
        skipped: Why peers are skipped, by name.
    """

    python: Path | None
    versions: dict[str, str]
    skipped: dict[str, str]


def find_peers(python: Path | None) -> Peers:
    """The peers of an environment.

    Args:
        python: Python of the environment; None skips all peers.
    """
    if python is None:
        return Peers(python=None, versions={}, skipped=dict.fromkeys(NEEDS, "no --peers-python"))
    python = python.absolute()  # but not resolved, since the link belongs to the environment
    versions = json.loads(_run(python, "-c", VERSIONS, *PACKAGES))
    missing = {
        name: [p for p in ("numpy", "torch", *needs) if p not in versions]
        for name, needs in NEEDS.items()
    }
    skipped = {n: f"--peers-python lacks {', '.join(m)}" for n, m in missing.items() if m}
    return Peers(python=python, versions=versions, skipped=skipped)


def write_networks(file: Path, teacher: nn.Module, student: nn.Module) -> str | None:
    """Write networks for an environment without tasearch.

    Args:
        file: File to write.
        teacher: Teacher.
        student: Model to train.

    Returns:
        Why that is not possible, or None.
    """
    modules = [m for net in (teacher, student) for m in net.modules()]
    own = {type(m).__name__ for m in modules if not type(m).__module__.startswith("torch.")}
    if own:
        return f"layers of tasearch's own: {', '.join(sorted(own))}"
    torch.save({"teacher": teacher, "student": student}, file)
    return None


def run_peer(
    peers: Peers,
    name: str,
    networks: Path,
    images: Path,
    batch: int,
    *,
    seconds: float,
    threads: int,
) -> dict[str, Any]:
    """What one peer's training measured, in a new process.

    Args:
        peers: What `find_peers` found.
        name: Name of the peer.
        networks: File that `write_networks` wrote.
        images: File of the images.
        batch: Samples of each step.
        seconds: Time to measure.
        threads: Number of threads.
    """
    assert peers.python is not None
    numbers = {"--batch": batch, "--seconds": seconds, "--threads": threads}
    options = [word for option, value in numbers.items() for word in (option, str(value))]
    loop = name.removesuffix("_peers")
    files = [str(networks), str(images)]
    output = _run(peers.python, "-m", "benchmarks.peer_loops", loop, *files, *options)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _run(python: Path, *words: str) -> str:
    """Output of a Python that finds this repository's modules beside those of its environment."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [str(python), *words]
    return subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
