"""What the rounds of the speed benchmark say, and how it is printed.

tasearch's speed is given in three ways. `alone` counts all the teacher's passes for one student,
`shared` a part of them, as if several students had the same teacher, and `held` none.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import common

WAYS = ("alone", "shared", "held")
OTHERS = {  # by name in the result: its name in the output
    "careful": "careful loop",
    "published": "published loop",
    "careful_peers": "careful loop, peers' torch",
    "torchdistill": "torchdistill",
    "timm": "timm",
}
SAME_TORCH = {  # the careful loop under the same torch
    "published": "careful",
    "torchdistill": "careful_peers",
    "timm": "careful_peers",
}

Rounds = list[dict[str, Any]]


def summary(rounds: Rounds, known: dict[str, Any], setups: dict[int, int]) -> dict[str, Any]:
    """Medians and spreads over the rounds, for the setup that is fastest over all of them.

    Args:
        rounds: What was measured, round by round.
        known: What is known of the pair: modes and FLOPs.
        setups: Threads of each process, by number of processes.
    """
    held = {n: [r["tasearch"][str(n)]["images_per_s"]["held"] for r in rounds] for n in setups}
    best = max(held, key=lambda n: statistics.median(held[n]))
    chosen = [r["tasearch"][str(best)] for r in rounds]
    (mode,) = known["modes"][setups[best]].values()
    ceilings = [r["ceiling"][mode] for r in rounds]
    gflops = statistics.median(product["gflops"] for product in ceilings)
    flops = 3 * known["forward_flops"] * statistics.median(held[best]) / 1e9
    return {
        "setup": {"processes": best, "threads": setups[best], "mode": mode},
        "tasearch_images_per_s": {
            way: common.spread([c["images_per_s"][way] for c in chosen]) for way in WAYS
        },
        "held_by_processes": {str(n): common.spread(rates) for n, rates in held.items()},
        "others": {
            name: compared(rounds, chosen, name) for name in OTHERS if name in rounds[0]["others"]
        },
        "pass_s": common.spread([p["pass_s"] for c in chosen for p in c["processes"]]),
        "training_gflops": flops,
        "ceiling": {
            "precision": mode,
            "sizes": sorted({product["size"] for product in ceilings}),
            "gflops": gflops,
        },
        "utilisation": flops / gflops,
        "peak_mib": max(sum(p["peak_mib"] for p in c["processes"]) for c in chosen),
    }


def compared(rounds: Rounds, chosen: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Another loop or package, and tasearch's speed over its speed.

    Args:
        rounds: What was measured, round by round.
        chosen: What was measured for tasearch's fastest setup, round by round.
        name: What tasearch is compared with.
    """
    rates = [r["others"][name]["images_per_s"] for r in rounds]
    peaks = [r["others"][name]["peak_mib"] for r in rounds]
    found: dict[str, Any] = {
        "images_per_s": common.spread(rates),
        "times": {
            way: common.spread(
                [c["images_per_s"][way] / rate for c, rate in zip(chosen, rates, strict=True)]
            )
            for way in WAYS
        },
        "peak_mib": max(peak["process"] for peak in peaks),
        "peak_mib_worker": max(peak["largest_child"] for peak in peaks),
    }
    if name in SAME_TORCH:
        careful = [r["others"][SAME_TORCH[name]]["images_per_s"] for r in rounds]
        found["over_careful"] = common.spread([a / b for a, b in zip(rates, careful, strict=True)])
    return found


def printed(pairs: list[dict[str, Any]], models: int) -> str:
    """The output: for each pair tasearch itself, and a table of what it is compared with.

    Args:
        pairs: What is known and was found of each pair.
        models: Number of students that share the teacher's passes.
    """
    return "\n\n".join(_printed_pair(pair, models) for pair in pairs)


def _printed_pair(pair: dict[str, Any], models: int) -> str:
    found, setup, ceiling = pair["summary"], pair["summary"]["setup"], pair["summary"]["ceiling"]
    titles = ("its teacher for it alone", f"teacher shared by {models}", "targets held")
    rates = [found["tasearch_images_per_s"][way]["median"] for way in WAYS]
    speeds = ", ".join(f"{rate:,.0f} ({t})" for rate, t in zip(rates, titles, strict=True))
    sizes = " or ".join(map(str, ceiling["sizes"]))
    product = f"{ceiling['precision']} products of square matrices of {sizes} rows"
    lines = [
        f"{pair['label']}: tasearch trains {speeds} images/s",
        f"as {setup['processes']} processes of {setup['threads']} threads in {setup['mode']}, "
        f"{found['utilisation']:.0%} of the FLOP/s of {product}, {found['peak_mib']:,.0f} MiB",
    ]
    head = ["tasearch's speed over", "alone", f"{models} share", "held"]
    head += ["images/s", "over careful", "MiB (+worker)"]
    rows = []
    for name, other in found["others"].items():
        careful = other.get("over_careful")
        rows.append(
            [
                OTHERS[name],
                *(_with_spread(other["times"][way]) for way in WAYS),
                f"{other['images_per_s']['median']:,.0f}",
                f"{careful['median']:.2f}" if careful else "",
                f"{other['peak_mib']:,.0f}+{other['peak_mib_worker']:,.0f}",
            ]
        )
    skipped = [f"skipped: {OTHERS[name]} ({why})" for name, why in pair["skipped"].items()]
    aim = f"aimed at, over the careful loop with targets held: {pair['target']}"
    return "\n".join([*lines, common.table(head, rows), aim, *skipped])


def _with_spread(values: dict[str, float]) -> str:
    return f"{values['median']:.1f} ({values['min']:.1f}..{values['max']:.1f})"
