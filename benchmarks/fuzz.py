"""Does any input end in a traceback, a hang or a figure that is not true?

Three parts take turns, for a number of seconds in all:

- runs: one file of a run is damaged (see `benchmarks.damage`), then every command runs. One run is
  finished, one was stopped in the middle of a hop.
- studies: study files, from `studies/`, `tasearch init` and a tiny one, with bytes, lines and
  values changed, are read by `tasearch.load_study`, and one in ten goes to `tasearch run
  --trials 1`. Their data are replaced by a missing file, so that a file that is still valid costs
  no training; only the tiny ones train.
- arrays: npz, parquet and checkpoint files, changed in bytes or content, go to the same command.

Each command must end with 0, 1 or 2, in time, with one message, no traceback, and no control
characters; after damage to a run, with the figures of the undamaged one.

    python -m benchmarks.fuzz --seconds 600 --seed 0
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import common
from benchmarks.forks import ForkServer
from benchmarks.fuzz_arrays import arrays
from benchmarks.fuzz_runs import runs
from benchmarks.fuzz_studies import studies
from benchmarks.fuzz_tally import Tally

PARTS = {"runs": runs, "studies": studies, "arrays": arrays}


def run_parts(
    parts: Sequence[str], seconds: float, seed: int, tally: Tally
) -> tuple[dict[str, float], float]:
    """Run the parts in turn, each for as long as the others.

    Args:
        parts: Keys of `PARTS`.
        seconds: Time of all cases together, without the preparation.
        seed: Seed of all cases.
        tally: Receives the cases.

    Returns:
        Seconds by part, and of the longest case.
    """
    spent, longest, active = dict.fromkeys(parts, 0.0), 0.0, {}
    with tempfile.TemporaryDirectory() as root, ForkServer() as forks:
        for name in parts:
            rng = random.Random(f"{seed} {name}")
            active[name] = PARTS[name](Path(root) / name, forks, rng, tally)
            next(active[name])  # its preparation
        while sum(spent.values()) < seconds:
            name = min(spent, key=lambda n: spent[n])
            start = time.monotonic()
            next(active[name])
            duration = time.monotonic() - start
            spent[name] += duration
            longest = max(longest, duration)
    return spent, longest


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="time, without preparation")
    parser.add_argument("--seed", type=int, default=0, help="seed of all cases")
    parser.add_argument(
        "--parts", nargs="+", choices=[*PARTS], default=[*PARTS], help="parts to run"
    )
    common.add_out_option(parser, "fuzz.json")
    args = parser.parse_args()
    provenance, tally = common.provenance(args), Tally()
    spent, longest = run_parts(args.parts, args.seconds, args.seed, tally)
    tried = sum(tally.tried[name] for name in args.parts)
    result = {
        "question": common.question(__doc__),
        **provenance,
        "machine": common.machine(),
        "tried": tried,
        "failed": len(tally.cases),
        "seconds": {name: round(s, 1) for name, s in spent.items()},
        "longest_case_s": round(longest, 1),
        "by": tally.by(),
        "exit_codes": dict(sorted(tally.codes.items())),
        "failing": tally.cases,
    }
    common.write_json(args.out, result)
    print(f"{tried} tried, {len(tally.cases)} failed")
    sys.exit(bool(tally.cases))


if __name__ == "__main__":
    main()
