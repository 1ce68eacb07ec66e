"""How much sooner are the digits studies done with several workers than with one?

`tasearch run` of each study from its start to its end, the preparation included, with `--workers 1`
and with two, or as many as are asked for, in turn, each in a new folder. One study trains each
chain once, the other five times. Probes and latencies are each run's own. The trials are compared
as well: they should be the same where these are, so several workers take those of one worker in a
further run that is not timed. Nor is a first run, whose probes compile the kernels.

    python -m benchmarks.workers --device cuda --many 2 --out benchmarks/results/workers-cuda.json

is the same of workers that share a GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tasearch
from benchmarks import common

STUDIES = [common.ROOT / "studies" / name for name in ("digits.toml", "digits-x5.toml")]


def timed(study: Path, device: str, workers: int, folder: Path, *options: str) -> float:
    """Seconds of a run."""
    command = [sys.executable, "-m", "tasearch", "run", str(study), "--runs-dir", str(folder)]
    command += ["--device", device, "--workers", str(workers), *options]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def trials(folder: Path, name: str) -> list[Any]:
    run = tasearch.Run.open(folder / name)
    return [(t.number, t.state, t.chain, t.curve, t.reason) for t in run.trials]


def compared(study: Path, device: str, many: int, rounds: int) -> dict[str, Any]:
    """Both ways in turn, round after round."""
    name, found = tasearch.load_study(study).name, []
    with tempfile.TemporaryDirectory() as root:
        timed(study, device, 1, Path(root) / "first", "--trials", "1")
        for number in range(rounds):
            folders = {n: Path(root) / f"{number}-{n}" for n in (1, many)}
            seconds = {n: timed(study, device, n, folder) for n, folder in folders.items()}
            found.append({"one_s": seconds[1], "many_s": seconds[many]})
            print(f"{name} {number + 1}: {seconds[1]:.1f} s, {seconds[many]:.1f} s", flush=True)
        again = Path(root) / "again"
        timed(study, device, many, again, "--latency-from", str(folders[1] / name))
        same = trials(again, name) == trials(folders[1], name)
    ratio = common.spread([r["one_s"] / r["many_s"] for r in found])
    print(
        f"{name}: {many} workers are {ratio['median']:.2f} times as fast ({ratio['min']:.2f} to "
        f"{ratio['max']:.2f}); trials the same: {'yes' if same else 'no'}"
    )
    return {
        "study": study.name,
        "workers": many,
        "rounds": found,
        "ratio": ratio,
        "trials_are_the_same": same,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", nargs="+", type=Path, default=STUDIES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--many", type=int, default=2, help="workers")
    parser.add_argument("--out", type=Path, default=common.RESULTS / "workers-cpu.json")
    args = parser.parse_args()
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "provenance": common.provenance(args),
        "studies": [compared(study, args.device, args.many, args.rounds) for study in args.studies],
    }
    common.write_json(args.out, result)


if __name__ == "__main__":
    main()
