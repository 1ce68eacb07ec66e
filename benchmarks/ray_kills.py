"""Does a search on a Ray cluster, of which parts are killed, end like one in a single process?

A cluster of several nodes with one core each runs on this machine. In each round a study is
searched on it, and at a random moment of the training one worker, one node other than the head, the
driver, or the head is killed (SIGKILL). A lost node is replaced by a new one, a killed driver by
the same command. Without its head the command has to end with code 2 and a message, and goes on
once the cluster is started again. Workers on other nodes are paused meanwhile, as if their hops
took hours: they would finish this small study within the half minute that a search waits for its
head. Where it is done all the same, it has to end with 0. Trials with all their values and
attributes, and every stored hop byte by byte, must equal those of an uninterrupted run on this
machine without Ray. A kill that came too late is repeated in another round.

    python -m benchmarks.ray_kills --kills 20 --nodes 3 --seed 0
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.forks import ForkServer
from benchmarks.kill_rounds import LIMIT, POLL, Kill, KillBench, Round
from benchmarks.kill_scenarios import PLAIN, Scenario
from benchmarks.processes import exit_code, kill
from benchmarks.ray_nodes import Nodes

LATER_S = 0.5  # seconds after the end of a hop, at most
NOT_TOLD = -1  # told of the loss, and yet with code 0
TARGETS = ("worker", "node", "driver", "head")


class RayKillBench(KillBench):
    """Killed runs on a cluster, compared with a run without one.

    Args:
        root: Folder for everything.
        forks: Server that reads runs.
        nodes: The cluster.
    """

    def __init__(self, root: Path, forks: ForkServer, nodes: Nodes) -> None:
        super().__init__(root, forks)
        self._nodes = nodes
        straight = self.uninterrupted(PLAIN)  # before the cluster is used
        self._hops = len([*(straight / "runs" / PLAIN.name / "hops").glob("[!.]*")])
        self._options = ["--engine", "ray", "--address", nodes.address]

    def _run_command(self, scenario: Scenario, *, measure: bool = False) -> list[str]:
        return [*super()._run_command(scenario, measure=measure), *getattr(self, "_options", [])]

    def _kill(
        self, scenario: Scenario, folder: Path, argv: list[str], plan: Kill, rng: random.Random
    ) -> int | None:
        """Start the command, and kill after a random number of hops, and some time of the next.

        Returns:
            The command's exit code where it continues, else None.
        """
        process = self._start(scenario, folder, argv, dying=False)
        hops = folder / "runs" / scenario.name / "hops"
        count = rng.randrange(1, self._hops)  # seconds mean little where other work is done, too
        while process.poll() is None and len([*hops.glob("[!.]*")]) < count:
            time.sleep(POLL)
        time.sleep(rng.uniform(0.0, LATER_S))
        if process.poll() is None and plan.target == "worker":
            found = self._nodes.workers()
            plan.struck = bool(found) and kill(rng.choice(found))
        elif process.poll() is None and plan.target == "node":
            self._nodes.replace(rng.choice(self._nodes.nodes[1:]))
            plan.struck = True
        elif process.poll() is None and plan.target == "head":
            plan.struck = True
            plan.code = self._lose_head(process)
            return self._wrong(plan.code, folder)
        elif process.poll() is None:
            plan.struck = kill(process.pid)
            process.wait()
            return None
        return exit_code(process, LIMIT)

    def _lose_head(self, process: subprocess.Popen[bytes]) -> int:
        """Lose the head, pause what trains, and start the cluster again when the command has ended.

        Returns:
            The command's exit code.
        """
        self._nodes.nodes[0].lose()
        for worker in self._nodes.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGSTOP)
        code = exit_code(process, LIMIT)
        self._nodes.restart()
        return code

    def _wrong(self, code: int, folder: Path) -> int | None:
        """The code of a command that lost its head, if it is not as it should be."""
        words = (folder / "words").read_text(errors="replace")
        told = "the Ray cluster is gone" in words and "same command goes on" in words
        return None if code == (2 if told else 0) else code or NOT_TOLD


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Counts over all rounds, and each round."""
    kills = [kill for r in rounds for kill in r.kills]
    return {
        "kills": sum(kill.struck for kill in kills),
        "too_late": sum(not kill.struck for kill in kills),
        "by": dict(sorted(Counter(kill.target for kill in kills if kill.struck).items())),
        "codes_without_head": [kill.code for kill in kills if kill.code is not None],
        "unequal": sum(bool(r.unequal) for r in rounds),
        "seconds": common.spread([r.seconds for r in rounds]),
        "each": [r.to_json() for r in rounds],
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--nodes", type=int, default=3, help="number of nodes, the head among them")
    parser.add_argument("--seed", type=int, default=0, help="seed of the targets and the moments")
    common.add_out_option(parser, "ray-kills.json")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    about = {
        "question": common.question(__doc__),
        **common.provenance(args),
        "machine": common.machine(),
    }
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as root:
        nodes = Nodes(Path(root), args.nodes)
        try:
            os.environ |= nodes.environment
            with ForkServer() as forks:
                bench = RayKillBench(Path(root), forks, nodes)
                struck = 0
                while struck < args.kills:
                    target = TARGETS[struck % len(TARGETS)]
                    rounds.append(bench.kill_run(PLAIN, "training", [target], rng))
                    last = rounds[-1]
                    struck += last.kills[0].struck
                    words = f"{target}: {last.seconds:.1f} s, {last.unequal or 'equal'}"
                    print(words, flush=True)
                    common.write_json(args.out, {**about, **summary(rounds)})
        finally:
            nodes.close()
    result = summary(rounds)
    print(f"{result['kills']} kills, {result['unequal']} rounds unequal")
    sys.exit(bool(result["unequal"]))


if __name__ == "__main__":
    main()
