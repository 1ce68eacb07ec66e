"""What `benchmarks.search` prints: for each table and view, costs, and costs over others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import common
from benchmarks.search_methods import REGRET

SHOWN = (0.02, 0.01, 0.005, 0.002, 0.0)  # regrets to which costs are printed
COMPARED = (0.02, 0.01, 0.002)  # regrets at which costs are compared with tasearch's


def show(result: Mapping[str, Any], tables: Sequence[str]) -> None:
    """Print the result as plain tables.

    Args:
        result: Content of the result file.
        tables: Names of the tables to print.
    """
    for name in tables:
        found = result["tables"][name]
        for view, seen in found["views"].items():
            print(
                f"\n{name}: {found['chains']} chains, {found['hops']} hops; {view}: {_view(seen)}"
            )
            print(common.table(*_costs(seen, result["arms"])))
            print()
            print(common.table(*_ratios(seen, result["arms"])))
            if seen["oracle_cost_to_regret"]:
                print(f"oracle: {seen['oracle_cost_to_regret']['median']:.3g}")
            for kind, by_workers in seen["speed_up"].items():
                medians = {count: f"{ratio['median']:.1f}" for count, ratio in by_workers.items()}
                print(f"speed-up, {kind}:", medians)


def _view(seen: Mapping[str, Any]) -> str:
    """Draws and noise in words."""
    return (
        f"{len(seen['draws'])} distinct draws of {seen['seeds_of_a_draw']} seeds, "
        f"noise of an accuracy {seen['noise']:.2%} as seen and {seen['noise_of_value']:.2%} as "
        f"valued, regret of the whole space {seen['floor']['median']:.2%}"
    )


def _costs(
    seen: Mapping[str, Any], words: Mapping[str, str]
) -> tuple[list[str], list[list[object]]]:
    """Head and rows: median costs to regrets and who got there, areas, ends."""
    head = ["median cost to regret (share of searches)"]
    head += [f"{level:.1%}" if level else "whole front" for level in SHOWN]
    head += ["area", "final regret", "front pruned", "ms per trial"]
    rows: list[list[object]] = []
    for arm, summary in seen["arms"].items():
        costs = []
        for level in SHOWN:
            median = summary["cost_to_regret"][str(level)]["median"]
            shown = "-" if median is None else f"{median:.3g}"
            costs.append(f"{shown} ({summary['reached'][str(level)]:.0%})")
        pruned = summary.get("front_pruned_beyond_noise", {}).get("mean", 0)
        area = "{low:.3f} {median:.3f} {high:.3f}".format(**summary["area"])
        end = f"{summary['regret_at_end']['median']:.2%}"
        wall = f"{summary['wall_ms_a_trial']['median']:.0f}"
        rows.append([f"{arm}: {words[arm]}", *costs, area, end, f"{pruned:.1%}", wall])
    return head, rows


def _ratios(
    seen: Mapping[str, Any], words: Mapping[str, str]
) -> tuple[list[str], list[list[object]]]:
    """Head and rows: costs over tasearch's on the same draw, and over the oracle's."""
    head = ["cost over tasearch's (95 % interval over draws)"]
    head += [f"{level:.1%}" for level in COMPARED] + [f"over oracle's, {REGRET:.1%}"]
    rows: list[list[object]] = []
    for arm, summary in seen["arms"].items():
        found = [summary["over_tasearch"].get(str(level)) for level in COMPARED]
        cells = [_ratio(ratio) for ratio in [*found, summary["over_oracle"]]]
        rows.append([f"{arm}: {words[arm]}", *cells])
    return head, rows


def _ratio(ratio: Mapping[str, float | None] | None) -> str:
    """A ratio with its interval; "inf" where the method did not get there."""
    if not ratio or not ratio["draws"]:
        return "-"
    low, median, high = (
        "inf" if ratio[key] is None else f"{ratio[key]:.2f}" for key in ("low", "median", "high")
    )
    return f"{median} ({low} to {high})"
