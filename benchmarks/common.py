"""What benchmarks have in common: images, new processes, command line, provenance, output."""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.train.workers.processes import with_large_pages

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
CIFAR = "../shared/data/cifar10"  # from the repository root
PARTS = ("train", "val", "test")
CLASSES = 10  # as in CIFAR-10
VALIDATION = 100  # samples: enough to evaluate, too few to take time


def write_images(data: str, count: int, file: Path, validation: int = VALIDATION) -> str:
    """Write some of CIFAR-10's images as an npz file, or noise of their shape without the data.

    Args:
        data: Folder of the parquet files, relative to the repository root.
        count: Number of training images.
        file: File to write.
        validation: Number of validation images, and of test images.

    Returns:
        What the images are, in words.
    """
    real = (ROOT / data).is_dir()
    if real:
        section = {"source": "parquet", "path": str((ROOT / data).resolve()), "limit": count}
        found = load_data(parse_study({"data": section}))
        rest = found.validation
        x = [found.train.x, rest.x[:validation], rest.x[-validation:]]
        y = [found.train.y, rest.y[:validation], rest.y[-validation:]]
    else:
        random, sizes = np.random.default_rng(0), (count, validation, validation)
        x = [random.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8) for n in sizes]
        y = [np.arange(n) % CLASSES for n in sizes]
    arrays: dict[str, Any] = {f"x_{part}": array for part, array in zip(PARTS, x, strict=True)}
    arrays |= {f"y_{part}": array for part, array in zip(PARTS, y, strict=True)}
    np.savez(file, **arrays)
    return "CIFAR-10" if real else "noise of CIFAR-10's shape"


def fresh(
    function: Callable[..., Any], *args: Any, processes: int = 1, large_pages: bool = False
) -> list[Any]:
    """Results of a function in new processes, all at the same time.

    Args:
        function: Function to call.
        *args: Its arguments.
        processes: Number of processes.
        large_pages: Whether the processes use large memory pages, as tasearch's workers do.
    """
    context = multiprocessing.get_context("spawn")
    before = dict(os.environ)
    if large_pages:
        os.environ.update(with_large_pages(before))
    try:
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            futures = [pool.submit(function, *args) for _ in range(processes)]
            return [future.result() for future in futures]
    finally:
        os.environ.clear()
        os.environ.update(before)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of several values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def provenance(args: argparse.Namespace) -> dict[str, Any]:
    """When, where and with what a result was measured."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "HEAD"),
        "changed_since": bool(git("status", "--porcelain", "--untracked-files=no")),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_default_threads": torch.get_num_threads(),
        **_gpu(),
        "arguments": {name: without_places(str(v)) for name, v in vars(args).items()},
    }


def without_places(text: str) -> str:
    """A text whose absolute paths are relative to the repository, or just names where they are not.

    Results say what was measured, and not where on somebody's disk.

    Args:
        text: Any text.

    Example:
        >>> without_places("[PosixPath('/home/ann/runs/digits'), 3]")
        "[PosixPath('digits'), 3]"
    """
    return re.sub(
        r"(?<![\w:/])/(?:[^\s/,'\"]+/)*([^\s/,'\"]+)", r"\1", text.replace(f"{ROOT}/", "")
    )


def question(doc: str | None) -> str:
    """The question that a benchmark answers: the first line of its module's docstring."""
    return (doc or "").splitlines()[0]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring, and tells the defaults.

    Args:
        doc: Docstring of the benchmark's module.
    """
    return argparse.ArgumentParser(description=doc, formatter_class=_Help)


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add --data, the folder of CIFAR-10."""
    text = "folder of CIFAR-10's parquet files, relative to the repository"
    parser.add_argument("--data", default=CIFAR, help=text)


def add_out_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add --out, the file for the result; by default results/`name`."""
    parser.add_argument("--out", type=Path, default=RESULTS / name, help="file for the result")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def single_threaded(processes: int) -> ProcessPoolExecutor:
    """A pool of new processes, each with one thread."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


def machine() -> str:
    """Number of cores and name of the processor, in words."""
    return f"{len(os.sched_getaffinity(0))} cores of {_cpu()}, {platform.system()}, no GPU used"


def _gpu() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {}
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        driver = "unknown"
    return {
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "driver": driver.split("\n")[0],
        "cuda": torch.version.cuda,
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def write_json(path: Path, result: Any) -> None:
    """Write a result, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in plain text: the first column aligned to the left, all others to the right.

    Args:
        head: Titles of the columns.
        rows: Cells of each row.
    """
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first, *rest = zip(row, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)]))
    return "\n".join(lines)
