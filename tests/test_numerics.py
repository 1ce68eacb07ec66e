"""Settings of the process, each tried in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MIB = 48  # beyond what glibc ever keeps by itself
PAGES = MIB * 2**20 // 4096
TURNS = 20


def faults(setting: str) -> int:
    """Pages that the system clears while a large tensor is made and freed, after some turns."""
    code = (
        "import resource, torch\n"
        "from tasearch import numerics\n"
        f"{setting}\n"
        "for turn in range(10):\n"
        f"    torch.ones({MIB} * 2**18)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        f"for _ in range({TURNS}):\n"
        f"    torch.ones({MIB} * 2**18)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_freed_memory_is_used_again() -> None:
    assert faults("pass") > TURNS / 2 * PAGES  # else there is nothing to do
    assert faults("numerics.keep_freed_memory()") < PAGES
