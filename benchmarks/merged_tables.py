"""The replicates of several runs of one study in one table.

A run that would take a day is made as several that differ in their seeds alone. Replicates can be
added to a table that is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasearch.errors import RunError

Content = Mapping[str, Any]  # what `benchmarks.table.build` returns
SAME = ("inputs", "samples", "validation", "device")  # what decides results


def merged(contents: Sequence[Content]) -> dict[str, Any]:
    """One table of the replicates of several, in their order.

    Sizes and latencies are those of the first. Of the others, "others" keeps the provenance.

    Args:
        contents: Contents of tables whose studies differ in `seed` and `search.replicates` alone.

    Raises:
        RunError: They differ in something else, or two have the same seed.
    """
    first = contents[0]
    if not contents[1:]:
        return dict(first)
    seeds = [seed for content in contents for seed in content["seeds"]]
    if len(set(seeds)) < len(seeds):
        raise RunError(f"merged tables should have different seeds, found {seeds}")
    for content in contents[1:]:
        for name in SAME:
            if content[name] != first[name]:
                raise RunError(
                    f"merged tables should have the same {name}, "
                    f"found {first[name]} and {content[name]}"
                )
        if _precisions(content) != _precisions(first):
            raise RunError("merged tables should be trained in the same precisions")
        if _without_seed(content["study"]) != _without_seed(first["study"]):
            raise RunError("merged tables should be of studies that differ in their seeds alone")
    hops = [_by_lineage(content) for content in contents]
    lineages = list(hops[0])
    if any(other.keys() != hops[0].keys() for other in hops):
        raise RunError("merged tables should have the same chains")
    numbers = {json.dumps(recipe): i for i, recipe in enumerate(first["recipes"])}
    search = first["study"]["search"] | {
        "replicates": sum(content["study"]["search"]["replicates"] for content in contents)
    }
    joined = []
    for lineage in lineages:
        widths, recipes = lineage
        own = [table[lineage] for table in hops]
        seconds = round(sum(each[0] for each in own), 2)
        curves = [curve for each in own for curve in each[1]]
        joined.append([list(widths), [numbers[recipe] for recipe in recipes], seconds, curves])
    sources = [one for content in contents for one in (content["provenance"], *_others(content))]
    different = [one for i, one in enumerate(sources) if one not in sources[:i]]
    return {
        **first,
        "others": different[1:],
        "study": first["study"] | {"search": search},
        "seeds": seeds,
        "hops": joined,
    }


def _others(content: Content) -> Sequence[Any]:
    others: Sequence[Any] = content.get("others", ())
    return others


def _precisions(content: Content) -> dict[str, str]:
    """By width; how many models were trained at once changes no more than rounding."""
    return {width: mode.split()[0] for width, mode in content["modes"].items()}


def _without_seed(study: Content) -> dict[str, Any]:
    search = {name: value for name, value in study["search"].items() if name != "replicates"}
    return {**study, "seed": None, "search": search}


def _by_lineage(content: Content) -> dict[tuple[tuple[int, ...], tuple[str, ...]], tuple[Any, ...]]:
    """Seconds and curves of each hop, by the widths and recipes of its lineage."""
    texts = [json.dumps(recipe) for recipe in content["recipes"]]
    return {
        (tuple(widths), tuple(texts[i] for i in recipes)): (seconds, curves)
        for widths, recipes, seconds, curves in content["hops"]
    }
