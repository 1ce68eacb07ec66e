"""How much sooner is the digits study done with two workers than with one?

`tasearch run studies/digits.toml` from its start to its end, the preparation included, with
`--workers 1` and `--workers 2` in turn, each in a new folder. The front is compared as well: it
should be the same where the latencies are, so the second of a round takes those of the first in a
further run that is not timed.
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


def timed(study: Path, workers: int, folder: Path, *options: str) -> float:
    """Seconds of a run."""
    command = [sys.executable, "-m", "tasearch", "run", str(study), "--runs-dir", str(folder)]
    begun = time.perf_counter()
    subprocess.run(
        [*command, "--workers", str(workers), *options], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


def trials(folder: Path, name: str) -> list[Any]:
    run = tasearch.Run.open(folder / name)
    return [(t.number, t.state, t.chain, t.curve, t.reason) for t in run.trials]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--study", type=Path, default=common.ROOT / "studies/digits.toml")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=common.RESULTS / "workers-cpu.json")
    args = parser.parse_args()
    provenance = common.provenance(args)
    name, rounds = tasearch.load_study(args.study).name, []
    with tempfile.TemporaryDirectory() as root:
        for number in range(args.rounds):
            folders = {n: Path(root) / f"{number}-{n}" for n in (1, 2)}
            seconds = {n: timed(args.study, n, folder) for n, folder in folders.items()}
            rounds.append({"one_s": seconds[1], "two_s": seconds[2]})
            print(f"round {number + 1}: {seconds[1]:.1f} s, {seconds[2]:.1f} s", flush=True)
        again = Path(root) / "again"
        timed(args.study, 2, again, "--latency-from", str(folders[1] / name))
        same = trials(again, name) == trials(folders[1], name)
    ratios = [r["one_s"] / r["two_s"] for r in rounds]
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "provenance": provenance,
        "rounds": rounds,
        "ratio": common.spread(ratios),
        "trials_are_the_same": same,
    }
    common.write_json(args.out, result)
    found = result["ratio"]
    print(
        f"two workers: {found['median']:.2f} times as fast ({found['min']:.2f} to "
        f"{found['max']:.2f}); trials the same: {'yes' if same else 'no'}"
    )


if __name__ == "__main__":
    main()
