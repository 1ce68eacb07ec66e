"""The file of the verdicts of a run.

confirm/verdicts.json  every `tasearch confirm` of the run, its plan first and then its results
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasearch.chains.sizes import size_names, with_names
from tasearch.config.files import write_atomic
from tasearch.runs.quality import Quality
from tasearch.runs.sealed_file import read_value
from tasearch.runs.seals import seal_json, unseal_json
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan, Verdict

FILE = Path("confirm", "verdicts.json")
REMEDY = "remove it: `tasearch confirm` on the same run makes it again"


def read_confirmations(run: Path) -> list[Confirmation]:
    """The confirmations of a run, the oldest first; none where nothing was confirmed.

    Args:
        run: Path of the run's folder.

    Raises:
        RunError: The file is damaged.
    """
    try:
        return read_value(run / FILE, _confirmations, REMEDY)
    except FileNotFoundError:
        return []


def write_confirmations(run: Path, confirmations: Sequence[Confirmation]) -> None:
    """Write the confirmations of a run, completely or not at all.

    Raises:
        StoreError: The file cannot be written.
    """
    content = {"confirmations": [_content(found) for found in confirmations]}
    write_atomic(run / FILE, seal_json("verdicts", content))


def _confirmations(blob: bytes) -> list[Confirmation]:
    return [_confirmation(found) for found in unseal_json("verdicts", blob)["confirmations"]]


def _confirmation(content: Mapping[str, Any]) -> Confirmation:
    plan = content["plan"]
    return Confirmation(
        plan=LookPlan(
            pairs=tuple(plan["pairs"]),
            shares=tuple(plan["shares"]),
            alpha=plan["alpha"],
            margin=plan["margin"],
        ),
        comparisons=tuple(map(_comparison, content["comparisons"])),
        finished=content["finished"],
    )


def _comparison(content: Mapping[str, Any]) -> Comparison:
    first, second = (_arm(content[name]) for name in ("first", "second"))
    return Comparison(
        question=content["question"],
        first=first,
        second=second,
        verdict=Verdict(**content["verdict"]),
        faults=tuple(content["faults"]),
    )


def _content(found: Confirmation) -> dict[str, Any]:
    """A confirmation as it is stored; the names of sizes stand beside the numbers of a chain."""
    content = asdict(found)
    for comparison in content["comparisons"]:
        for arm in (comparison["first"], comparison["second"]):
            names = size_names(arm["chain"])
            arm |= {"sizes": names} if names else {}
    return content


def _arm(content: Mapping[str, Any]) -> Arm:
    own = {**content}
    own["chain"] = with_names(own["chain"], own.pop("sizes", ()))
    own |= {name: tuple(own[name]) for name in ("accuracies", "test")}
    own["errors"] = tuple(own.get("errors", ()))
    quality = own.get("quality")
    return Arm(**{**own, "quality": quality and _quality(quality)})


def _quality(content: Mapping[str, Any]) -> Quality:
    listed = {name: tuple(content[name]) for name in ("class_samples", "class_accuracies")}
    return Quality(**{**content, **listed})
