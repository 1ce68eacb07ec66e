"""How long do whole studies take with this code, and with another checkout of it?

Each study runs by `tasearch run` with two workers, preparation included, with one checkout and the
other in turn, each time in a new folder. Proposals are random and nothing is pruned, so that
accuracies, which may differ in their last bits, do not change what is trained. A first run of each
checkout, which compiles what is compiled, is not counted.

    git worktree add ../other <commit>
    python -m benchmarks.checkouts ../other --out benchmarks/results/checkouts.json
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import common
from tasearch.config.sections import ConfirmSection
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, render

STUDIES = {  # by name: the file, and what is changed in its section [search]
    "digits": ("studies/digits.toml", {}),
    "mnist": ("benchmarks/tables/mnist.toml", {"trials": 40, "replicates": 1, "rungs": 5}),
    "cifar10": ("studies/cifar10.toml", {}),
}
SIDES = ("this", "other")


def study_of(name: str) -> Study:
    """A study whose work does not depend on accuracies; its paths are absolute."""
    file, changes = STUDIES[name]
    study = load_study(common.ROOT / file)
    own = {**changes, "sampler": "random", "pruner": "none"}
    root = str(Path(study.root).resolve())
    return study.model_copy(
        update={
            "name": name,
            "root": root,
            "search": study.search.model_copy(update=own),
            "confirm": ConfirmSection(),
        }
    )


def measured(checkout: Path, name: str) -> dict[str, float]:
    """Seconds, and seconds of all processors, of one study with one checkout."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.toml")
        file.write_text(render(study_of(name)), encoding="utf-8")
        command = [sys.executable, "-m", "tasearch", "run", str(file), "--runs-dir", folder]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [*command, "--workers", "2"],
            check=True,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": used}


def rounds(other: Path, names: list[str], count: int) -> Iterator[dict[str, Any]]:
    """The measurements, in turns; the checkout that comes first alternates."""
    checkouts = dict(zip(SIDES, (common.ROOT, other), strict=True))
    for checkout in checkouts.values():
        measured(checkout, names[0])
    for number in range(count):
        for name in names:
            for side in SIDES if number % 2 else SIDES[::-1]:
                found = {"round": number + 1, "study": name, "checkout": side}
                found |= measured(checkouts[side], name)
                print(name, side, f"{found['seconds']:.1f} s", flush=True)
                yield found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """By study, how many times as long the other checkout takes, round by round."""
    ratios: dict[str, Any] = {}
    for name in dict.fromkeys(row["study"] for row in found):
        ratios[name] = {}
        for unit in ("seconds", "cpu_seconds"):
            this, other = (
                [r[unit] for r in found if (r["study"], r["checkout"]) == (name, side)]
                for side in SIDES
            )
            pairs = zip(this, other, strict=True)
            ratios[name][unit] = common.spread([other / this for this, other in pairs])
    return ratios


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("other", type=Path, help="folder of the other checkout")
    parser.add_argument("--about", default="", help="what differs in the other checkout")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=[*STUDIES])
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    common.add_out_option(parser, "checkouts.json")
    args = parser.parse_args()
    provenance = common.provenance(args)
    found = [*rounds(args.other, args.studies, args.rounds)]
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "provenance": provenance,
        "other_over_this": summary(found),
        "rounds": found,
    }
    common.write_json(args.out, result)
    for name, units in result["other_over_this"].items():
        words = (f"{u['median']:.2f} ({u['min']:.2f} to {u['max']:.2f})" for u in units.values())
        print(name, "other over this: seconds, processors' seconds:", *words)


if __name__ == "__main__":
    main()
