"""How much faster are the digits studies with several workers than with one?

Each study runs by `tasearch run` from start to end, preparation included, with one worker and with
several in turn, each time in a new folder. One study trains each chain once, the other five times.
Each run autotunes and measures latencies itself, so that its trials may differ. To compare trials,
one more run of several workers takes the latencies of a run with one worker; it is not timed, nor
is a first run, in which autotuning compiles the kernels.

    python -m benchmarks.workers --device cuda --many 2 --out benchmarks/results/workers-cuda.json

measures workers that share a GPU.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tasearch
from benchmarks import common
from tasearch.config.files import write_atomic
from tasearch.config.sections import ConfirmSection
from tasearch.config.study_file import render

STUDIES = [common.ROOT / "studies" / name for name in ("digits.toml", "digits-x5.toml")]


def timed(study: Path, device: str, workers: int, folder: Path, *options: str) -> float:
    """Seconds of a run, without a confirmation at its end.

    Args:
        study: Study file.
        device: "cpu" or "cuda".
        workers: Number of workers.
        folder: Folder of the run.
        *options: More options of the command.
    """
    alone = tasearch.load_study(study).model_copy(update={"confirm": ConfirmSection()})
    alone = alone.model_copy(update={"root": str(Path(alone.root).resolve())})
    file = folder / "study.toml"
    write_atomic(file, render(alone).encode())
    command = [sys.executable, "-m", "tasearch", "run", str(file), "--runs-dir", str(folder)]
    command += ["--device", device, "--workers", str(workers), *options]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def trials(folder: Path, name: str) -> list[Any]:
    """What is compared of the trials of a run."""
    run = tasearch.Run.open(folder / name)
    return [(t.number, t.state, t.chain, t.curve, t.reason) for t in run.trials]


def compared(study: Path, device: str, many: int, rounds: int) -> dict[str, Any]:
    """Compare one worker and several, round after round.

    Args:
        study: Study file.
        device: "cpu" or "cuda".
        many: Number of several workers.
        rounds: Number of rounds.
    """
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
    parser = common.parser(__doc__)
    parser.add_argument("--studies", nargs="+", type=Path, default=STUDIES, help="study files")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="device of all runs"
    )
    parser.add_argument("--many", type=int, default=2, help="number of several workers")
    common.add_out_option(parser, "workers-cpu.json")
    args = parser.parse_args()
    result = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
        "studies": [compared(study, args.device, args.many, args.rounds) for study in args.studies],
    }
    common.write_json(args.out, result)


if __name__ == "__main__":
    main()
