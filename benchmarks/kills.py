"""Does a killed run, continued by the same command, end as if nothing had happened?

In each round a study starts from nothing with two workers, and its driver, one worker, or all of
its processes are killed (SIGKILL) at random moments: while it prepares, measures, trains or
exports, up to three times in a row. Then the same command runs until it ends. Trials with all their
values and attributes, and every stored hop byte by byte, must equal those of an uninterrupted run;
an export must be the same folder.

Half of the kills happen in runs whose user code dies as well: a model family whose process exits,
or ends by a segmentation fault, in the middle of one hop, the first time only; or every time for
one width, whose trials must then fail in both runs for the same reason.

    python -m benchmarks.kills --kills 100 --seed 0
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.forks import ForkServer
from benchmarks.kill_rounds import TARGETS, KillBench, Round
from benchmarks.kill_scenarios import DYING, EXITS_MEASURED, MEASURED, PLAIN, Scenario

PHASES = ("preparing", "measuring", "training", "export")
MAX_KILLS = 3  # in a row

Plan = tuple[Scenario, str, list[str]]  # scenario, phase, targets of the kills


def make_plans(kills: int, rng: random.Random, *, dying: bool) -> list[Plan]:
    """Plans of rounds with a number of kills in all.

    Args:
        kills: Number of kills.
        rng: Source of the targets.
        dying: Whether user code dies as well.
    """
    plans: list[Plan] = []
    left, number = kills, 0
    while left:
        phase = PHASES[number % len(PHASES)]
        targets = [rng.choice(TARGETS) for _ in range(min(left, rng.randint(1, MAX_KILLS)))]
        if phase == "export":  # it has no workers
            targets = ["driver" if target == "worker" else target for target in targets]
        scenario = DYING[number // len(PHASES) % len(DYING)] if dying else PLAIN
        if phase == "measuring":
            scenario = EXITS_MEASURED if dying else MEASURED
        plans.append((scenario, phase, targets))
        left -= len(targets)
        number += 1
    return plans


def run_plans(plans: Sequence[Plan], rng: random.Random) -> list[Round]:
    """Carry the plans out, one line of output for each."""
    rounds = []
    with tempfile.TemporaryDirectory() as root, ForkServer() as forks:
        bench = KillBench(Path(root), forks)
        for scenario, phase, targets in plans:
            rounds.append(bench.kill_run(scenario, phase, targets, rng))
            differences = rounds[-1].unequal or "equal"
            print(
                f"{scenario.name}, {phase}, {', '.join(targets)}: {rounds[-1].seconds:.1f} s, "
                f"{differences}",
                flush=True,
            )
    return rounds


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Counts over all rounds, and each round."""
    kills = [kill for r in rounds for kill in r.kills]
    by = Counter(f"{kill.target}, {kill.phase}" for kill in kills if kill.struck)
    return {
        "kills": sum(by.values()),
        "too_late": sum(not kill.struck for kill in kills),
        "by": dict(sorted(by.items())),
        "rounds": len(rounds),
        "beside_dying_user_code": sum(
            kill.struck for r in rounds if r.scenario.death for kill in r.kills
        ),
        "unequal": sum(bool(r.unequal) for r in rounds),
        "seconds": common.spread([r.seconds for r in rounds]),
        "each": [r.to_json() for r in rounds],
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--kills", type=int, default=100, help="number of kills; half of them beside dying code"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the targets and the moments")
    common.add_out_option(parser, "kills.json")
    args = parser.parse_args()
    provenance, rng = common.provenance(args), random.Random(args.seed)
    half = args.kills // 2
    plans = make_plans(args.kills - half, rng, dying=False) + make_plans(half, rng, dying=True)
    result = {
        "question": common.question(__doc__),
        **provenance,
        "machine": common.machine(),
        **summary(run_plans(plans, rng)),
    }
    common.write_json(args.out, result)
    print(f"{result['kills']} kills in {result['rounds']} rounds, {result['unequal']} unequal")
    sys.exit(bool(result["unequal"]))


if __name__ == "__main__":
    main()
