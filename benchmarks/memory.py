"""How much memory does a study on many images take, and how long do images take to be decoded?

Images are generated as JPEG files, one folder for each class. A tiny study trains a teacher and a
student on large ones for an epoch each, with two workers; the memory of all its processes is
sampled meanwhile: PSS, in which a page that several processes share counts once, with all pages of
mapped files that are in memory, also those that the system could drop. Small images are decoded,
and loaded again from the image cache, each time by a new process; its imports are not timed.

    python -m benchmarks.memory --images 2000 --small 1000 --out /tmp/memory.json

tries it on few images.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import common
from benchmarks.processes import descendants

CLASSES = 10
LARGE, SMALL = 96, 32  # pixels of a side
EVERY = 0.2  # seconds between samples of memory
MOST_GIB, MOST_DECODING_S, MOST_SECOND_S = 4.0, 30.0, 2.0  # what is aimed at
STUDY = """
name = "memory"

[data]
source = "imagefolder"
path = "images"

[teacher]
width = 4
epochs = 1

[assistants]
max = 0

[student]
widths = [2]
epochs = 1

[search]
trials = 1
"""
LOADING = """
import sys, time
from sklearn.model_selection import train_test_split  # imported where parts are drawn
from tasearch.config.study_file import load_study
from tasearch.data import load_data
start = time.perf_counter()
data = load_data(load_study(sys.argv[1]))
print(time.perf_counter() - start, len(data.train))
"""


def write_images(folder: Path, count: int, side: int) -> int:
    """Write JPEG files of noise in large blocks, one folder for each class; their size in bytes."""
    jobs = [(folder / str(label), label, count // CLASSES, side) for label in range(CLASSES)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return sum(pool.map(_write_class, *zip(*jobs, strict=True)))


def _write_class(folder: Path, label: int, count: int, side: int) -> int:
    folder.mkdir(parents=True)
    rng, written = np.random.default_rng(label), 0
    for i in range(count):
        blocks = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((side, side)).save(stream, "JPEG", quality=90)
        written += (folder / f"{i:06}.jpg").write_bytes(stream.getvalue())
    return written


def memory(pid: int) -> dict[str, float]:
    """Memory of a process and its descendants in GiB: all of it, and that of no file."""
    total = dict.fromkeys(("Pss", "Pss_Anon"), 0)
    for each in (pid, *descendants(pid)):
        for name, kib in _rollup(each):
            if name in total:
                total[name] += kib
    return {name: kib / 2**20 for name, kib in total.items()}


def _rollup(pid: int) -> Iterator[tuple[str, int]]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has ended
        return
    for line in lines:
        name, value, *_ = line.replace(":", "").split()
        yield name, int(value)


def study_memory(folder: Path, count: int, workers: int) -> dict[str, Any]:
    """Run the study twice, and sample its memory: with images to decode, and with the cache."""
    found: dict[str, Any] = {"images": count, "side": LARGE, "workers": workers}
    found["bytes_of_files"] = write_images(folder / "images", count, LARGE)
    found["bytes_of_pixels"] = count * LARGE**2 * 3
    (folder / "study.toml").write_text(STUDY)
    for turn in ("first", "second"):
        command = [sys.executable, "-m", "tasearch", "run", str(folder / "study.toml")]
        command += ["--runs-dir", str(folder / turn), "--workers", str(workers), "--device", "cpu"]
        start, peaks = time.perf_counter(), {"Pss": 0.0, "Pss_Anon": 0.0}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            now = memory(process.pid)
            peaks = {name: max(peak, now[name]) for name, peak in peaks.items()}
            time.sleep(EVERY)
        if process.returncode:
            raise SystemExit(f"the {turn} run ended with {process.returncode}")
        found[turn] = {
            "seconds": time.perf_counter() - start,
            "peak_gib": peaks["Pss"],
            "peak_of_no_file_gib": peaks["Pss_Anon"],
            "holds": peaks["Pss"] < MOST_GIB,
        }
    return found


def decoding(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of new processes that load small images: to be decoded, and from the cache."""
    found: dict[str, Any] = {"images": count, "side": SMALL}
    write_images(folder / "images", count, SMALL)
    (folder / "study.toml").write_text(STUDY)
    times = []
    for _ in range(1 + rounds):
        command = [sys.executable, "-c", LOADING, str(folder / "study.toml")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, samples = done.stdout.split()
        times.append(float(seconds))
        found["training_samples"] = int(samples)
    found |= {"decoding_s": times[0], "again_s": common.spread(times[1:])}
    again = common.spread(times[1:])["median"]
    return found | {"holds": times[0] < MOST_DECODING_S and again < MOST_SECOND_S}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--images", type=int, default=100_000, help="large images")
    parser.add_argument("--small", type=int, default=50_000, help="small images")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the study")
    parser.add_argument("--rounds", type=int, default=3, help="times that images are loaded again")
    common.add_out_option(parser, "memory.json")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
    }
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = Path(name)
        os.environ["TASEARCH_CACHE"] = str(folder / "cache")
        result["decoding"] = decoding(folder / "small", args.small, args.rounds)
        result["study"] = study_memory(folder / "large", args.images, args.workers)
    common.write_json(args.out, result)
    decoded, study = result["decoding"], result["study"]
    print(f"decoding {decoded['decoding_s']:.1f} s, again {decoded['again_s']['median']:.2f} s")
    for turn in ("first", "second"):
        own = study[turn]
        print(
            f"{turn} run: {own['peak_gib']:.2f} GiB at its peak, {own['peak_of_no_file_gib']:.2f} "
            f"of them no pages of files"
        )


if __name__ == "__main__":
    main()
