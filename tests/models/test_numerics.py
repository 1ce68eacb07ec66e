"""Settings of the process, each tried in a process of its own."""

from __future__ import annotations

import os
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
        "from tasearch.models import numerics\n"
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


@pytest.mark.slow
@pytest.mark.parametrize("deterministic", [False, True])
def test_set_up_cuda_selects_full_float32_and_determinism_on_request(deterministic: bool) -> None:
    code = (
        "import os, torch\n"
        "from tasearch.train.cuda import set_up_cuda\n"
        f"set_up_cuda(torch.device('cuda'), deterministic={deterministic})\n"
        "cudnn = torch.backends.cudnn\n"
        "print(torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark,\n"
        "    cudnn.deterministic, torch.are_deterministic_algorithms_enabled(),\n"
        "    os.environ.get('CUBLAS_WORKSPACE_CONFIG'))\n"
    )
    environment = {n: v for n, v in os.environ.items() if n != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    found = ["False", "False", str(not deterministic), str(deterministic), str(deterministic)]
    assert done.stdout.split() == [*found, ":4096:8" if deterministic else "None"]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_process_reuses_freed_memory() -> None:
    assert faults("pass") > TURNS / 2 * PAGES  # else there is nothing to do
    assert faults("numerics.keep_freed_memory()") < PAGES
